"""One proposal's conversation with a model: a limited number of rounds of tool calls, and the final reply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.ledger.writing_events import ToolRound, ToolUse
from inner_loop.models.context_size import offer_tokens
from inner_loop.models.contract import Message, Reply
from inner_loop.models.tools import NOTHING, Offer
from meta.mutators.llm.generation_calls import GenerationCalls
from meta.mutators.llm.toolbox import Toolbox, tools
from meta.mutators.llm.trace_access import AT_ONCE, TURNS

FULL = "(left out: your context is full; reply now)"


@dataclass(frozen=True)
class Talk:
    """``number`` of the last call; ``reply`` is None if no model answered; tokens and dollars of all calls."""

    number: int
    reply: Reply | None
    tokens: int
    usd: float | None
    turns: tuple[ToolRound, ...] = ()


def converse(
    calls: GenerationCalls, model: str, messages: Sequence[Message], purpose: str, toolbox: Toolbox | None
) -> Talk:
    """Call the model; if the reply calls tools, answer them and call again. Raises as `GenerationCalls.ask`."""
    said = list(messages)
    turns: list[ToolRound] = []
    tokens, usd = 0, 0.0
    priced, full = True, False
    while True:
        offer = Offer(tools(), closed=full or len(turns) == TURNS) if toolbox else NOTHING
        number, reply = calls.ask(model, said, purpose, offer=offer, further=bool(turns))
        if reply is not None:
            tokens += reply.tokens
            usd, priced = usd + (reply.usd or 0.0), priced and reply.usd is not None
        if reply is None or not reply.calls or toolbox is None or offer.closed:
            return Talk(number, reply, tokens, usd if priced else None, tuple(turns))
        said.append(Message("assistant", reply.text, calls=reply.calls[:AT_ONCE]))
        results = []
        for call in reply.calls[:AT_ONCE]:
            text, volatile = toolbox.answer(call)
            if not calls.fits([*said, Message("tool", text, volatile)], offer_tokens(offer)):
                text, volatile, full = FULL, "", True
            said.append(Message("tool", text, volatile, answers=call.id))
            results.append(ToolUse(call.name, call.arguments, said[-1].clean.text))
        turns.append(ToolRound(number, reply.text, tuple(results)))

"""A model for a command that asks one question: announced with its cost, then connected."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from meta.cli.output import Output
from meta.cli.training.researcher_choice import ResearcherChoice

if TYPE_CHECKING:
    from inner_loop.events import CallEvent
    from inner_loop.models.contract import ChatModel


def model_for(
    out: Output, models: ResearcherChoice, tokens: tuple[int, int], times: int, note: Callable[[CallEvent], None]
) -> ChatModel:
    """The client; ``tokens``: in and out of one call, of which there are at most ``times``; ``note`` gets each call."""
    from inner_loop.models.client import ModelClient
    from inner_loop.run_context import RunContext, tapes

    record, replay = tapes()
    if not replay:
        from inner_loop.models.prices import expected, require_ready

        require_ready(models.config)
        usd = expected(models.config, 1, *tokens).usd
        cost = "not priced" if usd is None else f"about ${usd:.4f}"
        out.note(f"{models.config.models[0]}: about {sum(tokens):,} tokens per call, {cost}; at most {times} calls")
    models.ready(None)
    context = RunContext(
        config=models.settled,
        emit=lambda event: note(cast("CallEvent", event)),
        record=record,
        replay=replay,
    )
    return ModelClient(context, 0)

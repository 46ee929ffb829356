"""A model extracts the charter from a program's prose; `programs.charter_read` checks each of its claims."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic.fields import FieldInfo

from inner_loop.models.contract import ChatModel, Message, Reply
from meta.charter_reply import BadCharterReply, parse
from meta.mutators.llm.prompts import render
from programs.charter import fields
from programs.charter_kinds import default_of, kind_of
from programs.charter_read import FIELDS, CharterReading, judge
from programs.errors import EnvironmentProblem, UsageError

REPAIRS = 2  # replies that are requested again, with the problems
PURPOSE = "charter"
MOST_BYTES = 120_000  # of a prompt; the longest program seen in public repositories fills half of it
_SAID = 200  # characters of a problem in the repair prompt


def prompt(reading: CharterReading) -> list[Message]:
    """The messages about the sentences of a reading. UsageError if the program is too long."""
    known = dict(fields())
    about = [(name, kind_of(known[name]), default_of(known[name]), _meaning(known[name])) for name in FIELDS]
    numbered = "\n".join(f"[{said.number}] {said.text}" for said in reading.sentences)
    messages = [
        Message("system", render("charter.system.md.j2", fields=about)),
        Message("user", render("charter.user.md.j2", sentences=numbered)),
    ]
    size = sum(len(message.text.encode("utf-8", "replace")) for message in messages)
    if size > MOST_BYTES:
        raise UsageError(
            f"the program makes a prompt of {size:,} bytes; the limit is {MOST_BYTES:,}", hint="shorten it"
        )
    return messages


def ask(model: ChatModel, base: CharterReading, *, max_tokens: int) -> CharterReading:
    """The charter from the program's known phrases (``base``) and a model's claims; wrong values are sent back.

    Raises NoReply, and EnvironmentProblem if no reply was readable.
    """
    messages, best, why = prompt(base), None, ""
    for left in range(REPAIRS, -1, -1):
        reply = model.complete(messages, max_tokens=max_tokens, purpose=PURPOSE if left == REPAIRS else "repair")
        try:
            reading, problems = _judged(base, reply)
            best = reading
        except BadCharterReply as bad:
            why = str(bad)
            problems = [why]
        if not problems:
            return reading
        complaint = render("charter.repair.md.j2", problems=problems)
        messages = [*messages[:2], Message("assistant", reply.text), Message("user", complaint)]
    if best is None:
        raise EnvironmentProblem(
            f"none of {REPAIRS + 1} replies of {reply.model} was readable; the last one: {why}",
            hint="try another --model; --prose reads usual wordings without one",
        )
    return best


def _judged(base: CharterReading, reply: Reply) -> tuple[CharterReading, list[str]]:
    """The reading, and the problems to send back: only wrong values. Invented quotes are not asked for again."""
    if reply.finish == "length":
        raise BadCharterReply("it was cut off at the token limit of a reply")
    claims, unexpressed = parse(reply.text)
    reading = judge(base, claims, unexpressed)
    return reading, [f"{r.field}: {r.reason}"[:_SAID] for r in reading.refusals if r.mendable]


def _meaning(field: FieldInfo) -> str:
    """The description without its last sentence, the default, which is shown separately."""
    return (field.description or "").partition(" Default ")[0]


def most_calls() -> int:
    return REPAIRS + 1


def expected(messages: Sequence[Message]) -> tuple[int, int]:
    """Tokens in and out of one call, right to a factor of about two."""
    return sum(len(message.text) for message in messages) // 4 + 1, 600

"""What a study's model calls may come to, before any is made; for both loops."""

from __future__ import annotations

import math
from dataclasses import dataclass

from inner_loop.kit import Staff
from inner_loop.models.prices import price_of
from trainer.task import Task

CHARACTERS = 4  # of a token, in English and in code
FRAME, PROGRAM, HISTORY, LOG, SAID = 900, 800, 500, 700, 500  # tokens of the parts of a call, and of its reply
KNOB = 60  # tokens of a known edit
LEAST_CACHED = 1024  # tokens; shorter beginnings are cached by nobody (platform.openai.com/docs/guides/prompt-caching)


@dataclass(frozen=True)
class Bill:
    """Of all calls; ``usd`` is None where a model has no price."""

    calls: int
    tokens: int
    usd: float | None

    def words(self, about: str = "") -> str:
        """Tokens and dollars. A price that nobody knows is said so, it is never $0.00."""
        money = "not priced" if self.usd is None else f"{about}${self.usd:.2f}"
        return f"{about}{self.tokens / 1e6:.2g}M tokens, {money}"


def expected(staff: Staff, calls: int, asked: int, said: int, *, head: int = 0) -> Bill:
    """Calls of ``asked`` tokens in and ``said`` out, all answered by the first model; the first ``head`` tokens are
    those of all calls, and come from the provider's cache after the first one."""
    price = price_of(staff.models[0], staff)
    cached = head if head >= LEAST_CACHED else 0
    usd = None
    if price is not None:
        first = price.of(asked, said, 0, cached) if calls else 0.0
        usd = first + max(calls - 1, 0) * price.of(asked, said, cached)
    return Bill(calls, calls * (asked + said), usd)


def at_most(staff: Staff, calls: int, asked: int) -> Bill:
    """Calls of ``asked`` tokens in and the longest reply out, of the dearest model, within the caps."""
    tokens = calls * (asked + staff.reply_tokens)
    each = [price_of(model, staff) for model in staff.models]
    usd: float | None = None
    if all(price is not None for price in each):
        usd = calls * max(price.most(asked, staff.reply_tokens) for price in each if price is not None)
        usd = min(usd, staff.max_usd or usd)
    return Bill(calls, min(tokens, staff.max_tokens or tokens), usd)


def estimate(task: Task, staff: Staff, experiments: int) -> Bill:
    """One call an experiment, no repairs: right to a factor of about two."""
    source = sum(len(text) for _, text in task.baseline().files) // CHARACTERS
    head = FRAME + PROGRAM + KNOB * len(task.edits.knobs)
    return expected(staff, experiments, head + HISTORY + LOG + source, SAID, head=head)


def told(whole: Bill, staff: Staff) -> str:
    """One line for the plan, with the caps."""
    short = (whole.usd or 0) > (staff.max_usd or math.inf) or whole.tokens > (staff.max_tokens or math.inf)
    ends = ": it stops there, and goes on with a larger cap" if short else ""
    return f"{whole.words('about ')}{f', at most {staff.caps()}{ends}' if staff.caps() else ''}"

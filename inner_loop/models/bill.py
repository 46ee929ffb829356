"""What a study's model calls may come to, before any is made."""

from __future__ import annotations

from dataclasses import dataclass

from inner_loop.kit import Staff
from inner_loop.models.prices import price_of
from trainer.task import Task

CHARACTERS = 4  # of a token, in English and in code
FRAME, PROGRAM, HISTORY, LOG, SAID = 900, 800, 500, 700, 500  # tokens of the parts of a call, and of its reply
KNOB = 60  # tokens of a known edit


@dataclass(frozen=True)
class Expected:
    """Of all calls; ``usd`` is None where the first model has no price."""

    calls: int
    tokens: int
    usd: float | None


def estimate(task: Task, staff: Staff, experiments: int) -> Expected:
    """One call an experiment, no repairs, all answered by the first model: right to a factor of about two."""
    source = sum(len(text) for _, text in task.baseline().files) // CHARACTERS
    asked = FRAME + PROGRAM + HISTORY + LOG + source + KNOB * len(task.edits.knobs)
    price = price_of(staff.models[0], staff)
    usd = price.of(asked * experiments, SAID * experiments) if price else None
    return Expected(experiments, (asked + SAID) * experiments, usd)


def told(expected: Expected, staff: Staff) -> str:
    """One line for the plan. A price that nobody knows is said so, it is never $0.00."""
    money = "not priced" if expected.usd is None else f"about ${expected.usd:.2f}"
    caps = [f"${staff.max_usd:g}"] if staff.max_usd is not None else []
    caps += [f"{staff.max_tokens} tokens"] if staff.max_tokens is not None else []
    return f"about {expected.tokens / 1e6:.2g}M tokens, {money}{', at most ' + ' and '.join(caps) if caps else ''}"

"""Detects sources that contain trained weights: by long literals, and by the gain that remains without training."""

from __future__ import annotations

import io
import tokenize
from collections.abc import Sequence

from analysis.verdict.gain_estimate import GainEstimate
from analysis.verdict.recheck import keeps_its_gain
from arena.work.sandbox import runs_code
from trainer.source import Source
from trainer.task import Task

LITERALS = 8 << 10  # characters of literals beyond the baseline's; no honest edit needs that many
FRACTION = 0.02  # of the training budget: practically none
LONG_NAME = 40  # a longer identifier may well be data


def literals(source: Source) -> int:
    """Characters of a source's string, bytes and number literals, comments and overlong names.

    Comments and names count because a script can read its own source. A file that is not Python counts whole.
    """
    return sum(_literals(text) for name, text in source.files if name.endswith(".py"))


def _literals(text: str) -> int:
    kinds = {tokenize.STRING, tokenize.NUMBER, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", -1)}
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (tokenize.TokenError, SyntaxError, ValueError):
        return len(text)
    long = (t for t in tokens if t.type in kinds or (t.type == tokenize.NAME and len(t.string) > LONG_NAME))
    return sum(len(token.string) for token in long)


def scan(task: Task, source: Source) -> tuple[str, ...]:
    """A finding where a source holds far more literals than the task's baseline."""
    more = literals(source) - literals(task.baseline())
    return (f"embedded: {more / 1024:.1f} KB of literals beyond the baseline's",) if more > LITERALS else ()


def can_be_untrained(task: Task) -> bool:
    """Whether a source can be run with almost no training: not where it is simulated, or a command takes no budget."""
    return runs_code(task) and task.scales


def fraction(task: Task, fixed_steps: bool) -> float:
    """The share of the full budget for an untrained run: one step, or FRACTION of the time."""
    return 1.0 / task.steps if fixed_steps else FRACTION


def ablation(trained: GainEstimate, untrained: GainEstimate, unit: str) -> str:
    """A finding where more than half of the gain remains without training; else empty."""
    if not keeps_its_gain(trained, untrained):
        return ""
    return f"embedded: {untrained.gain:.4g} of {trained.gain:.4g} {unit} gain without training"


def unmoved(metrics: Sequence[float | None], baseline: Sequence[float]) -> str:
    """A finding where a source scores the same to the last bit under every seed, and the baseline does not; else empty.

    Such a source ignores its seed. It may need none, or contain a fixed seed that was selected for its result.
    """
    still = len(metrics) > 1 and None not in metrics and len(set(metrics)) == 1 < len(set(baseline))
    return f"seeds: the same score under {len(metrics)} seeds" if still else ""

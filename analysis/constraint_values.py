"""What the final sources of a match's arms reach of the task's constraints, beside the limit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ConstraintValues:
    """A row of the view `constraints`: the values of an arm's final sources."""

    match_id: str
    task: str
    role: str
    name: str
    unit: str
    hard: bool
    at_most: float | None
    at_least: float | None
    mean: float | None
    least: float | None
    most: float | None
    n: int
    broken: int
    arm_id: str = ""

    @property
    def limit(self) -> str:
        bounds = (("at least", self.at_least), ("at most", self.at_most))
        words = " and ".join(f"{word} {value:.6g}" for word, value in bounds if value is not None)
        limit = f"{words} {self.unit}".strip() if words else "no limit"
        return f"{limit}, {'hard' if self.hard else 'soft: decides nothing'}"

    @property
    def average(self) -> str:
        if self.mean is None or self.least is None or self.most is None:
            return "not measured"
        mean, least, most = (f"{x:.4g}" if abs(x) < 1e4 else f"{x:.0f}" for x in (self.mean, self.least, self.most))
        return f"{mean} {self.unit}".strip() + f" ({least} to {most})"

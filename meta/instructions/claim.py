"""The result of a study of instructions: one one-sided test of the best one against today's, over new tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from analysis.statistics import limits, one_sided, skewed_difference
from analysis.wording import many, p_text
from meta.claim import LEVEL
from meta.instructions.trials import Trial, by_task, score, units

if TYPE_CHECKING:
    from pydantic import JsonValue


@dataclass(frozen=True)
class InstructionComparison:
    """The mean value of both instructions on new jobs, and the difference with its two-sided 95% interval. ``n`` tasks;
    where ``same_tasks``, the jobs are on the tasks of the search, and ``n`` counts jobs if there is one task."""

    best: float
    today: float
    difference: float
    low: float | None
    high: float | None
    p: float
    n: int
    jobs: int
    tasks: int
    same_tasks: bool

    @property
    def holds(self) -> bool:
        return self.p < LEVEL


@dataclass(frozen=True)
class InstructionResult:
    """``compared``: None if no instruction was better than today's in the search, so that nothing was tested."""

    program_id: str
    name: str
    today_id: str
    compared: InstructionComparison | None = None

    @property
    def holds(self) -> bool:
        return self.compared is not None and self.compared.holds

    def verdict(self) -> str:
        """One sentence."""
        if self.compared is None:
            return "no instruction was better than today's in the search; nothing was tested"
        c = self.compared
        where = "new jobs on the same " + many(c.tasks, "task") if c.same_tasks else many(c.tasks, "new task")
        interval = f" [{c.low:.3g}, {c.high:.3g}]" if c.low is not None and c.high is not None else ", no interval"
        said = "leads to better programs than" if c.holds else "is not shown to lead to better programs than"
        return (
            f"{self.name} {said} today's meta program: difference {c.difference:.3g}{interval} on {where}, "
            f"p {p_text(c.p)} (one-sided, level {LEVEL:g})"
        )

    def record(self) -> dict[str, JsonValue]:
        return {**asdict(self), "verdict": self.verdict(), "holds": self.holds}


def compare(best: Sequence[Trial], today: Sequence[Trial], same_tasks: bool) -> InstructionComparison:
    """Both had the same jobs, so their difference is taken on each task (on one task: in each job)."""
    leads = [one - other for one, other in zip(units(best), units(today), strict=True)]
    tested = skewed_difference(leads, [0.0] * len(leads))
    low, high = limits(tested)
    return InstructionComparison(
        score(best).mean or 0.0,
        score(today).mean or 0.0,
        tested.value,
        low,
        high,
        one_sided(tested),
        len(leads),
        len(best),
        len(by_task(best)),
        same_tasks,
    )

"""Part 6: experiments by category: tried, kept, failed, gain and device time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from analysis.report.facts import known_task
from analysis.report.model import ReportFacts, ReportFigure, ReportSection, ReportTable
from analysis.wording import brief, count, percent


@dataclass(frozen=True)
class CategoryRow:
    """Its columns in the order in which the page embeds them."""

    category: str
    tried: int
    kept: int
    failed: int
    gain: float
    device_seconds: float

    @property
    def minutes_per_gain(self) -> float | None:
        """Device-minutes of all experiments per unit of gain; None without a gain or a known time."""
        return self.device_seconds / 60 / self.gain if self.gain > 0 and self.device_seconds > 0 else None


def section(facts: ReportFacts) -> ReportSection:
    groups = categories(facts)
    other = "other" if groups else "any change"
    by_category = facts.source.ask("tried", CategoryRow, groups=groups or [("", "")], other=other)
    if not by_category.rows:
        return ReportSection("tried", "What was tried", "No experiment has a recorded change of the script.")
    rows = [{**asdict(row), "minutes_per_gain": row.minutes_per_gain} for row in by_category.rows]
    lead = (
        "A run keeps a change if it measures a better score, so some kept changes are luck. The gain is the measured "
        "improvement of the kept changes over their parent script, summed over all runs."
    )
    figure = ReportFigure(
        name="categories",
        kind="tried",
        title="Experiments by category of change",
        caption=origin(facts, groups),
        data={"unit": facts.score_unit, "rows": rows},
        table=table(by_category.rows, facts.score_unit),
        answers=(by_category,),
        open=True,
        legend=(("bar-kept", "kept"), ("bar-discarded", "discarded"), ("bar-failed", "failed")),
    )
    return ReportSection("tried", "What was tried", lead, (figure,))


def origin(facts: ReportFacts, groups: list[tuple[str, str]]) -> str:
    """How the categories are defined."""
    if groups:
        return "Categories are the task's groups of settings."
    return "The task is not installed here, so its groups of settings are unknown."


def categories(facts: ReportFacts) -> list[tuple[str, str]]:
    """(setting, its group) as the task declares them; empty if the task is not on this machine."""
    named = [facts.config.get("task") or "", *(other["task"] for other in facts.further)]
    tasks = [task for name in named if (task := known_task(str(name)))]
    groups = {knob.name: knob.group for task in reversed(tasks) for knob in task.edits.knobs if knob.group}
    return sorted(groups.items())


def table(rows: Sequence[CategoryRow], unit: str) -> ReportTable:
    """With columns of cost if any is recorded."""
    columns: dict[str, Callable[[CategoryRow], str]] = {
        "category": lambda row: row.category,
        ">tried": lambda row: count(row.tried),
        ">kept": lambda row: f"{count(row.kept)} ({percent(row.kept / row.tried)})",
        ">failed": lambda row: count(row.failed),
        f">gain of kept, {unit}": lambda row: brief(row.gain),
    }
    if any(row.device_seconds for row in rows):
        columns[">device minutes"] = lambda row: brief(row.device_seconds / 60)
        columns[f">minutes per gain of 1 {unit}"] = lambda row: brief(row.minutes_per_gain)
    return ReportTable.of(rows, columns)

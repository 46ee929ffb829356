"""Part 6: what was tried by category, what was kept of it, what that earned and how long it took."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from analysis.report.facts import known_task
from analysis.report.model import Facts, Figure, Section, Table
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
        """Device-minutes of all its tries for a gain of one unit; None without a gain or a known time."""
        return self.device_seconds / 60 / self.gain if self.gain > 0 and self.device_seconds > 0 else None


def section(facts: Facts) -> Section:
    groups = categories(facts)
    if facts.logs.rows:
        found = facts.source.ask("log_categories", CategoryRow)
    else:
        other = "other" if groups else "any change"
        found = facts.source.ask("tried", CategoryRow, groups=groups or [("", "")], other=other)
    if not found.rows:
        return Section("tried", "What was tried", "No experiment changed a script in a way that is on record.")
    rows = [{**asdict(row), "minutes_per_gain": row.minutes_per_gain} for row in found.rows]
    lead = (
        "A change is kept when the run saw it score better, so some of what was kept is luck. The gain is that of "
        "the kept changes over the script they were made from, added up over all runs."
    )
    figure = Figure(
        name="categories",
        kind="tried",
        title="Changes tried, by what they touch",
        caption=origin(facts, groups),
        data={"unit": facts.score_unit, "rows": rows},
        table=table(found.rows, facts.score_unit),
        answers=(found,),
        open=True,
        legend=(("bar-kept", "kept"), ("bar-discarded", "discarded"), ("bar-failed", "failed")),
    )
    return Section("tried", "What was tried", lead, (figure,))


def origin(facts: Facts, groups: list[tuple[str, str]]) -> str:
    """Where the categories come from."""
    if facts.logs.rows:
        return "Categories go by the words of the descriptions; the logs tell no cost."
    if groups:
        return "Categories are the task's own groups of settings."
    return "The task is not installed here, so its groups of settings are not known."


def categories(facts: Facts) -> list[tuple[str, str]]:
    """(setting, its group) as the task declares them; nothing where the task is not on this machine."""
    named = [facts.config.get("task") or "", *(other["task"] for other in facts.further)]
    tasks = [task for name in named if (task := known_task(str(name)))]
    groups = {knob.name: knob.group for task in reversed(tasks) for knob in task.edits.knobs if knob.group}
    return sorted(groups.items())


def table(rows: Sequence[CategoryRow], unit: str) -> Table:
    """Cost stands in it where any is on record."""
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
    return Table.of(rows, columns)

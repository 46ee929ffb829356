"""Part 6: what was tried by category, what was kept of it, what that earned and how long it took."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from analysis.report.facts import known_task
from analysis.report.model import Facts, Figure, Section, Table
from analysis.report.words import brief, count, percent


def section(facts: Facts) -> Section:
    groups = categories(facts)
    if facts.logs.rows:
        found = facts.source.ask("log_categories")
    else:
        found = facts.source.ask("tried", groups=groups or [("", "")], other="other" if groups else "any change")
    if not found.rows:
        return Section("tried", "What was tried", "No experiment changed a script in a way that is on record.")
    rows = [dict(row) | {"minutes_per_gain": minutes_per_gain(row)} for row in found.rows]
    lead = (
        "A change is kept when the run saw it score better, so some of what was kept is luck. The gain is that of "
        "the kept changes over the script they were made from, added up over all runs."
    )
    figure = Figure(
        name="categories", kind="tried", title="Changes tried, by what they touch",
        caption=origin(facts, groups),
        data={"unit": facts.score_unit, "rows": rows}, table=table(rows, facts.score_unit), answers=(found,), open=True,
        legend=(("bar-kept", "kept"), ("bar-discarded", "discarded"), ("bar-failed", "failed")),
    )  # fmt: skip
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
    named = [facts.config.get("task") or "", *(away["task"] for away in facts.config.get("further") or ())]
    tasks = [task for name in named if (task := known_task(str(name)))]
    groups = {knob.name: knob.group for task in reversed(tasks) for knob in task.edits.knobs if knob.group}
    return sorted(groups.items())


def minutes_per_gain(row: dict[str, Any]) -> float | None:
    """Device-minutes of all its tries for a gain of one unit; None where nothing was earned or time is unknown."""
    earned, seconds = row["gain"], row["device_seconds"]
    return seconds / 60 / earned if earned > 0 and seconds > 0 else None


def table(rows: Sequence[dict[str, Any]], unit: str) -> Table:
    """Cost stands in it where any is on record."""
    priced = any(row["device_seconds"] for row in rows)
    titles = ["category", ">tried", ">kept", ">failed", f">gain of kept, {unit}"]
    cost = [">device minutes", f">minutes per gain of 1 {unit}"] if priced else []
    return Table.of([*titles, *cost], [
        (row["category"], count(row["tried"]), f"{count(row['kept'])} ({percent(row['kept'] / row['tried'])})",
         count(row["failed"]), brief(row["gain"]),
         *((brief(row["device_seconds"] / 60), brief(row["minutes_per_gain"])) if priced else ()))
        for row in rows
    ])  # fmt: skip

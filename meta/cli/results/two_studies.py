"""``metaloop standings STUDY STUDY``: programs that ran in two studies, and their champions, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from analysis.statistics import interval, t_test, welch_difference
from analysis.tables import statement
from meta.cli import resolve, views
from meta.cli.output import Output
from programs.errors import NotComparable

SAME = {
    "task_id": "task", "run_budget": "run budget", "unit": "unit", "hardware_class": "hardware",
    "researcher": "researcher", "models": "models",
}  # fmt: skip
HOW = views.View(
    "", "difference: second minus first, 95% interval (Welch). Each study has its own seeds and data, which the "
    "programs that ran in both show.", "on",
)  # fmt: skip


def compare(out: Output, folders: tuple[Path, Path]) -> None:
    """The difference of the champions, and of each program that ran in the deciding matches of both studies. Raises
    NotComparable where the studies have no task in common on equal terms."""
    read = []
    for folder in folders:
        with resolve.connect(folder, []) as con:
            read.append(resolve.fetch(con, statement("in_both")))
    pairs = [(one, other) for one in read[0] for other in read[1] if one["task"] == other["task"]]
    why = {words for one, other in pairs for key, words in SAME.items() if one[key] != other[key]}
    alike = [(one, other) for one, other in pairs if all(one[key] == other[key] for key in SAME)]
    if not alike:
        reason = f"their {' and '.join(sorted(why))} differ" if why else "they have no task with results in common"
        raise NotComparable(f"{' and '.join(map(resolve.shown, folders))} cannot be compared: {reason}")
    champions = [row(*pair, "champions: ") for pair in alike if pair[0]["is_champion"] and pair[1]["is_champion"]]
    same = [row(*pair) for pair in alike if pair[0]["program_id"] == pair[1]["program_id"]]
    extra = {"studies": [*map(resolve.shown, folders)]}
    views.show(out, [*champions, *same], HOW, extra=extra, empty="no program ran in both, and one has no champion")


def row(one: dict[str, Any], other: dict[str, Any], what: str = "") -> dict[str, object]:
    difference, se, df = welch_difference(other["gains"], one["gains"])
    low, high = interval(difference or 0.0, se, df)
    first, second = (sum(each["gains"]) / len(each["gains"]) for each in (one, other))
    named = f"{what}{one['name']} / {other['name']}" if what else one["name"]
    return {
        "on": f"gain on {one['task']}, in {one['unit']}", "task": one["task"], "program": named, "first": first,
        "second": second, "difference": difference, "low": low, "high": high, "p": t_test(difference or 0.0, se, df),
        "runs": f"{len(one['gains'])} / {len(other['gains'])}",
    }  # fmt: skip

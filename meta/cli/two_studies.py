"""``metaloop standings STUDY STUDY``: programs that ran in two studies, and their champions, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from analysis.statistics import interval, t_test, welch_difference
from analysis.tables import statement
from analysis.wording import chance, estimate, plain_number, plain_text
from meta.cli import resolve
from meta.cli.output import Column, Output
from programs.errors import NotComparable

SAME = {
    "task_id": "task", "run_budget": "run budget", "unit": "unit", "hardware_class": "hardware",
    "researcher": "researcher", "models": "models",
}  # fmt: skip
COLUMNS = (
    Column("task", optional=True),
    Column("program", flex=True, style="bold"),
    *(Column(key, right=True) for key in ("first", "second", "difference", "p", "runs")),
)
LEGEND = (
    "difference: second minus first, 95% interval (Welch); each study has its own seeds and data, which the programs "
    "that ran in both show"
)


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
    champions = [row(*pair, "champions") for pair in alike if pair[0]["is_champion"] and pair[1]["is_champion"]]
    same = [row(*pair) for pair in alike if pair[0]["program_id"] == pair[1]["program_id"]]
    out.rows([*champions, *same], COLUMNS, extra={"studies": [*map(resolve.shown, folders)]},
             empty="no program ran in both, and one has no champion")  # fmt: skip
    out.note(LEGEND)


def row(one: dict[str, Any], other: dict[str, Any], what: str = "") -> dict[str, object]:
    difference, se, df = welch_difference(other["gains"], one["gains"])
    low, high = interval(difference or 0.0, se, df)
    means = [sum(each["gains"]) / len(each["gains"]) for each in (one, other)]
    named = f"{one['name']} / {other['name']}" if what else one["name"]
    return {
        "task": one["task"], "program": f"{what}: {named}" if what else named,
        "first": plain_number(means[0]), "second": plain_number(means[1]),
        "difference": plain_text(estimate(difference, low, high, one["unit"])),
        "p": plain_text(chance(t_test(difference or 0.0, se, df))),
        "runs": f"{len(one['gains'])} / {len(other['gains'])}",
    }  # fmt: skip

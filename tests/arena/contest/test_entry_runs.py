"""What an entry's page says of its runs: one number for each everywhere, and counts that add up."""

from __future__ import annotations

import re
from typing import Any

from arena.contest.web.curve import curve
from arena.contest.web.entry import named, numbered


def run_of(run_id: str, place: int, purpose: str = "contest") -> dict[str, Any]:
    return {"run_id": run_id, "run": place, "purpose": purpose, "task": "strokes"}


def test_runs_bear_the_numbers_of_their_seeds_whichever_ended_first() -> None:
    runs = [run_of("ra", 1), run_of("rc", 2), run_of("rb", 3), run_of("rs", 1, "screening")]
    results = [{"run": 1, "run_id": "ra"}, {"run": 2, "run_id": "rb"}, {"run": 3, "run_id": "rc"}]
    told = [(run["title"], run["run_id"]) for run in named(numbered(runs, results))]
    assert told == [("Run 1", "ra"), ("Run 2", "rb"), ("Run 3", "rc"), ("Screening run", "rs")]


def test_the_kinds_of_experiments_add_up() -> None:
    kinds = [("ok", "baseline", 1.0), ("ok", "keep", 1.0), ("ok", "discard", 1.0), ("crash", "discard", 1.0),
             ("ok", "discard", 0.25)]  # fmt: skip
    rows = [
        {"number": at, "status": status, "metric": 1.0 if status == "ok" else None, "decision": decision,
         "fraction": fraction, "description": ""}
        for at, (status, decision, fraction) in enumerate(kinds)
    ]  # fmt: skip
    run = {"experiments": rows, "direction": "lower", "sd": None, "final": None, "left_out": 0}
    total, within = re.match(r"(\d+) experiments \(([^)]*)\)", curve(run).caption).groups()  # type: ignore[union-attr]
    assert sum(map(int, re.findall(r"\d+", within))) == int(total) == len(rows), within

"""What gains on a task are divided by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import duckdb
import pytest

from analysis.report.sections import with_interval
from analysis.study import open_study
from analysis.views.scales import scale_of, task_scales
from analysis.views.tables import rows, statement
from programs.shelf import starter
from tests.analysis import synthetic
from trainer.rows import pooled_sd

STOCK = starter("stock").program_id


def test_the_spread_is_that_about_each_programs_own_mean() -> None:
    """Squares 2 and 6 about the means 1 and 2, on one and two degrees of freedom; one run alone says nothing."""
    assert pooled_sd([[0.0, 2.0], [1.0, 1.0, 4.0], [9.0]]) == (pytest.approx(math.sqrt(8 / 3)), 3)
    assert pooled_sd([[5.0], []]) is None and pooled_sd([[2.0, 2.0]]) == (0.0, 1)


def test_stock_is_the_scale_where_it_surely_gains() -> None:
    clear = scale_of("t", "nats", [(STOCK, [2.0, 2.2]), (STOCK, [1.8])])
    assert clear.of_stock and clear.size == pytest.approx(2.0)
    vague = scale_of("t", "nats", [("p", [0.0, 2.0]), (STOCK, [3.0, -1.0])])
    assert not vague.of_stock and vague.size == pytest.approx(math.sqrt(10 / 2))
    assert scale_of("t", "nats", [(STOCK, [1.0])]).size == 1.0  # nothing is known of the spread


def test_scale_of_a_task_has_the_ended_races_alone(tmp_path: Path) -> None:
    """As the study's own choice; the first race of a task counts while it runs, because there is no other."""
    found = []
    with synthetic.played(tmp_path, STOCK) as ledger:
        for match_id, gain in (("m1", 2.0), ("m2", 9.0)):
            if match_id != "m1":
                ledger.append({"kind": "match_ended", "match_id": "m1", "state": "finished"})
                synthetic.match(ledger, match_id, {"a9": STOCK}, purpose="generation")
            for seed in range(3):
                arm = "a1" if match_id == "m1" else "a9"
                synthetic.run(ledger, f"{match_id}-{seed}", match_id, arm, STOCK, seed, [gain + seed / 10])
            with open_study(tmp_path, views=()) as con:
                found += [scale.stock_gain for scale in task_scales(con)]
    assert found == [pytest.approx(2.1)] * 2


def test_null_control_leaves_unfinished_runs_out(tmp_path: Path) -> None:
    with synthetic.played(tmp_path, STOCK, STOCK, roles={"a1": "control", "a2": "a/a"}) as ledger:
        for seed, (state, gain) in enumerate([("finished", 1.0), ("finished", 1.2), ("failed", 9.0)]):
            for arm in ("a1", "a2"):
                synthetic.run(ledger, f"{arm}-{seed}", "m1", arm, STOCK, seed, [gain], state=state)
    with open_study(tmp_path, views=()) as con:
        [row] = rows(con.execute(statement("writers/null_control"), {"task": "strokes"}))
    assert (row["first"], row["second"], row["runs"]) == (pytest.approx(1.1), pytest.approx(1.1), 2)


Run = tuple[str, str, float]  # program, task, gain


class Scored(NamedTuple):
    program: str
    n: int
    gain: float
    se: float | None
    df: int


def scored(runs: Sequence[Run]) -> dict[str, Scored]:
    """The rows of `program_scores` over these runs; every task has the size 1."""
    rows = [(f"r{at}", *run, "finished", "selection", "race") for at, run in enumerate(runs)]
    with duckdb.connect() as con:
        con.execute("CREATE TABLE runs (run_id TEXT, program_id TEXT, task TEXT, verified_gain DOUBLE, state TEXT, "
                    "score_stream TEXT, purpose TEXT)")  # fmt: skip
        con.execute("CREATE MACRO verified_runs() AS TABLE FROM runs")
        con.executemany("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        con.execute("CREATE TABLE scales AS SELECT DISTINCT task, 1.0 AS size FROM runs")
        con.execute(f"CREATE MACRO {statement('facts/program_scores')}")
        found = con.execute("SELECT program_id, n, gain, se, df FROM program_scores()").fetchall()
    return {row[0]: Scored(*row) for row in found}


def test_program_with_one_run_on_a_task_has_no_error_over_tasks() -> None:
    several = [("p", "a", gain) for gain in (1.0, 2.0, 3.0)]
    known = scored([*several, ("p", "b", 5.0), ("p", "b", 7.0)])["p"]
    assert known.gain == pytest.approx(4.0) and known.df == 3
    assert known.se == pytest.approx(math.sqrt(1 / 3 + 2 / 2) / 2)  # the variances 1 and 2 of the runs
    unknown = scored([*several, ("p", "b", 5.0)])["p"]
    assert unknown.gain == pytest.approx(3.5) and unknown.se is None
    assert with_interval(unknown._asdict())["low"] is None
    alone = scored([(program, "a", gain) for program, gain in (("p", 2.0), ("stock", 1.0))])["p"]
    assert alone.gain == pytest.approx(2.0) and alone.se is None

"""Standings against a known truth: intervals cover, ties hold, numbers follow from the views by plain SQL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.ledger import Ledger
from analysis.standings import StandingRun, rank_ranges, standing
from analysis.study import open_study, query
from tests.analysis import synthetic

TRUTH = {"good": (2.0, 0.3), "same": (1.0, 0.3), "stock": (1.0, 0.3), "bad": (-1.0, 0.3)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    rng = np.random.default_rng(11)
    with Ledger(folder / "ledger", "arena") as ledger:
        for who in TRUTH:
            synthetic.program(ledger, who)
        for number in range(40):
            synthetic.race(ledger, f"m{number}", TRUTH, 6, rng)
    return folder


def test_intervals_cover_and_claims_do_not_rank(folder: Path) -> None:
    rows = query(folder, "SELECT * FROM standings")
    assert len(rows) == 160 and all(row["n"] == 6 for row in rows)
    covered = np.mean([row["low"] <= TRUTH[row["name"]][0] <= row["high"] for row in rows])
    assert 0.90 <= covered <= 0.99
    assert all(row["claimed"] > row["gain"] + 0.1 for row in rows)


def test_ranks_are_tied_unless_shown_apart(folder: Path) -> None:
    rows = query(folder, "SELECT name, rank_low, rank_high FROM standings")
    for name, span in {"good": (1, 1), "bad": (4, 4)}.items():
        found = [(row["rank_low"], row["rank_high"]) for row in rows if row["name"] == name]
        assert found.count(span) / len(found) > 0.9
    ties = [(row["rank_low"], row["rank_high"]) for row in rows if row["name"] in ("same", "stock")]
    assert ties.count((2, 3)) / len(ties) > 0.85


def test_equal_arms_are_rarely_ranked_apart() -> None:
    rng = np.random.default_rng(12)
    wrong = 0
    for _ in range(200):
        ranks = rank_ranges({arm: list(rng.normal(0, 1, 4)) for arm in range(6)})
        wrong += any(span != (1, 6) for span in ranks.values())
    assert wrong / 200 < 0.08


def test_rank_ranges_with_few_runs() -> None:
    assert rank_ranges({"a": [1.0], "b": [100.0], "c": []}) == {"a": (1, 2), "b": (1, 2)}


def test_plain_sql_recomputes_the_standings(folder: Path) -> None:
    con = open_study(folder)
    page = (Path(__file__).parents[2] / "docs" / "views.md").read_text(encoding="utf-8")
    sql = next(block for block in page.split("```") if "stddev_samp" in block).removeprefix("sql\n")
    mine = {row[:2]: row[2:] for row in con.execute(sql).fetchall()}
    told = con.execute("SELECT match_id, arm_id, n, gain, se, low, high FROM standings").fetchall()
    assert len(told) == len(mine) == 160
    for match_id, arm_id, n, gain, se, low, high in told:
        assert mine[match_id, arm_id] == pytest.approx((n, gain, se, low, high), rel=1e-9)


def test_stopped_runs_spend_and_do_not_gain(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger", "arena") as ledger:
        synthetic.match(ledger, "m1", {"a1": "p1", "a2": "p2"})
        for seed, state in enumerate(["finished", "stopped"]):
            synthetic.start(ledger, f"r{seed}", "m1", "a1", "p1", seed)
            synthetic.verify(ledger, f"r{seed}", "a1", "p1", [0.5 + seed])
            synthetic.end(ledger, f"r{seed}", state=state)
        synthetic.start(ledger, "r9", "m1", "a2", "p2", 0)
    rows = query(tmp_path, "SELECT * FROM standings ORDER BY arm_id")
    first, second = rows
    assert (first["n"], first["gain"], first["device_seconds_charged"], first["runs"]) == (1, 0.5, 6.0, 2)
    assert first["se"] is None and first["low"] is None and first["high"] is None
    assert (second["n"], second["gain"], second["rank_low"]) == (0, None, None)


def run_row(**more: Any) -> StandingRun:
    row = {
        "match_id": "m", "arm_id": "a", "program_id": "p", "task": "t", "state": "finished", "verified_gain": 1.0,
        "claimed_gain": 1.5, "device_seconds_charged": 2.0, "failed_seeds": 0, "role": "program", "name": "n",
        "words": 3, "trust": "verified", "score_stream": "selection", "stream": "search", "purpose": "race",
        "tokens": None, "usd": None, "wall_seconds": 4.0, "experiment_wall_seconds": 3.0, **more,
    }  # fmt: skip
    return StandingRun(**row)


def test_spend_is_that_of_all_runs_and_gains_are_those_of_the_runs_that_count() -> None:
    """A run without a model has no tokens, and its dollars are none; with tokens but no price they are not known."""
    rows = [run_row(), run_row(tokens=30, usd=0.5, verified_gain=2.0), run_row(state="stopped", tokens=5, usd=0.25)]
    found = standing([*rows, run_row(void=True, verified_gain=9.0, device_seconds_charged=None)])
    assert (found.n, found.gain, found.runs, found.tokens, found.usd) == (2, 1.5, 4, 35, 0.75)
    assert (found.device_seconds_charged, found.claimed, found.utilization) == (6.0, 1.5, 0.75)
    assert standing([run_row(tokens=7)]).usd is None and standing([run_row()]).usd == 0.0

"""Standings against a known truth: intervals cover, ties hold, numbers follow from the views by plain SQL; ranges of
ranks are those that the test of every pair gives."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.ledger import Ledger
from analysis.statistics import holm, welch_difference
from analysis.study import open_study, query
from analysis.verdict.standings import ALPHA, StandingRun, rank_ranges, standing
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
    with synthetic.played(tmp_path, "p1", "p2") as ledger:
        for seed, state in enumerate(["finished", "stopped"]):
            synthetic.run(ledger, f"r{seed}", "m1", "a1", "p1", seed, [0.5 + seed], state=state)
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


def test_spend_is_of_all_runs_and_gains_of_those_that_count() -> None:
    """A run without a model has no tokens, and its dollars are none; with tokens but no price they are not known."""
    rows = [run_row(), run_row(tokens=30, usd=0.5, verified_gain=2.0), run_row(state="stopped", tokens=5, usd=0.25)]
    found = standing([*rows, run_row(void=True, verified_gain=9.0, device_seconds_charged=None)])
    assert (found.n, found.gain, found.runs, found.tokens, found.usd) == (2, 1.5, 4, 35, 0.75)
    assert (found.device_seconds_charged, found.claimed, found.utilization) == (6.0, 1.5, 0.75)
    assert standing([run_row(tokens=7)]).usd is None and standing([run_row()]).usd == 0.0


def by_pairs(gains: Mapping[Any, Sequence[float]]) -> dict[Any, tuple[int, int]]:
    """The definition, word by word."""
    arms = [arm for arm, values in gains.items() if values]
    pairs = list(combinations(arms, 2))
    ps = [welch_difference(gains[a], gains[b]).p() for a, b in pairs]
    above, below = dict.fromkeys(arms, 0), dict.fromkeys(arms, 0)
    for (a, b), p in zip(pairs, holm([1.0 if p is None else p for p in ps]), strict=True):
        if p < ALPHA:
            better, worse = (a, b) if sum(gains[a]) / len(gains[a]) > sum(gains[b]) / len(gains[b]) else (b, a)
            below[better] += 1
            above[worse] += 1
    return {arm: (1 + above[arm], len(arms) - below[arm]) for arm in arms}


def board(rng: random.Random, arms: int) -> dict[str, list[float]]:
    """Arms of all sorts: few and many runs, none, sure and unsure ones, untouched ones that gain 0 each time."""
    merit, spread = rng.choice([0.0, 0.05, 0.5, 5.0]), rng.choice([1e-6, 0.01, 0.1])
    most, apart = rng.choice([2, 3, 4, 12]), rng.random() < 0.5
    gains = {}
    for i in range(arms):
        middle = rng.gauss(0.0, merit)
        sd = spread * (10 ** rng.uniform(-3, 1) if apart else 1.0)
        kind = rng.random()
        values = [rng.gauss(middle, sd) for _ in range(rng.randint(0 if kind < 0.05 else most - 1, most))]
        gains[f"a{i}"] = [0.0] * len(values) if kind > 0.9 else [0.25] * len(values) if kind > 0.87 else values
    return gains


def test_pruned_count_is_of_all_pairs_on_boards_with_differences() -> None:
    untied = 0
    for seed in range(30):
        rng = random.Random(seed)
        gains = board(rng, rng.choice([1, 2, 3, 10, 30]))
        found = rank_ranges(gains)
        assert found == by_pairs(gains), seed
        untied += any(low > 1 for low, _ in found.values())
    assert untied > 5


def test_nobody_and_equals() -> None:
    assert rank_ranges({}) == {}
    assert rank_ranges({"a": [0.0, 0.0], "b": [0.0, 0.0], "c": []}) == {"a": (1, 2), "b": (1, 2)}
    assert rank_ranges({"a": [0.0, 0.0], "b": [1.0, 1.0]}) == {"a": (2, 2), "b": (1, 1)}
    assert rank_ranges({"a": [1.0], "b": [100.0]}) == {"a": (1, 2), "b": (1, 2)}

"""Standings against a known truth, what gains are divided by, and trust: the weakest word holds, findings once."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from analysis.ledger import Ledger
from analysis.report.sections import with_interval
from analysis.statistics import holm, welch_difference
from analysis.study import open_study, query
from analysis.verdict.caveats import caveats
from analysis.verdict.standings import ALPHA, StandingRun, rank_ranges, standing
from analysis.verdict.verdict import VIEWS
from analysis.views.scales import scale_of, task_scales
from analysis.views.tables import rows, statement
from programs.shelf import starter
from tests.analysis import synthetic
from trainer.rows import pooled_sd
from trainer.trust import weakest

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


def test_intervals_cover_and_ranks_are_tied_unless_shown_apart(folder: Path) -> None:
    rows = query(folder, "SELECT * FROM standings")
    assert len(rows) == 160 and all(row["n"] == 6 for row in rows)
    covered = np.mean([row["low"] <= TRUTH[row["name"]][0] <= row["high"] for row in rows])
    assert 0.90 <= covered <= 0.99
    assert all(row["claimed"] > row["gain"] + 0.1 for row in rows)
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
    first, second = query(tmp_path, "SELECT * FROM standings ORDER BY arm_id")
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


def test_ranks_of_nobody_are_none_and_equals_share_theirs() -> None:
    assert rank_ranges({}) == {}
    assert rank_ranges({"a": [0.0, 0.0], "b": [0.0, 0.0], "c": []}) == {"a": (1, 2), "b": (1, 2)}
    assert rank_ranges({"a": [0.0, 0.0], "b": [1.0, 1.0]}) == {"a": (2, 2), "b": (1, 1)}
    assert rank_ranges({"a": [1.0], "b": [100.0]}) == {"a": (1, 2), "b": (1, 2)}


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


def scored(*runs: tuple[str, str, float]) -> dict[str, dict[str, Any]]:
    """The rows of `program_scores` over these runs (program, task, gain); every task has the size 1."""
    listed = ", ".join(f"('r{at}', '{who}', '{on}', {gain}::DOUBLE)" for at, (who, on, gain) in enumerate(runs))
    with duckdb.connect() as con:
        constants = "'finished' AS state, 'selection' AS score_stream, 'race' AS purpose"
        con.execute(f"CREATE TABLE runs AS SELECT *, {constants} "
                    f"FROM (VALUES {listed}) AS t(run_id, program_id, task, verified_gain)")  # fmt: skip
        con.execute("CREATE MACRO verified_runs() AS TABLE FROM runs")
        con.execute("CREATE TABLE scales AS SELECT DISTINCT task, 1e0 AS size FROM runs")
        con.execute(f"CREATE MACRO {statement('facts/program_scores')}")
        return {row["program_id"]: row for row in rows(con.execute("FROM program_scores()"))}


def test_program_with_one_run_on_a_task_has_no_error_over_tasks() -> None:
    several = [("p", "a", gain) for gain in (1.0, 2.0, 3.0)]
    known = scored(*several, ("p", "b", 5.0), ("p", "b", 7.0))["p"]
    assert known["gain"] == pytest.approx(4.0) and known["df"] == 3
    assert known["se"] == pytest.approx(math.sqrt(1 / 3 + 2 / 2) / 2)  # the variances 1 and 2 of the runs
    unknown = scored(*several, ("p", "b", 5.0))["p"]
    assert unknown["gain"] == pytest.approx(3.5) and unknown["se"] is None and with_interval(unknown)["low"] is None
    alone = scored(("p", "a", 2.0), ("stock", "a", 1.0))["p"]
    assert alone["gain"] == pytest.approx(2.0) and alone["se"] is None


def test_weakest_trust_holds_and_an_unknown_word_is_weaker_still() -> None:
    assert weakest(["verified", "scored", None, ""]) == "scored"
    assert weakest(["self-reported", "unverified", "verified"]) == "unverified"
    assert weakest(["verified", "blessed"]) == "blessed"
    assert weakest([None, ""]) is None


@pytest.fixture
def trusted(tmp_path: Path) -> Path:
    with synthetic.played(tmp_path, "p1", "p2") as ledger:
        for arm, trusts in (("a1", ("verified", "scored")), ("a2", ("verified", "verified"))):
            for seed, trust in enumerate(trusts):
                synthetic.run(ledger, f"r{arm}{seed}", "m1", arm, f"p{arm[1]}", seed, [0.1, 0.2], trust=trust)
        failed = {"kind": "verification", "run_id": "ra20", "stream": "selection", "seed": 9, "status": "crash"}
        ledger.append({**failed, "gain": 0.0, "trust": "scored"})
        told = {"kind": "finding", "run_id": "ra10", "source_id": "s1", "stream": "selection", "seed": 0}
        for text in ("gap 0.1", "gap 0.1", "gap 0.2"):
            ledger.append({**told, "finding": "leak", "text": text})
        ledger.append({"kind": "fault", "run_id": "ra10", "stream": "selection", "seed": 3, "reason": "no disk"})
    return tmp_path


def test_weakest_trust_of_scored_runs_holds_findings_are_once(trusted: Path) -> None:
    """A study that is resumed tells a finding again; the run that crashed was not scored."""
    told = query(trusted, "SELECT run_id, trust FROM runs ORDER BY run_id")
    assert [row["trust"] for row in told] == ["verified", "scored", "verified", "verified"]
    told = query(trusted, "SELECT arm_id, trust FROM standings ORDER BY arm_id")
    assert [row["trust"] for row in told] == ["scored", "verified"]
    told = query(trusted, "SELECT kind, text, run_id, seed FROM findings")
    assert [(row["kind"], row["text"]) for row in told] == [("leak", "gap 0.1"), ("leak", "gap 0.2")]
    [row] = query(trusted, "SELECT * EXCLUDE written_at FROM faults")
    assert row == {"run_id": "ra10", "reason": "no disk", "stream": "selection", "seed": 3}


def caveats_after(folder: Path, *events: dict[str, Any]) -> dict[str, str]:
    with Ledger(folder / "ledger", "later") as ledger:
        ledger.extend(events)
    with open_study(folder, views=VIEWS) as con:
        return {one.title: one.text for one in caveats(con)}


def test_caveats_name_findings_and_models_that_were_all_refused(trusted: Path) -> None:
    """A remark of the GPU's driver is no suspicion."""
    remark = {"kind": "finding", "run_id": "ra10", "finding": "gpu", "text": "utilization 25%"}
    asked = {"kind": "mutation", "generation": 1, "operator": "rewrite", "model": "m", "child_id": None}
    refused = [asked | {"attempt": n, "accepted": False, "reason": f"behaves like p{n}"} for n in range(2)]
    rule = {"kind": "mutation", "generation": 1, "attempt": 2, "operator": "reorder", "accepted": False}
    found = caveats_after(trusted, *refused, rule)["No program of a model was raced"]
    assert found == "All 2 proposals of models were refused, the last one: behaves like p1."
    texts = caveats_after(trusted, asked | {"attempt": 3, "accepted": True, "reason": ""}, remark)
    assert "No program of a model was raced" not in texts and "2 (leak)" in texts["The referee noticed something"]
    assert "1, such as: utilization 25%" in texts["The GPU's driver"]

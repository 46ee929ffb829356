"""The views over real ledgers: names and columns, duplicates of resumed studies, torn tails, rows that JSON knows."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from analysis import report
from analysis.evidence.task_evidence import evidence
from analysis.ledger import Ledger, read, segments
from analysis.study import VIEWS, open_study, query, read_study
from analysis.views.tables import rows
from programs.common.errors import Corrupt, NotFound, UsageError
from tests.analysis import synthetic
from tests.analysis.test_attribution import WORLD as MANY_EDITS


def test_what_is_made_once_is_read_as_the_ledger_is_now(tmp_path: Path) -> None:
    """A process makes the tables of a ledger once for each of its states, whatever its connections do."""
    study = synthetic.study(tmp_path, synthetic.SMALL, runs=1, tries=2)
    count = "SELECT count(*) AS n FROM experiments"
    first = read_study(study, views=["standings"])
    again = read_study(study, views=["standings"])
    made = "SELECT table_oid FROM duckdb_tables() WHERE table_name = 'experiments'"
    assert first.execute(made).fetchall() == again.execute(made).fetchall()
    assert first.execute("FROM standings").fetchall() == again.execute("FROM standings").fetchall() != []
    first.execute("CREATE TEMP TABLE mine AS SELECT 1 AS x")
    assert "mine" not in {name for (name,) in again.execute("SHOW TABLES").fetchall()}
    before = query(study, count)
    for before_it in ("", "COMMIT; ", "EXPLAIN ANALYZE "):
        with contextlib.suppress(UsageError):
            query(study, f"{before_it}DELETE FROM experiments")
    assert query(study, count) == before != [{"n": 0}]
    open_study(study, views=()).execute("DELETE FROM experiments")
    assert query(study, count) == before
    segment = max(segments(study / "ledger"), key=lambda path: path.stat().st_size)
    with Ledger(study / "ledger", "later") as later:
        later.append({"kind": "study_ended", "state": "finished"})
    assert query(study, "SELECT count(*) AS n FROM events WHERE segment LIKE 'later%'") == [{"n": 2}]
    raw = bytearray(segment.read_bytes())
    raw[raw.index(b'"metric":') + 10] ^= 1
    segment.write_bytes(raw)
    with pytest.raises(Corrupt):
        query(study, count)


def test_rows_are_plain_json(small_study: Path) -> None:
    first = "SELECT edit, started_at AS at, directive_ids AS cited, metric/0 AS inf FROM experiments LIMIT 1"
    [row] = query(small_study / "ledger", first)
    assert row == {"edit": {"set": {}, "apply": []}, "at": "2026-01-01T00:00:00.000Z", "cited": [], "inf": None}


def test_bad_query_and_no_study_are_one_line(small_study: Path, tmp_path: Path) -> None:
    assert {row["name"] for row in query(small_study, "SHOW TABLES")} == set(VIEWS)
    with pytest.raises(UsageError, match=r"Did you mean.*experiments"):
        query(small_study, "FROM experimints")
    with pytest.raises(UsageError, match="runz") as caught:
        query(small_study, "SELECT * FROM runz")
    assert "\n" not in caught.value.message and "docs/views.md" in caught.value.hint
    with pytest.raises(UsageError, match="SQL"):
        query(small_study, "SELECT '\udcff'")
    with pytest.raises(NotFound, match="no study here") as missing:
        open_study(tmp_path / "nothing")
    assert "metaloop" in missing.value.hint


def test_duplicates_of_a_resumed_study(tmp_path: Path) -> None:
    with synthetic.played(tmp_path, "p1") as ledger:
        synthetic.start(ledger, "r1", "m1", "a1", "p1", 0)
        synthetic.search(ledger, synthetic.SMALL, "r1", np.random.default_rng(1), tries=3)
        synthetic.end(ledger, "r1", state="stopped", charged=1.0)
    with synthetic.played(tmp_path, "p1", run_budget=99.0) as ledger:
        synthetic.start(ledger, "r1", "m1", "a1", "p1", 5)
        synthetic.search(ledger, synthetic.SMALL, "r1", np.random.default_rng(2), tries=3)
        synthetic.decide(ledger, "r1", 1, "replicate")
        synthetic.end(ledger, "r1", charged=3.0)
        synthetic.end(ledger, "r1", charged=7.0)
        synthetic.verify(ledger, "r1", "a1", "p1", [0.1, 0.3])
        synthetic.verify(ledger, "r1", "a1", "p1", [0.9, 0.9])
        synthetic.verify(ledger, "r1", "a1", "p1", [5.0, 5.0], stream="confirmation")
    assert query(tmp_path, "SELECT run_budget FROM matches") == [{"run_budget": 3.0}]
    [run] = query(tmp_path, "SELECT * FROM runs")
    assert (run["run_seed"], run["state"], run["device_seconds_charged"]) == (0, "finished", 3.0)
    assert run["verified_gain"] == pytest.approx(0.2) and run["verified_seeds"] == 2
    assert run["score_stream"] == "selection"
    tries = query(tmp_path, "SELECT number, decision FROM experiments ORDER BY number")
    assert [t["number"] for t in tries] == [0, 1, 2, 3] and tries[1]["decision"] == "replicate"


def test_experiments_have_the_gain_that_the_decision_compared(tmp_path: Path) -> None:
    with synthetic.played(tmp_path, "p1") as ledger:
        synthetic.start(ledger, "r1", "m1", "a1", "p1", 0)
        synthetic.search(ledger, synthetic.SMALL, "r1", np.random.default_rng(1), tries=2)
        last = {"kind": "decision", "run_id": "r1", "experiment_id": "e-r1-1", "decision": "undecided", "reason": ""}
        ledger.append({**last, "gain": 0.004, "gain_se": 0.009}, sync=False)
        ledger.append({**last, "experiment_id": "e-r1-2", "gain": 0.5}, sync=False)
        synthetic.end(ledger, "r1", charged=3.0)
    columns = "decision, decision_gain, decision_gain_se"
    found = [tuple(row.values()) for row in query(tmp_path, f"SELECT {columns} FROM experiments ORDER BY number")]
    assert found == [("baseline", None, None), ("undecided", 0.004, 0.009), ("undecided", 0.5, None)]
    sql = (Path(report.__file__).parent / "sql" / "spent.sql").read_text()
    spent = rows(open_study(tmp_path, views=()).execute(sql))
    assert "experiments that were not resolved" in [row["what"] for row in spent]


def results(folder: Path) -> tuple[str, str]:
    with open_study(folder, views=("standings",)) as con:
        table = rows(con.execute("SELECT * FROM standings ORDER BY match_id, arm_id"))
        return json.dumps(table), json.dumps(asdict(replace(evidence(con, "strokes"), effects=None)))


def test_order_of_records_does_not_show(tmp_path: Path) -> None:
    """A resumed study gives the same bits."""
    whole = synthetic.study(tmp_path / "whole", MANY_EDITS, runs=3, tries=5, programs=("stock", "p2", "p3"))
    events = [{k: v for k, v in r.items() if k not in ("seq", "at", "prev", "hash", "schema")}
              for r in read(whole / "ledger") if r["kind"] != "segment"]  # fmt: skip
    early = [e for e in events if e["kind"] in ("study", "program", "match")]
    late = [e for e in events if e not in early]
    by_run = {who: [event for event in late if event["run_id"] == who] for who in {e["run_id"] for e in late}}
    order = np.random.default_rng(0).permutation(sorted(by_run))
    for number, part in enumerate(np.array_split(order, 3)):  # three workers, each writing its runs as they come
        with Ledger(tmp_path / "parts" / "ledger", f"worker{number}") as ledger:
            for event in (early if number == 0 else []) + [e for run in part for e in by_run[run]]:
                ledger.append(event, sync=False)
    assert results(tmp_path / "parts") == results(whole)

"""The views over real ledgers: names and columns, duplicates of resumed studies, torn tails, rows that JSON knows."""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

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


def test_what_is_made_once_is_read_as_the_ledger_is_now(small_study: Path, tmp_path: Path) -> None:
    """A process makes the tables of a ledger once for each of its states, whatever its connections do."""
    study = Path(shutil.copytree(small_study, tmp_path / "study"))
    count = "SELECT count(*) AS n FROM experiments"
    first = read_study(study, views=["standings"])
    again = read_study(study, views=["standings"])
    made = "SELECT table_oid FROM duckdb_tables() WHERE table_name = 'experiments'"
    assert first.execute(made).fetchall() == again.execute(made).fetchall()
    assert first.execute("FROM standings").fetchall() == again.execute("FROM standings").fetchall() != []
    first.execute("CREATE TEMP TABLE mine AS SELECT 1 AS x")
    assert "mine" not in {name for (name,) in again.execute("SHOW TABLES").fetchall()}
    before = query(study, count)
    for change in (
        "DELETE FROM experiments",
        "COMMIT; DELETE FROM experiments",
        "EXPLAIN ANALYZE DELETE FROM experiments",
    ):
        with contextlib.suppress(UsageError):
            query(study, change)
    assert query(study, count) == before != [{"n": 0}]
    open_study(study).execute("DELETE FROM experiments")
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
    con = open_study(small_study)
    for view in VIEWS:
        json.dumps(rows(con.execute(f"SELECT * FROM {view}")), allow_nan=False)
    first = query(
        small_study / "ledger", "SELECT edit, started_at, directive_ids, metric/0 AS inf FROM experiments LIMIT 1"
    )
    assert first[0]["edit"] == {"set": {}, "apply": []} and first[0]["started_at"] == "2026-01-01T00:00:00.000Z"
    assert first[0]["directive_ids"] == [] and first[0]["inf"] is None


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
    con = open_study(tmp_path)
    assert con.execute("SELECT count(*), any_value(run_budget) FROM matches").fetchone() == (1, 3.0)
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
    spent = rows(open_study(tmp_path).execute((Path(report.__file__).parent / "sql" / "spent.sql").read_text()))
    assert "experiments that were not resolved" in [row["what"] for row in spent]


def test_edits_know_their_parent(small_study: Path) -> None:
    found = query(small_study, "SELECT * FROM edits")
    assert all(row["single"] for row in found)
    for row in found:
        if row["status"] == "crash":
            assert row["delta"] == 0.0 and row["knob"] == "LR" and row["value"] == "0.004"
        elif row["knob"] == "muon":
            assert row["delta"] == pytest.approx(0.2, abs=0.06) and row["kind"] == "apply"


def test_segments_without_a_record_are_no_harm(small_study: Path, tmp_path: Path) -> None:
    (tmp_path / "arena-1.jsonl").write_bytes((small_study / "ledger" / "arena-1.jsonl").read_bytes())
    (tmp_path / "empty-1.jsonl").touch()  # a disk that was full when the writer opened it
    (tmp_path / "folder-1.jsonl").mkdir()
    assert query(tmp_path, "SELECT count(*) AS n FROM runs") == query(small_study, "SELECT count(*) AS n FROM runs")
    (tmp_path / "arena-1.jsonl").unlink()
    assert query(tmp_path, "SELECT count(*) AS n FROM standings") == [{"n": 0}]
    assert query(tmp_path, "SELECT count(*) AS n FROM credit") == [{"n": 0}]


def results(folder: Path) -> tuple[str, str]:
    with open_study(folder, views=("standings",)) as con:
        table = rows(con.execute("SELECT * FROM standings ORDER BY match_id, arm_id"))
        return json.dumps(table), json.dumps(asdict(replace(evidence(con, "strokes"), effects=None)))


def test_order_of_records_does_not_show(tmp_path: Path) -> None:
    """A resumed study gives the same bits."""
    whole = synthetic.study(tmp_path / "whole", MANY_EDITS, runs=5, tries=8, programs=("stock", "p2", "p3"))
    events = [{k: v for k, v in r.items() if k not in ("seq", "at", "prev", "hash", "schema")}
              for r in read(whole / "ledger") if r["kind"] != "segment"]  # fmt: skip
    early = [e for e in events if e["kind"] in ("study", "program", "match")]
    late = [e for e in events if e not in early]
    by_run: dict[str, list[dict[str, Any]]] = {}
    for event in late:
        by_run.setdefault(event["run_id"], []).append(event)
    order = np.random.default_rng(0).permutation(sorted(by_run))
    for number, part in enumerate(np.array_split(order, 3)):  # three workers, each writing its runs as they come
        with Ledger(tmp_path / "parts" / "ledger", f"worker{number}") as ledger:
            for event in (early if number == 0 else []) + [e for run in part for e in by_run[run]]:
                ledger.append(event, sync=False)
    assert results(tmp_path / "parts") == results(whole)

"""The views over real ledgers: names and columns, duplicates of resumed studies, torn tails, rows that JSON knows."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from analysis import tables
from analysis.ledger import Ledger, segments
from analysis.ledger_problems import SCHEMA
from analysis.study import VIEWS, open_study, query, read_study
from analysis.study import _kept as kept_tables
from analysis.tables import RARE, SQL_VIEWS, rows
from programs.errors import Corrupt, NotFound, UsageError
from tests.analysis import synthetic

WORLD = synthetic.World(
    effects={("LR", 0.002): 0.1, ("LR", 0.004): -0.1, ("muon", True): 0.2, ("OPT", "adamw"): 0.05},
    baseline={"LR": 0.001, "OPT": "sgd", "muon": False},
    crashes=frozenset({("LR", 0.004)}),
)

# Names that users' SQL relies on (docs/design.md); more columns are free, none of these may go.
PROMISED = {
    "studies": "study_id config started_at",
    "matches": "match_id config task run_budget started_at hardware_class",
    "programs": "program_id name generation operator parent_ids words text",
    "directives": "program_id directive_id heading kind text position",
    "runs": "run_id match_id arm_id program_id task run_seed stream researcher state device_seconds_budget "
    "device_seconds_charged device_seconds_spent tokens usd claimed_best verified_gain",
    "experiments": "experiment_id run_id number source_id parent_source_id edit seed fraction status metric decision "
    "reason device_seconds_charged device_seconds_spent peak_memory_mb description directive_ids trust started_at",
    "verifications": "run_id arm_id program_id task stream seed metric baseline_metric gain trust",
    "mutations": "child_id parent_ids operator model tokens usd accepted reason evidence_ids",
    "standings": "match_id arm_id program_id task n gain se low high rank_low rank_high device_seconds_charged "
    "claimed role name words trust stream",
    "credit": "credit_id task program_id directive_id child_id method design estimate se unit n q "
    "label knob value low high causal",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.study(tmp_path_factory.mktemp("study"), WORLD, runs=4, tries=6, programs=("stock", "p2"))


def test_promised_columns(folder: Path) -> None:
    con = open_study(folder)
    for view, columns in PROMISED.items():
        there = {name for name, *_ in con.execute(f"DESCRIBE {view}").fetchall()}
        assert set(columns.split()) <= there, view
    assert {name for (name,) in con.execute("SHOW TABLES").fetchall()} == set(VIEWS)


@pytest.mark.slow
def test_a_query_finds_in_every_view_what_all_of_them_hold_and_says_what_was_meant(folder: Path) -> None:
    """Though only the tables that it reads are made."""
    con = open_study(folder, views=())
    for view in SQL_VIEWS:
        found = query(folder, f"SELECT count(*) AS n, bit_xor(hash(v)) AS bits FROM {view} AS v")
        assert found == rows(con.execute(f"SELECT count(*) AS n, bit_xor(hash(v)) AS bits FROM {view} AS v")), view
    assert {row["name"] for row in query(folder, "SHOW TABLES")} == set(VIEWS)
    with pytest.raises(UsageError, match=r"Did you mean.*experiments"):
        query(folder, "FROM experimints")


def test_tables_without_records_have_the_same_columns_in_each_ledger(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By their statement, and by what is remembered of it."""
    monkeypatch.setattr(tables, "_columns_of", {})
    by_statement, remembered = (
        {view: con.execute(f"DESCRIBE {view}").fetchall() for view in SQL_VIEWS}
        for con in (open_study(folder, views=()) for _ in range(2))
    )
    assert by_statement == remembered and set(tables._columns_of) == set(RARE)


def test_what_is_made_once_is_read_as_the_ledger_is_now(folder: Path, tmp_path: Path) -> None:
    """A process makes the tables of a ledger once for each of its states, whatever its connections do."""
    study = Path(shutil.copytree(folder, tmp_path / "study"))
    count = "SELECT count(*) AS n FROM experiments"
    first = read_study(study, views=["standings"], tables=["runs"])
    computed = next(reversed(kept_tables.values())).computed["standings"]
    again = read_study(study, views=["standings"], tables=["runs"])
    assert next(reversed(kept_tables.values())).computed["standings"] is computed
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


def test_relations_become_frames(folder: Path) -> None:
    frame = open_study(folder).sql("SELECT * FROM experiments WHERE run_id = 'r-stock-0' ORDER BY number").df()
    assert list(frame["number"]) == list(range(len(frame))) and frame["decision"][0] == "baseline"


def test_rows_are_plain_json(folder: Path) -> None:
    con = open_study(folder)
    for view in VIEWS:
        json.dumps(rows(con.execute(f"SELECT * FROM {view}")), allow_nan=False)
    first = query(folder / "ledger", "SELECT edit, started_at, directive_ids, metric/0 AS inf FROM experiments LIMIT 1")
    assert first[0]["edit"] == {"set": {}, "apply": []} and first[0]["started_at"] == "2026-01-01T00:00:00.000Z"
    assert first[0]["directive_ids"] == [] and first[0]["inf"] is None


def test_bad_query_and_no_study_are_one_line(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="runz") as caught:
        query(folder, "SELECT * FROM runz")
    assert "\n" not in caught.value.message and "docs/views.md" in caught.value.hint
    with pytest.raises(UsageError, match="SQL"):
        query(folder, "SELECT '\udcff'")
    with pytest.raises(NotFound, match="no study here") as missing:
        open_study(tmp_path / "nothing")
    assert "metaloop" in missing.value.hint


def test_duplicates_of_a_resumed_study(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger", "arena") as ledger:
        synthetic.match(ledger, "m1", {"a1": "p1"})
        synthetic.start(ledger, "r1", "m1", "a1", "p1", 0)
        synthetic.search(ledger, WORLD, "r1", np.random.default_rng(1), tries=3)
        synthetic.end(ledger, "r1", state="stopped", charged=1.0)
    with Ledger(tmp_path / "ledger", "arena") as ledger:
        synthetic.match(ledger, "m1", {"a1": "p1"}, run_budget=99.0)
        synthetic.start(ledger, "r1", "m1", "a1", "p1", 5)
        synthetic.search(ledger, WORLD, "r1", np.random.default_rng(2), tries=3)
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


def test_faults_do_not_count_and_failed_seeds_gain_nothing(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger", "arena") as ledger:
        synthetic.match(ledger, "m1", {"a1": "p1"})
        synthetic.start(ledger, "r1", "m1", "a1", "p1", 0)
        synthetic.end(ledger, "r1")
        told = {"kind": "verification", "run_id": "r1", "stream": "selection", "trust": "unverified"}
        ledger.append({**told, "seed": 0, "status": "fault"})
        ledger.append({**told, "seed": 0, "status": "ok", "gain": 0.4})
        ledger.append({**told, "seed": 1, "status": "crash"})
        ledger.append({**told, "seed": 2, "status": "fault"})
    [run] = query(tmp_path, "SELECT verified_gain, verified_seeds, failed_seeds FROM runs")
    assert run == {"verified_gain": 0.2, "verified_seeds": 2, "failed_seeds": 1}
    assert query(tmp_path, "SELECT failed_seeds FROM standings") == [{"failed_seeds": 1}]


def test_torn_tail_is_left_out(folder: Path, tmp_path: Path) -> None:
    text = (folder / "ledger" / "arena-1.jsonl").read_bytes()
    (tmp_path / "arena-1.jsonl").write_bytes(text[:-30])
    (tmp_path / "other-1.jsonl").write_bytes(b'{"seq":0,"at":"20')
    count = "SELECT count(*) AS n FROM events"
    assert query(tmp_path, count)[0]["n"] == query(folder, count)[0]["n"] - 1


def test_damage_and_other_schema_are_refused(folder: Path, tmp_path: Path) -> None:
    lines = (folder / "ledger" / "arena-1.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "arena-1.jsonl").write_bytes(b"".join([*lines[:3], b"{broken\n", *lines[4:]]))
    with pytest.raises(Corrupt, match=r"arena-1\.jsonl:4: this record is damaged"):
        open_study(tmp_path)
    (tmp_path / "arena-1.jsonl").write_bytes(b"".join([*lines[:3], lines[3].replace(b"0", b"1", 1), *lines[4:]]))
    with pytest.raises(Corrupt, match=r"arena-1\.jsonl:4: this record is damaged"):
        open_study(tmp_path)
    (tmp_path / "arena-1.jsonl").write_bytes(b"".join([*lines[:3], *lines[4:]]))
    with pytest.raises(Corrupt, match=r"arena-1\.jsonl:4: the chain is broken"):
        open_study(tmp_path)
    (tmp_path / "arena-1.jsonl").write_bytes(
        b"".join(lines).replace(b'"schema":%d' % SCHEMA, b'"schema":%d' % (SCHEMA + 1))
    )
    with pytest.raises(Corrupt, match=f"schema {SCHEMA + 1}") as caught:
        open_study(tmp_path)
    assert "upgrade" in caught.value.hint


def test_edits_know_their_parent(folder: Path) -> None:
    found = query(folder, "SELECT * FROM edits")
    assert all(row["single"] for row in found)
    for row in found:
        if row["status"] == "crash":
            assert row["delta"] == 0.0 and row["knob"] == "LR" and row["value"] == "0.004"
        elif row["knob"] == "muon":
            assert row["delta"] == pytest.approx(0.2, abs=0.06) and row["kind"] == "apply"


def test_segments_without_a_record_are_no_harm(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "arena-1.jsonl").write_bytes((folder / "ledger" / "arena-1.jsonl").read_bytes())
    (tmp_path / "empty-1.jsonl").touch()  # a disk that was full when the writer opened it
    (tmp_path / "folder-1.jsonl").mkdir()
    assert query(tmp_path, "SELECT count(*) AS n FROM runs") == query(folder, "SELECT count(*) AS n FROM runs")
    (tmp_path / "arena-1.jsonl").unlink()
    assert query(tmp_path, "SELECT count(*) AS n FROM standings") == [{"n": 0}]
    assert query(tmp_path, "SELECT count(*) AS n FROM credit") == [{"n": 0}]

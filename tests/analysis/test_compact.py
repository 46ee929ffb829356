"""Compact copies of ledgers: the same rows as without one, never those of other bytes, never anybody else's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from analysis.effects import settings as effect_settings
from analysis.ledger import Ledger, compact, writing_events
from analysis.ledger import events as study_events
from analysis.ledger import read as read_ledger
from analysis.study import VIEWS, _kept, open_study, query
from analysis.views import tables
from inner_loop import events as run_events
from programs.common.errors import Corrupt
from tests.analysis import synthetic
from tests.analysis.imports import samples
from tests.analysis.imports.helpers import bring_in


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every ledger is large enough for a copy, unless a test says otherwise."""
    monkeypatch.setenv("METALOOP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(compact, "LARGE", 0)
    return tmp_path / "cache" / "views"


@pytest.fixture
def folder(tmp_path: Path, small_study: Path) -> Path:
    return Path(shutil.copytree(small_study, tmp_path / "study"))


def everything(folder: Path) -> dict[str, Any]:
    with open_study(folder) as con:
        found = {name: con.sql(f"FROM {name} {'ORDER BY place' if name == 'events' else ''}") for name in VIEWS}
        return {name: ([(c, str(t)) for c, t, *_ in r.description], r.fetchall()) for name, r in found.items()}


def read(folder: Path) -> None:
    """The tables of the ledger, without those that are computed of them."""
    open_study(folder, views=()).close()


def both(folder: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """The rows from memory, from a copy that is made, and from one that is there are the same, in the same order: a
    view that groups or joins needs ORDER BY."""
    monkeypatch.setattr(compact, "LARGE", 1 << 40)
    plain = everything(folder)
    assert copies(cache) == []
    monkeypatch.setattr(compact, "LARGE", 0)
    for made in (everything(folder), everything(folder)):
        assert len(copies(cache)) == 1
        for name in VIEWS:
            assert made[name] == plain[name], name


def copies(cache: Path) -> list[Path]:
    return [path for path in cache.glob("*/*") if not path.name.startswith(".")]


def test_rows_of_a_copy_are_those_of_the_ledger(folder: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    with Ledger(folder / "ledger", "zebra") as ledger:  # a resumed study tells again what it knows
        synthetic.decide(ledger, "r-stock-0", 1, "replicate")
        synthetic.search(ledger, synthetic.SMALL, "r-stock-0", np.random.default_rng(5), tries=3)
    with Ledger(folder / "ledger", "late") as ledger:  # a clock went back
        for at in ("2026-01-02T00:00:00.000000Z", "2026-01-01T00:00:00.000000Z", "2026-01-01T00:00:00+00:00"):
            ledger.append({"kind": "fault", "at": at, "run_id": "r-stock-0", "reason": at})
    (folder / "ledger" / "other-1.jsonl").write_bytes(b'{"seq":0,"at":"20')  # torn
    (folder / "ledger" / "empty-1.jsonl").touch()
    both(folder, monkeypatch, cache)


def test_rows_of_a_copy_are_those_of_an_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    logs = {f"{name.lower()}/results.tsv": getattr(samples, name) for name in ("CANONICAL", "NOT_A_LOG")}
    with monkeypatch.context() as small:
        small.setattr(compact, "LARGE", 1 << 40)
        bring_in(tmp_path, logs)
    both(tmp_path / "study", monkeypatch, cache)


def test_events_after_a_clock_went_back_have_the_order_of_study(folder: Path) -> None:
    """Else the last decision about an experiment is another one in the tables than for the study that goes on."""
    with Ledger(folder / "ledger", "late") as ledger:
        for at, decision in (("2026-01-02T00:00:00.000000Z", "discard"), ("2026-01-01T00:00:00.000000Z", "keep")):
            ledger.append({"kind": "decision", "at": at, "run_id": "r-stock-0", "experiment_id": "e-r-stock-0-1",
                           "decision": decision, "reason": ""})  # fmt: skip
    last = {event["experiment_id"]: event["decision"] for event in read_ledger(folder / "ledger")
            if event["kind"] == "decision"}  # fmt: skip
    [row] = query(folder, "SELECT decision FROM experiments WHERE experiment_id = 'e-r-stock-0-1'")
    order = query(folder, "SELECT record ->> 'hash' AS hash FROM events ORDER BY place")
    assert row["decision"] == last["e-r-stock-0-1"] == "keep"
    assert [event["hash"] for event in order] == [event["hash"] for event in read_ledger(folder / "ledger")]


def test_key_of_a_copy_depends_on_all_code_that_makes_it() -> None:
    """After an upgrade that changes only this code, a copy of before would be read."""
    code = (tables, effect_settings, study_events, writing_events, run_events)
    assert {Path(module.__file__) for module in code} <= set(compact.makers())
    assert {path.stem for path in compact.makers()} >= {"experiments", "settings_held", "setting_names"}


def test_a_copy_is_read_where_there_is_one(folder: Path, cache: Path) -> None:
    count = "SELECT count(*) AS n FROM runs"
    assert query(folder, count) == [{"n": 8}]
    [copy] = copies(cache)
    with open_study(folder, views=()) as con:
        con.execute(f"COPY (FROM runs LIMIT 1) TO '{copy / 'runs.parquet'}' (FORMAT parquet)")
    _kept.cache_clear()
    assert query(folder, count) == [{"n": 1}]
    shutil.rmtree(copy)
    _kept.cache_clear()
    assert query(folder, count) == [{"n": 8}]


@pytest.mark.parametrize("large", [0, 1 << 40])
def test_altered_bytes_are_noticed_with_and_without_a_copy(
    folder: Path, monkeypatch: pytest.MonkeyPatch, large: int
) -> None:
    monkeypatch.setattr(compact, "LARGE", large)
    segment = folder / "ledger" / "arena-1.jsonl"
    lines = segment.read_bytes().splitlines(keepends=True)
    read(folder)
    for found, text in (
        (r"arena-1\.jsonl:4: this record is damaged", [*lines[:3], b"{broken\n", *lines[4:]]),
        (r"arena-1\.jsonl:4: this record is damaged", [*lines[:3], lines[3].replace(b"0", b"1", 1), *lines[4:]]),
        (r"arena-1\.jsonl:4: the chain is broken", [*lines[:3], *lines[4:]]),
        (r"arena-1\.jsonl:4: the chain is broken", [*lines[:3], lines[4], lines[3], *lines[5:]]),
    ):
        state = segment.stat()
        segment.write_bytes(b"".join(text))
        os.utime(segment, ns=(state.st_atime_ns, state.st_mtime_ns))
        with pytest.raises(Corrupt, match=found):
            open_study(folder)
    segment.write_bytes(b"".join(lines[:-1]))  # a shorter ledger has other rows, not those of the copy
    assert query(folder, "SELECT count(*) AS n FROM events") == [{"n": len(lines) - 1}]


def test_a_ledger_that_grew_leaves_one_copy(folder: Path, cache: Path) -> None:
    with open_study(folder, views=()) as con:
        before = con.execute("SELECT count(*) FROM events").fetchall()[0][0]
        for _ in range(2):
            Ledger(folder / "ledger", "more").close()
            assert query(folder, "SELECT count(*) AS n FROM events")[0]["n"] > before
        assert con.execute("SELECT count(*) FROM events").fetchall()[0][0] == before  # a snapshot stays what it was
        assert len(copies(cache)) == 3
    for copy in copies(cache):
        os.utime(copy, (0, 0))
    Ledger(folder / "ledger", "more").close()
    read(folder)
    assert len(copies(cache)) == 1


def test_only_a_folder_of_ones_own_is_used(folder: Path, cache: Path) -> None:
    read(folder)
    moved = cache.parent / "elsewhere"
    cache.rename(moved)
    cache.symlink_to(moved)
    shutil.rmtree(next(iter(copies(cache))))
    read(folder)
    assert copies(moved) == []
    cache.unlink()
    cache.parent.joinpath("views").write_text("no folder")
    assert query(folder, "SELECT count(*) AS n FROM runs") == [{"n": 8}]


@pytest.mark.slow
def test_many_may_open_at_once(folder: Path, cache: Path) -> None:
    code = "import sys, analysis.ledger.compact as c; c.LARGE = 0\nfrom analysis.study import query\n"
    code += "print(query(sys.argv[1], 'SELECT count(*) AS n FROM experiments'))"
    command = [sys.executable, "-c", code, str(folder)]
    several = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert {process.communicate()[0] for process in several} == {"[{'n': 56}]\n"}
    assert len(copies(cache)) == 1


def test_credit_is_computed_once_by_the_same_code(folder: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    count = "SELECT count(*) AS n FROM credit"
    [found] = query(folder, count)
    [kept] = cache.glob("*/*/credit-*.parquet")
    with duckdb.connect() as con:
        con.execute(f"COPY (SELECT 1 AS n) TO '{kept}' (FORMAT parquet)")
    assert query(folder, count) == [{"n": 1}] != [found]
    monkeypatch.setattr(compact, "version", lambda name: "another")
    assert query(folder, count) == [found]
    assert len(list(cache.glob("*/*/credit-*.parquet"))) == 2

"""The ledger keeps what it was given, notices what was changed, and goes on after a kill or a full disk."""

from __future__ import annotations

import json
import math
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.ledger import SCHEMA, Ledger, check, head_of, heads_in, read, segments, sound, verify
from analysis.ledger.json_values import plain
from programs.common.errors import Corrupt, EnvironmentProblem, UsageError
from tests.analysis.segments import lines, sealed, synced, write
from tests.serving import together


def kinds(folder: Path) -> list[str]:
    return [record["kind"] for record in read(folder) if record["kind"] != "segment"]


def test_round_trip_and_chain(tmp_path: Path) -> None:
    with Ledger(tmp_path, "arena") as ledger:
        first = ledger.append({"kind": "a", "metric": 0.1 + 0.2, "text": "überall\n\u2028ok", "none": None})
        second = ledger.append({"kind": "b", "bad": float("nan"), "many": (1, 2.5, {"x": float("inf")})})
    records = list(read(tmp_path))
    assert records[1:] == [first, second]
    assert [record["seq"] for record in records] == [0, 1, 2]
    assert second["prev"] == first["hash"] and second["bad"] is None
    assert second["many"] == [1, 2.5, {"x": None}]
    assert check(tmp_path) == []


def test_new_opening_names_the_heads_it_found(tmp_path: Path) -> None:
    last = json.loads(lines(write(tmp_path, {"kind": "a"}, name="arena"))[-1])
    opening = json.loads(lines(write(tmp_path, {"kind": "b"}, name="arena"))[0])
    assert [path.name for path in segments(tmp_path)] == ["arena-1.jsonl", "arena-2.jsonl"]
    assert opening["heads"] == {"arena-1.jsonl": {"seq": 1, "hash": last["hash"]}}


@pytest.mark.parametrize("cut", [2, 3, 30, 90])
def test_torn_tail_is_skipped_and_stays(tmp_path: Path, cut: int) -> None:
    path = write(tmp_path, {"kind": "a"}, {"kind": "torn", "text": "x" * 40})
    path.write_bytes(path.read_bytes()[:-cut])
    torn = path.read_bytes()
    write(tmp_path, {"kind": "b"})
    assert kinds(tmp_path) == ["a", "b"]
    assert check(tmp_path) == [] and path.read_bytes() == torn


@pytest.mark.parametrize(
    "forged",
    [
        b'{"seq":2,"at":"2026-01-01T00:00:00Z","prev":"","kind":"a","schema":%d,"hash":"x"}\n' % SCHEMA,
        b'{"seq":2,"kind":"a","text":"}\\"{{","more":{}}', b'{"seq":2,"kind":"a",}\n',
        b'{"seq":2,"schema":%d,"seq":3}\n' % SCHEMA,
    ],
)  # fmt: skip
def test_a_last_line_that_the_tables_would_count_is_damaged_and_not_torn(tmp_path: Path, forged: bytes) -> None:
    path = write(tmp_path, {"kind": "a"})
    path.write_bytes(path.read_bytes() + forged)
    with pytest.raises(Corrupt, match=r"w-1\.jsonl:3: this record is damaged"):
        verify(tmp_path)
    assert len(check(tmp_path)) == 1


@pytest.mark.parametrize("name", ["end-1\nintact.jsonl", "end-1 2026.jsonl", "w\x1b[31m.jsonl"])
def test_a_segment_with_an_odd_name_is_refused_on_one_line(tmp_path: Path, name: str) -> None:
    write(tmp_path, {"kind": "a"}).rename(tmp_path / name)
    with pytest.raises(Corrupt, match="is no name of a segment") as caught:
        segments(tmp_path)
    assert caught.value.message.isprintable()


def test_missing_record_and_missing_segment_are_noticed(tmp_path: Path) -> None:
    path = write(tmp_path)
    Ledger(tmp_path, "other").close()
    whole = lines(path)
    path.write_bytes(b"".join(whole[:2] + whole[3:]))
    assert any("w-1.jsonl:3: the chain is broken" in problem for problem in check(tmp_path))
    with pytest.raises(Corrupt, match=r"w-1\.jsonl:3: the chain is broken"):
        list(read(tmp_path))
    path.write_bytes(b"".join(whole[:2]))
    assert any("record 4, which other-1.jsonl names, is missing" in problem for problem in check(tmp_path))
    path.unlink()
    assert any("this segment is missing" in problem for problem in check(tmp_path))


@pytest.mark.parametrize(("schema", "cure"), [(SCHEMA + 1, "newer"), (SCHEMA - 1, "older")])
def test_other_schema_is_one_clear_line(tmp_path: Path, schema: int, cure: str) -> None:
    (tmp_path / "w-1.jsonl").write_text(json.dumps({"seq": 0, "schema": schema, "kind": "segment"}) + "\n")
    for attempt in (lambda: list(read(tmp_path)), lambda: Ledger(tmp_path, "w")):
        with pytest.raises(Corrupt, match=f"schema {schema}, this metaloop reads {SCHEMA}") as caught:
            attempt()
        assert cure in caught.value.hint and "\n" not in caught.value.message


@pytest.mark.parametrize(
    "change",
    [
        {"at": None}, {"at": "2026-11-30T12:00:00Z intact"},
        {"prev": None}, {"kind": None}, {"seq": "0"}, {"heads": {"a-1.jsonl": 3}},
        {"heads": {"a-1.jsonl": {"seq": 0}}}, {"heads": {"a-1.jsonl": {"seq": "0", "hash": "x"}}},
    ],
)  # fmt: skip
def test_a_record_that_lacks_what_readers_need_is_damaged(tmp_path: Path, change: dict[str, object]) -> None:
    """Its hash is right all the same."""
    path = write(tmp_path, {"kind": "x"}, name="a")
    first, second = lines(path)
    changed = {key: value for key, value in (json.loads(first) | change).items() if value is not None}
    path.write_bytes(sealed(changed) + b"[" * 100_000 + b"\n" + second)
    with pytest.raises(Corrupt, match=":1: this record is damaged"):
        list(read(tmp_path))
    assert len(check(tmp_path)) == 1


@pytest.mark.parametrize(
    "head", [{}, {"seq": 1}, {"seq": "1", "hash": "x"}, {"seq": True, "hash": "x"}, {"seq": -1, "hash": "x"}]
)
def test_a_malformed_head_is_corrupt(tmp_path: Path, head: dict[str, Any]) -> None:
    with pytest.raises(Corrupt, match="not the head"):
        head_of(head)
    with pytest.raises(Corrupt, match="not the head"):
        heads_in({"heads": {"a-1.jsonl": head}})
    other = {"schema": 9, "kind": "segment", "heads": {"b-1.jsonl": head}}
    (tmp_path / "a-1.jsonl").write_text(json.dumps(other) + "\n")
    [problem] = check(tmp_path)
    assert "a-1.jsonl:1" in problem and "schema" in problem


@contextmanager
def small_disk(limit: int) -> Iterator[None]:
    """A file size limit: the kernel cuts the write short and then refuses, as a full disk does.

    It holds for the whole process, pytest's own output included: so only around the one write.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def test_refused_write_names_the_path_and_loses_nothing(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, "w")
    ledger.append({"kind": "a"})
    expected = pytest.raises(EnvironmentProblem, match=r"w-1\.jsonl: cannot write the ledger")
    with expected as caught, small_disk(4096):
        ledger.append({"kind": "big", "text": "x" * 4096})
    assert "run the same command again" in caught.value.hint
    ledger.append({"kind": "b"})
    ledger.close()
    assert kinds(tmp_path) == ["a", "b"] and check(tmp_path) == []


def test_full_disk_is_called_so(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    ledger = Ledger(tmp_path, "w")
    ledger.close()
    ledger._file = os.open(full, os.O_WRONLY)  # the kernel's own full disk, which cannot be cut back either
    with pytest.raises(EnvironmentProblem, match="the disk is full") as caught:
        ledger.append({"kind": "a"})
    assert "free some space" in caught.value.hint
    with pytest.raises(EnvironmentProblem, match="closed") as after:
        ledger.append({"kind": "a"})
    assert "open the study again" in after.value.hint


@pytest.mark.parametrize("array", [np.zeros(1), np.zeros(3), np.zeros((1, 1))])
def test_an_array_is_refused_and_a_scalar_stored(array: Any) -> None:
    assert plain([np.float64(0.5), np.int64(3), np.array(2.0), np.float32("nan")]) == [0.5, 3, 2.0, None]
    with pytest.raises(TypeError, match="the ledger cannot store a ndarray"):
        plain({"x": array})


def test_threads_share_one_writer(tmp_path: Path) -> None:
    with Ledger(tmp_path, "w") as ledger:
        together(4, lambda _: [ledger.append({"kind": "a"}, sync=False) for _ in range(50)])
    assert len(kinds(tmp_path)) == 200 and check(tmp_path) == []


def test_bad_calls(tmp_path: Path) -> None:
    """None of them writes a record, of many events with a bad one not even the first."""
    with pytest.raises(UsageError):
        Ledger(tmp_path, "../escape")
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentProblem, match="file"):
        Ledger(tmp_path / "file" / "ledger", "w")
    with Ledger(tmp_path, "w") as ledger:
        with pytest.raises(ValueError, match="needs 'kind'"):
            ledger.append({"hash": "x"})
        with pytest.raises(TypeError):
            ledger.append({"kind": "a", "thing": object()})
        with pytest.raises(ValueError, match="kind"):
            ledger.extend([{"kind": "one"}, {"no": "kind"}])
        ledger.append({"kind": "after"})
    assert kinds(tmp_path) == ["after"] and check(tmp_path) == []


def test_many_events_at_once_make_the_same_chain(tmp_path: Path) -> None:
    events = [{"kind": "experiment", "number": n, "metric": np.float64(0.1) * n, "list": (1, n)} for n in range(5)]
    with Ledger(tmp_path, "main") as ledger:
        ledger.append({"kind": "before"})
        ledger.extend(events)
        ledger.append({"kind": "after", "path": tmp_path, "nothing": math.nan})
    records = list(read(tmp_path))
    assert [record["seq"] for record in records] == list(range(8))
    assert [record["number"] for record in records[2:-1]] == list(range(5))
    assert len({record["at"] for record in records[2:-1]}) == 1
    assert records[-1]["nothing"] is None
    assert check(tmp_path) == []
    verify(tmp_path)


def test_a_record_in_anothers_place_breaks_the_chain(tmp_path: Path) -> None:
    """One record is another one, with a number and a hash that are right by themselves: the chain alone knows."""
    path = write(tmp_path)
    whole = lines(path)
    assert sealed(json.loads(whole[2])) == whole[2]
    path.write_bytes(b"".join([*whole[:2], sealed(json.loads(whole[2]) | {"number": 7}), *whole[3:]]))
    for look in (lambda: list(read(tmp_path)), lambda: verify(tmp_path)):
        with pytest.raises(Corrupt, match=r"w-1\.jsonl:4: the chain is broken"):
            look()
    assert not sound(path)
    assert len(check(tmp_path)) == 1


def test_a_synced_record_is_on_the_disk_when_it_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel is asked to write it out, after the whole of it was handed over; not where the caller waives that."""
    seen = synced(monkeypatch)
    with Ledger(tmp_path, "w") as ledger:
        assert len(seen) == 1 and seen[-1][1] == ledger.path.stat().st_size
        ledger.append({"kind": "a"})
        assert len(seen) == 2 and seen[-1][1] == ledger.path.stat().st_size
        ledger.append({"kind": "b"}, sync=False)
        assert len(seen) == 2
        ledger.extend([{"kind": "c"}, {"kind": "d"}])
        assert len(seen) == 3 and seen[-1][1] == ledger.path.stat().st_size


def test_damage_before_the_tail_is_named(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_bytes(path.read_bytes().replace(b'"number":1', b'"number":7'))
    with pytest.raises(Corrupt, match=r"w-1\.jsonl:3: this record is damaged") as caught:
        list(read(tmp_path))
    assert caught.value.hint
    assert len(check(tmp_path)) == 1

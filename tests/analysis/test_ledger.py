"""The ledger keeps what it is given, detects what was changed, and goes on after a kill."""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example as case
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.ledger import (
    SCHEMA,
    Ledger,
    check,
    head_of,
    heads_in,
    missing,
    read,
    require_whole,
    segments,
    sound,
    unended,
    verify,
)  # fmt: skip
from analysis.ledger.json_values import plain
from analysis.study import open_study
from arena.study.study import Study
from inner_loop.events import RunEndedEvent
from programs.common.errors import Corrupt
from tests.analysis.segments import kinds, lines, sealed, write
from tests.events import example
from tests.studies import make_study

Record = dict[str, Any]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_subnormal=False) | st.text(max_size=20),
    lambda value: st.lists(value, max_size=3) | st.dictionaries(st.text(max_size=5), value, max_size=3),
    max_leaves=6,
)
EVENTS = st.fixed_dictionaries({"kind": st.sampled_from(["a", "b"]), "value": VALUES})
WRITERS = st.lists(
    st.tuples(st.sampled_from(["main", "worker-0"]), st.lists(EVENTS, max_size=4)), min_size=1, max_size=3
)


def without_openings(folder: Path) -> list[Record]:
    return [record for record in read(folder) if record["kind"] != "segment"]


def refusal(look: Any) -> str:
    """What a reader says of a damaged ledger; empty where it reads it."""
    try:
        look()
    except Corrupt as error:
        return error.message
    return ""


@given(WRITERS, st.booleans())
def test_ledger_written_by_several_is_read_as_written(writers: list[tuple[str, list[Record]]], ends: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        written: list[Record] = []
        for writer, events in writers:
            with Ledger(folder, writer) as ledger:
                written += [ledger.append(event, sync=False) for event in events[:2]]
                ledger.extend(events[2:], sync=False)
                written += [{"value": event["value"]} for event in events[2:]]
        if ends:
            Ledger(folder, "main").finish()
        found = without_openings(folder)
        assert [record["value"] for record in found] == [plain(record["value"]) for record in written]
        for path in segments(folder):
            chain = [json.loads(line) for line in lines(path)]
            assert [record["seq"] for record in chain] == [*range(len(chain))]
            assert [record["prev"] for record in chain] == ["", *(record["hash"] for record in chain[:-1])]
            assert sound(path)
        assert check(folder) == []
        verify(folder)


def damaged(whole: list[bytes], how: str, at: int, bit: int) -> bytes:
    """The lines of a segment after one damage at a place that these numbers choose."""
    text, number = b"".join(whole), at % len(whole)
    if how == "flip":
        place = at % len(text)
        return text[:place] + bytes([text[place] ^ (1 << bit)]) + text[place + 1 :]
    if how == "cut":
        return text[: at % len(text)]
    if how == "swap":
        other = bit % len(whole)
        whole[number], whole[other] = whole[other], whole[number]
    elif how == "remove":
        del whole[number]
    elif how == "repeat":
        whole.insert(number, whole[number])
    else:  # another record in the place of one, with a hash that is right by itself
        whole[number] = sealed(json.loads(whole[number]) | {"value": "forged"})
    return b"".join(whole)


@settings(max_examples=3 * settings().max_examples)
@given(
    st.sampled_from(["flip", "flip", "cut", "swap", "remove", "repeat", "forge", "unlink"]),
    st.integers(0, 1 << 16), st.integers(0, 7), st.integers(0, 3), st.booleans(),
)  # fmt: skip
@case("remove", 0, 0, 1, True)  # the first record: `check` ended with StopIteration
def test_ledger_damaged_once_is_refused_or_reads_as_before(how: str, at: int, bit: int, file: int, ends: bool) -> None:
    """A writer that was killed may have lost the end of its segment, so only a clean end shows that one is missing."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        main = Ledger(folder, "main")
        write(folder, *({"kind": "a", "value": number} for number in range(3)), name="worker-0")
        write(folder, *({"kind": "a", "value": number} for number in range(3, 5)), name="worker-1")
        main.append({"kind": "study", "value": "überall\n\u2028"})
        main.finish() if ends else main.close()
        before = without_openings(folder)
        path = segments(folder)[file % len(segments(folder))]
        if how == "forge" and not ends:  # anybody may replace the last record of a segment that no head names
            at %= max(len(lines(path)) - 1, 1)
        if how == "unlink":
            path.unlink()
        else:
            path.write_bytes(damaged(lines(path), how, at, bit))
        problems, refused = check(folder), refusal(lambda: list(read(folder)))
        assert refused == refusal(lambda: verify(folder)) and (not refused or problems)
        assert all("\n" not in problem for problem in problems)
        if problems:
            return
        require_whole(folder)
        after = without_openings(folder)
        if not ends:
            writer = [record for record in before if record not in after]
            before = [record for record in before if record in after]
            assert len({record["at"] for record in writer}) == len(writer)
            hashes = {json.loads(line)["hash"] for line in lines(path)[:-1]} if path.exists() else set()
            assert not hashes & {record["hash"] for record in writer}
        assert after == before


def test_ledger_with_torn_tail_goes_on_in_a_new_segment(tmp_path: Path) -> None:
    path = write(tmp_path, {"kind": "a", "bad": math.nan, "many": (1, np.float64(2.5))}, {"kind": "torn"}, name="w")
    path.write_bytes(path.read_bytes()[:-30])
    torn = path.read_bytes()
    second = write(tmp_path, {"kind": "b"}, name="w")
    assert kinds(tmp_path) == ["a", "b"] and without_openings(tmp_path)[0]["many"] == [1, 2.5]
    assert without_openings(tmp_path)[0]["bad"] is None and check(tmp_path) == [] and path.read_bytes() == torn
    head = json.loads(lines(path)[1])
    assert json.loads(lines(second)[0])["heads"] == {"w-1.jsonl": {"seq": 1, "hash": head["hash"]}}


def test_last_line_that_the_tables_would_count_is_damaged(tmp_path: Path) -> None:
    path = write(tmp_path, {"kind": "a"})
    whole = path.read_bytes()
    for forged in (
        b'{"seq":2,"at":"2026-01-01T00:00:00Z","prev":"","kind":"a","schema":%d,"hash":"x"}\n' % SCHEMA,
        b'{"seq":2,"kind":"a","text":"}\\"{{","more":{}}', b'{"seq":2,"kind":"a",}\n',
        b'{"seq":2,"schema":%d,"seq":3}\n' % SCHEMA,
    ):  # fmt: skip
        path.write_bytes(whole + forged)
        with pytest.raises(Corrupt, match=r"w-1\.jsonl:3: this record is damaged") as caught:
            verify(tmp_path)
        assert len(check(tmp_path)) == 1 and caught.value.hint


def test_segment_with_odd_name_is_refused_on_one_line(tmp_path: Path) -> None:
    path = write(tmp_path, {"kind": "a"})
    for name in ("end-1\nintact.jsonl", "end-1 2026.jsonl", "w\x1b[31m.jsonl"):
        path = path.rename(tmp_path / name)
        with pytest.raises(Corrupt, match="is no name of a segment") as caught:
            segments(tmp_path)
        assert caught.value.message.isprintable()


@pytest.mark.parametrize(("schema", "cure"), [(SCHEMA + 1, "newer"), (SCHEMA - 1, "older")])
def test_ledger_of_other_schema_is_refused_in_one_line(tmp_path: Path, schema: int, cure: str) -> None:
    (tmp_path / "w-1.jsonl").write_text(json.dumps({"seq": 0, "schema": schema, "kind": "segment"}) + "\n")
    for attempt in (lambda: list(read(tmp_path)), lambda: Ledger(tmp_path, "w")):
        with pytest.raises(Corrupt, match=f"schema {schema}, this metaloop reads {SCHEMA}") as caught:
            attempt()
        assert cure in caught.value.hint and "\n" not in caught.value.message


HEADS: list[Record] = [
    {}, {"seq": 1}, {"seq": "1", "hash": "x"}, {"seq": True, "hash": "x"}, {"seq": -1, "hash": "x"},
]  # fmt: skip


def test_malformed_head_is_corrupt() -> None:
    for head in HEADS:
        assert "not the head" in refusal(lambda head=head: head_of(head))
        assert "not the head" in refusal(lambda head=head: heads_in({"heads": {"a": head}}))


@pytest.mark.parametrize(
    "change",
    [
        {"at": None}, {"at": "2026-11-30T12:00:00Z intact"}, {"prev": None}, {"kind": None}, {"seq": "0"},
        {"heads": {"a-1.jsonl": 3}}, {"heads": {"a-1.jsonl": HEADS[1]}}, {"heads": {"a-1.jsonl": HEADS[2]}},
    ],
)  # fmt: skip
def test_record_without_a_needed_field_is_damaged(tmp_path: Path, change: Record) -> None:
    """Its hash is right all the same."""
    path = write(tmp_path, {"kind": "x"}, name="a")
    first, second = lines(path)
    changed = {key: value for key, value in (json.loads(first) | change).items() if value is not None}
    path.write_bytes(sealed(changed) + b"[" * 100_000 + b"\n" + second)
    assert ":1: this record is damaged" in refusal(lambda: list(read(tmp_path)))
    assert len(check(tmp_path)) == 1


def test_missing_records_and_segments_are_named(tmp_path: Path) -> None:
    path = write(tmp_path)
    Ledger(tmp_path, "other").close()
    path.write_bytes(b"".join(lines(path)[:2]))
    [problem] = check(tmp_path)
    assert "record 4, which other-1.jsonl names, is missing" in problem
    path.unlink()
    assert "this segment is missing" in check(tmp_path)[0]


def ended(folder: Path) -> Path:
    """Of two workers and a main process that ended in good order: 5, 4 and 4 records, and the end's one."""
    main = Ledger(folder, "main")
    for name, count in (("worker-0", 4), ("worker-1", 3)):
        write(folder, *({"kind": "experiment", "number": number} for number in range(count)), name=name)
    for kind in ("study", "program", "champion"):
        main.append({"kind": kind})
    main.finish()
    return folder


@pytest.mark.parametrize("name", ["main-1.jsonl", "worker-0-1.jsonl", "worker-1-1.jsonl"])
@pytest.mark.exploit(52)
def test_records_cut_from_an_end_are_counted(tmp_path: Path, name: str) -> None:
    path = ended(tmp_path) / name
    whole = lines(path)
    for cut in range(1, len(whole) + 1):
        path.write_bytes(b"".join(whole[:-cut]))
        verify(tmp_path)  # the chain itself is sound
        (problem,) = missing(tmp_path)
        assert problem.startswith(f"{path}: {cut} of its {len(whole)} records, which ") and "\n" not in problem
        with pytest.raises(Corrupt, match="were cut from its end") as caught:
            require_whole(tmp_path)
        assert caught.value.hint
    path.write_bytes(b"".join(whole)[:-9])  # half a record
    assert f"1 of its {len(whole)} records" in missing(tmp_path)[0]


@pytest.mark.parametrize("more", [0, 2])
@pytest.mark.exploit(52)
def test_a_replaced_end_is_noticed(tmp_path: Path, more: int) -> None:
    """Somebody writes other results over the last ones, with a chain that is right, and some more behind them."""
    path = ended(tmp_path) / "worker-1-1.jsonl"
    whole = lines(path)
    record = json.loads(whole[-1]) | {"number": 99}
    forged = [sealed(record)]
    for _ in range(more):
        previous = hashlib.sha256(forged[-1].split(b',"hash"')[0]).hexdigest()
        record |= {"seq": record["seq"] + 1, "prev": previous}
        forged.append(sealed(record))
    path.write_bytes(b"".join(whole[:-1] + forged))
    verify(tmp_path)
    (problem,) = missing(tmp_path)
    assert problem.startswith(f"{path}:4: ") and "the end was replaced" in problem


def test_records_after_a_clean_end_are_no_damage(tmp_path: Path) -> None:
    ended(tmp_path)
    with Ledger(tmp_path, "main") as again:
        again.append({"kind": "program"})
        again.finish()
    path = tmp_path / "worker-0-1.jsonl"
    record = json.loads(lines(path)[-1])
    with path.open("ab") as late:  # of a worker that had not ended yet
        late.write(sealed(record | {"seq": record["seq"] + 1, "prev": record["hash"]}))
    Ledger(tmp_path, "idle").close()
    assert check(tmp_path) == []
    (problem,) = unended(tmp_path)
    assert problem.startswith(f"{path}: no end-* segment names its last record")
    with path.open("ab") as file:
        file.write(b'{"seq":6,"schema":99,"kind":"new"}\n')
    (problem,) = check(tmp_path)
    assert "schema 99" in problem


def test_kill_before_the_end_compares_no_heads(tmp_path: Path) -> None:
    """What was not synced may be lost then, and is made again; so it is after a kill before the record of an end."""
    path = write(tmp_path / "killed", {"kind": "decision"}, name="worker-0")
    Ledger(tmp_path / "killed", "main").close()
    (ended(tmp_path / "ending") / "end-1.jsonl").write_bytes(b"")
    for cut in (path, tmp_path / "ending" / path.name):
        cut.write_bytes(b"".join(lines(cut)[:-1]))
        require_whole(cut.parent)
    assert "record 1, which main-1.jsonl names, is missing" in check(tmp_path / "killed")[0]


def test_study_that_lost_its_end_does_not_open(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s")
    with study:
        study.record(example(RunEndedEvent, run_id="r1"))
    path = study.folder / "ledger" / "main-1.jsonl"
    path.write_bytes(b"".join(lines(path)[:-2]))
    for attempt in (Study.open(study.folder).look, lambda: open_study(study.folder, views=())):
        with pytest.raises(Corrupt, match=r"main-1\.jsonl: 2 of its 3 records, which end-1\.jsonl counts") as caught:
            attempt()
        assert "\n" not in caught.value.message and caught.value.hint
    with pytest.raises(Corrupt, match="were cut"), study:
        pass


def test_idle_opening_writes_no_second_end(tmp_path: Path) -> None:
    """A finished study is opened again and again; one that was killed after its last end is recorded once more."""
    ended(tmp_path)
    for _ in range(2):
        with Ledger(tmp_path, "main") as idle:
            idle.finish()
    assert {path.name for path in segments(tmp_path) if path.name.startswith("end-")} == {"end-1.jsonl"}
    path = write(tmp_path, {"kind": "experiment"}, name="worker-2")  # of a study that was killed
    with Ledger(tmp_path, "main") as idle:
        idle.finish()
    path.write_bytes(lines(path)[0])
    assert "1 of its 2 records" in missing(tmp_path)[0]

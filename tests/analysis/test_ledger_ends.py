"""What is cut from the end of a ledger that was ended in good order is noticed; what came before is read as ever."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.ledger import Ledger, check, missing, require_whole, segments, verify
from analysis.study import open_study
from arena.study.study import Study
from inner_loop.events import RunEndedEvent
from programs.common.errors import Corrupt
from tests.analysis.segments import lines, sealed, synced, write
from tests.events import example
from tests.studies import make_study


def ended(folder: Path) -> Path:
    """A ledger of two workers and a main process that ended in good order: 5, 4 and 4 records, and the end's one."""
    main = Ledger(folder, "main")
    for name, count in (("worker-0", 4), ("worker-1", 3)):
        write(folder, *({"kind": "experiment", "number": number} for number in range(count)), name=name)
    for kind in ("study", "program", "champion"):
        main.append({"kind": kind})
    main.finish()
    return folder


def test_an_end_in_good_order_names_all_heads(tmp_path: Path) -> None:
    ended(tmp_path)
    assert check(tmp_path) == [] and missing(tmp_path) == []
    (end,) = map(json.loads, lines(tmp_path / "end-1.jsonl"))
    last = json.loads(lines(tmp_path / "main-1.jsonl")[-1])
    assert {name: head["seq"] + 1 for name, head in end["heads"].items()} == {
        "main-1.jsonl": 4, "worker-0-1.jsonl": 5, "worker-1-1.jsonl": 4,
    }  # fmt: skip
    assert last["kind"] == "champion" and end["heads"]["main-1.jsonl"]["hash"] == last["hash"]


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
    path.unlink()
    (problem,) = missing(tmp_path)
    assert problem.startswith(f"{path}: this segment is missing")
    path.write_bytes(b"".join(whole))
    require_whole(tmp_path)


def test_a_record_of_a_newer_version_after_the_end_is_no_cut(tmp_path: Path) -> None:
    path = ended(tmp_path) / "worker-0-1.jsonl"
    with path.open("ab") as file:
        file.write(b'{"seq":5,"schema":99,"kind":"new"}\n')
    (problem,) = check(tmp_path)
    assert "schema 99" in problem


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


def test_what_is_written_after_an_end_may_stand_there(tmp_path: Path) -> None:
    ended(tmp_path)
    with Ledger(tmp_path, "main") as again:
        again.append({"kind": "program"})
        again.finish()
    assert check(tmp_path) == []
    path = tmp_path / "worker-0-1.jsonl"
    record = json.loads(lines(path)[-1])
    with path.open("ab") as late:  # of a worker that had not ended yet
        late.write(sealed(record | {"seq": record["seq"] + 1, "prev": record["hash"]}))
    assert check(tmp_path) == []


def test_after_a_kill_nothing_is_compared(tmp_path: Path) -> None:
    """What was not synced may be lost then, and is made again; so it is after a kill before the record of an end."""
    path = write(tmp_path / "killed", {"kind": "decision"}, name="worker-0")
    Ledger(tmp_path / "killed", "main").close()
    (ended(tmp_path / "ending") / "end-1.jsonl").write_bytes(b"")
    for cut in (path, tmp_path / "ending" / path.name):
        cut.write_bytes(b"".join(lines(cut)[:-1]))
        require_whole(cut.parent)
    assert "record 1, which main-1.jsonl names, is missing" in check(tmp_path / "killed")[0]


def test_a_study_that_lost_its_end_does_not_open(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s")
    with study:
        study.record(example(RunEndedEvent, run_id="r1"))
    path = study.folder / "ledger" / "main-1.jsonl"
    path.write_bytes(b"".join(lines(path)[:-2]))
    opened: list[Callable[[], object]] = [Study.open(study.folder).look, lambda: open_study(study.folder, views=())]
    for attempt in opened:
        with pytest.raises(Corrupt, match=r"main-1\.jsonl: 2 of its 3 records, which end-1\.jsonl counts") as caught:
            attempt()
        assert "\n" not in caught.value.message and caught.value.hint
    with pytest.raises(Corrupt, match="were cut"), study:
        pass


def test_where_nothing_was_written_nothing_is_promised_anew(tmp_path: Path) -> None:
    """A finished study is opened again and again; one that was killed after its last end is written down once more."""
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


def test_what_is_promised_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut may take what a worker did not wait for; from an end on nothing is missing that was counted."""
    seen = synced(monkeypatch)
    with Ledger(tmp_path, "worker-0") as worker, Ledger(tmp_path, "main") as main:
        worker.append({"kind": "decision"}, sync=False)
        state = worker.path.stat()
        assert (state.st_ino, state.st_size) not in seen
        main.finish()
        assert (state.st_ino, state.st_size) in seen

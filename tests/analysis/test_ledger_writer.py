"""One writer of a ledger: full disks, threads, refused events, what is on the disk; and the readers that follow it."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.ledger import Ledger, check
from analysis.ledger.events import BaselineEvent, MatchEvent, VerificationEvent
from analysis.ledger.json_values import plain
from analysis.ledger.run_state import LedgerTail, RunState, StudyState
from inner_loop.events import CallEvent, DecisionEvent, Experiment
from programs.common.errors import Corrupt, EnvironmentProblem, OtherVersion, UsageError
from tests.analysis.segments import kinds, synced
from tests.events import example
from tests.serving import together


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


def test_full_disk_is_named_and_closes_the_segment(tmp_path: Path) -> None:
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
def test_array_is_refused_and_scalar_is_stored(array: Any) -> None:
    assert plain([np.float64(0.5), np.int64(3), np.array(2.0), np.float32("nan")]) == [0.5, 3, 2.0, None]
    with pytest.raises(TypeError, match="the ledger cannot store a ndarray"):
        plain({"x": array})


def test_threads_share_one_writer(tmp_path: Path) -> None:
    with Ledger(tmp_path, "w") as ledger:
        together(4, lambda _: [ledger.append({"kind": "a"}, sync=False) for _ in range(50)])
    assert len(kinds(tmp_path)) == 200 and check(tmp_path) == []


def test_refused_event_writes_no_record(tmp_path: Path) -> None:
    """Of many events with a bad one not even the first."""
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


def test_synced_records_are_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel is asked to write a record out after all of it was written, and at a clean end all that was not."""
    seen = synced(monkeypatch)
    with Ledger(tmp_path, "w") as ledger:
        assert len(seen) == 1 and seen[-1][1] == ledger.path.stat().st_size
        ledger.append({"kind": "a"})
        assert len(seen) == 2 and seen[-1][1] == ledger.path.stat().st_size
        ledger.append({"kind": "b"}, sync=False)
        assert len(seen) == 2
        ledger.extend([{"kind": "c"}, {"kind": "d"}])
        assert len(seen) == 3 and seen[-1][1] == ledger.path.stat().st_size
        ledger.append({"kind": "e"}, sync=False)
        state = ledger.path.stat()
        assert (state.st_ino, state.st_size) not in seen
        Ledger(tmp_path, "main").finish()
        assert (state.st_ino, state.st_size) in seen


def verification(seed: int, gain: float, status: str = "ok") -> VerificationEvent:
    return example(VerificationEvent, run_id="r1", seed=seed, gain=gain, status=status)


@pytest.mark.parametrize(
    ("told", "gain"),
    [
        ([], None),
        ([verification(1, 0.2), verification(2, 0.4)], pytest.approx(0.3)),
        ([verification(1, 0.2), verification(2, 0.0, "crash")], 0.1),  # failed under a seed: 0 there
        ([verification(1, 0.2), verification(2, 0.0, "baseline")], 0.1),
        ([verification(1, 0.2), verification(1, 0.9)], 0.2),  # told twice: the first
    ],
)
def test_the_gain_of_a_run(told: list[VerificationEvent], gain: float | None) -> None:
    run = RunState()
    for event in told:
        run.take(event)
    assert run.gain == gain


def test_a_run_goes_on_from_its_experiments_in_order() -> None:
    state = StudyState()
    events = [
        example(CallEvent, run_id="r1"),
        example(Experiment, run_id="r1", experiment_id="e2", number=2),
        example(Experiment, run_id="r1", experiment_id="e1", number=1),
        example(DecisionEvent, run_id="r1", experiment_id="e1"),
    ]
    for event in (*events, example(CallEvent), example(Experiment, run_id="r2", experiment_id="e9")):
        state.take(event)
    assert state.run("r1").recorded == (events[2], events[1], events[3], events[0])
    assert state.run("r3").recorded == () and len(state.calls) == 1


def test_a_tail_tells_what_is_new_of_its_kinds(tmp_path: Path) -> None:
    tail, all_of_it = LedgerTail(tmp_path, frozenset({"baseline"})), LedgerTail(tmp_path)
    told = [example(BaselineEvent, seed=seed, metric=0.5) for seed in range(4)]
    with Ledger(tmp_path, "main") as ledger:
        ledger.append(told[0].to_record())
        assert list(tail.news()) == told[:1] and list(tail.news()) == []
        ledger.append({"kind": "segment of a later version"})
        ledger.append(told[1].to_record())
    with Ledger(tmp_path, "worker-0") as worker:
        worker.append(told[2].to_record())
        worker.append(example(DecisionEvent, run_id="r1").to_record())
        with worker.path.open("ab") as torn:
            torn.write(b'{"seq":7,"kind":"baseline"')
    assert list(tail.news()) == told[1:3] and list(tail.news()) == []
    assert [event.kind for event in all_of_it.news()].count("decision") == 1


def test_tail_refuses_damage_and_other_schemas_and_waits_if_torn(tmp_path: Path) -> None:
    first, second = (example(BaselineEvent, seed=seed) for seed in (1, 2))
    with Ledger(tmp_path, "main") as ledger:
        ledger.append(first.to_record())
    whole = ledger.path.read_bytes()
    with Ledger(tmp_path, "worker") as worker:
        worker.append(second.to_record())
    line = worker.path.read_bytes().splitlines(keepends=True)[-1]
    tail = LedgerTail(tmp_path)
    for torn in (line[:40], line[:40] + b"\n"):
        ledger.path.write_bytes(whole + torn)
        assert list(tail.news()) in ([first, second], [])
    ledger.path.write_bytes(whole + line)
    assert list(tail.news()) == [second]
    ledger.path.write_bytes(whole + line[:40] + b"\n" + line)
    with pytest.raises(Corrupt, match=r"main-1\.jsonl: a record is damaged, at byte \d+"):
        list(LedgerTail(tmp_path).news())
    ledger.path.write_bytes(whole + line.replace(b'"schema":', b'"schema":9'))
    with pytest.raises(OtherVersion):
        list(LedgerTail(tmp_path).news())


def test_what_several_writers_wrote_comes_in_the_order_of_time(tmp_path: Path) -> None:
    events = [example(BaselineEvent, seed=seed) for seed in range(6)]
    with Ledger(tmp_path, "worker-1") as one, Ledger(tmp_path, "worker-0") as other:
        for event in events:
            (one if event.seed % 2 else other).append(event.to_record())
    tail = LedgerTail(tmp_path)
    assert list(tail.news()) == events and tail.last_at > ""


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ({"kind": "match", "match_id": "m1"}, "an invalid 'match' record, label: Field required"),
        (example(BaselineEvent).to_record() | {"seed": "x"}, "an invalid 'baseline' record, seed: "),
    ],
)
def test_a_record_that_lacks_what_its_kind_has_is_refused(tmp_path: Path, record: dict[str, str], problem: str) -> None:
    with Ledger(tmp_path, "main") as ledger:
        ledger.append(example(MatchEvent, config={"direction": "lower", "metric": "nll"}).to_record())
        ledger.append(record)
    with pytest.raises(Corrupt, match=problem):
        StudyState.read(tmp_path)

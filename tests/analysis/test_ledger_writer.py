"""One writer of a ledger: full disks, threads, events that are refused, and what is on the disk."""

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
from analysis.ledger.json_values import plain
from programs.common.errors import EnvironmentProblem, UsageError
from tests.analysis.segments import kinds, synced
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

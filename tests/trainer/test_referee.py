"""What is said of a process that did not end well, and of what a machine's memory holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from programs.common.errors import NotFound
from trainer.jobs.job import Ended, Limits
from trainer.scoring import Failed
from trainer.scoring.referee import judge
from trainer.source import Source

LIMITS = Limits(cpu_seconds=2.0, wall_seconds=40.0, memory_mb=512)


def ended(code: int = 0, killed: str = "", *, cpu: float = 0.5, error: str = "", log: str = "") -> Ended:
    return Ended(code, killed, cpu, 3.0, 100.0, error=error, log=log)


@pytest.mark.parametrize(
    ("end", "status", "reason"),
    [
        (ended(-9, "wall"), "timeout", "killed at the hard limit after 3.0 s of wall time (wall)"),
        (ended(-9, "cpu", cpu=2.1), "timeout", "killed at the hard limit after 2.10 CPU-s (cpu)"),
        (ended(-9, "memory"), "oom", "killed: more than 512 MB of memory"),
        (ended(-9, "processes"), "crash", "killed: too many processes"),
        (ended(-9, cpu=2.1), "timeout", "stopped by its CPU limit after 2.10 CPU-s"),
        (ended(-24, cpu=2.1), "timeout", "stopped by its CPU limit after 2.10 CPU-s"),
        (ended(-9), "oom", "killed by signal 9, as the kernel does when memory runs out"),
        (ended(-9, error="MemoryError: 3 GB"), "oom", "MemoryError: 3 GB"),
        (ended(1, error="MemoryError: 3 GB"), "oom", "MemoryError: 3 GB"),
        (ended(-24), "crash", "exit code -24"),
        (ended(-10), "crash", "exit code -10"),
        (ended(1, error="ValueError: x"), "crash", "ValueError: x"),
        (ended(3, log="one\nlast words\n\n"), "crash", "exit code 3: last words"),
        *(
            (ended(1, error=error), status, error)
            for status, error in (
                ("oom", "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has …"),
                ("oom", "torch._inductor.exc.InductorError: OutOfMemoryError: CUDA out of memory."),
                ("oom", "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
                ("oom", "RuntimeError: CUDA error: out of memory"),
                ("crash", "RuntimeError: CUDA error: an illegal memory access was encountered"),
                ("crash", "RuntimeError: CUDA error: device-side assert triggered"),
            )
        ),
    ],
)
def test_each_bad_end_has_its_status_and_reason(end: Ended, status: str, reason: str) -> None:
    with pytest.raises(Failed) as caught:
        judge(end, LIMITS, "crash")
    assert (caught.value.status, caught.value.reason) == (status, reason)


def test_a_good_end_is_none_of_them() -> None:
    judge(ended(0, log="all is well"), LIMITS, "crash")


def test_missing_file_that_the_task_names_is_reported(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("x = 1\n")
    assert Source.from_folder(tmp_path, ["train.py"]).files == (("train.py", "x = 1\n"),)
    with pytest.raises(NotFound, match=r"model\.py: no such file"):
        Source.from_folder(tmp_path, ["train.py", "model.py"])

"""Runs a task's data.py in a sandbox with the system, the interpreter, and the task's folder; no network.

This is for tasks of untrusted origin, whose data.py would otherwise run with the user's permissions. The results are
arrays, which trusted code reads without pickle.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from trainer.commands.view import with_shown_paths
from trainer.jobs.job import Job, Limits
from trainer.jobs.run import run_job
from trainer.task import Task

LIMITS = Limits(600.0, 1800.0, memory_mb=4096, disk_mb=2048, processes=64, output_mb=1, result_mb=1024)
OUT, SEED = "out", "seed"
_MAKE = f"""
import pathlib, sys
sys.path.insert(0, sys.argv[1])
import data
out = pathlib.Path("{OUT}")
out.mkdir()
data.make(sys.argv[2], int(pathlib.Path("{SEED}").read_text()), out)
"""


def make(task: Task, split: str, seed: int, out: Path) -> str:
    """Fill ``out`` with the files that data.make writes; returns the error in one line, or an empty string.

    Raises EnvironmentProblem if no sandbox can be made, TaskError for a folder that may not be shown.
    """
    job = Job(
        ["python", "-s", "-P", "-c", _MAKE, str(task.folder), split],
        {SEED: str(seed).encode()},  # in a file, because all users of the machine can read a command line
        LIMITS,
        environment={"OMP_NUM_THREADS": "1"},
        wanted=[OUT],
    )
    ended = run_job(with_shown_paths(job, [str(task.folder)], sandboxed=True), sandboxed=True)
    if ended.killed or ended.exit_code or ended.missing:
        last = next((line for line in reversed(ended.log.splitlines()) if line.strip()), "no message")
        return f"too much {ended.killed}" if ended.killed else last if ended.exit_code else ended.missing[0]
    for name, content in ended.files.items():
        path = out.joinpath(*PurePosixPath(name).parts[1:])
        if ".." in path.parts or not path.is_relative_to(out) or path == out:
            return f"the file {name!r} is outside the output folder"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return ""

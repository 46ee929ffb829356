"""A command without a sandbox: a plain process group, with the same limits and evidence, marked as such."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.trainer import wild_repos
from tests.trainer.foreign_repos import ORIGINAL, store, write_files
from trainer.commands.init import Drafting, write
from trainer.commands.task_toml import Wanted
from trainer.experiment import Spec, Trainer
from trainer.jobs.job import Job, Limits
from trainer.jobs.plain import run_plain
from trainer.task import Task

SH = ("/bin/sh", "-c")
LIMITS = Limits(5.0, 20.0, memory_mb=200)


def job(line: str, limits: Limits = LIMITS, **files: str) -> Job:
    return Job((*SH, line), {name: text.encode() for name, text in files.items()}, limits)


def test_bare_command_is_fetched_ended_and_counted(tmp_path: Path) -> None:
    line = (
        "(while :; do :; done) & echo $! > pid; python3 -c 'sum(range(10**7))'; echo said; echo 1 > out.txt;"
        " echo x >> data.txt; exit 3"
    )
    made = replace(job(line, **{"data.txt": "d"}), wanted=["out.txt", "pid", "none"], kept=["data.txt"])
    ended = run_plain(made)
    assert (ended.exit_code, ended.killed, ended.log) == (3, "", "said\n") and ended.files["out.txt"] == b"1\n"
    assert ended.written == ("data.txt",) and ended.missing == ("none: No such file or directory",)
    assert ended.cpu_seconds > 0.05 and ended.peak_memory_mb > 1
    with pytest.raises(ProcessLookupError):
        for _ in range(100):
            os.kill(int(ended.files["pid"]), 0)
            time.sleep(0.05)


def test_bare_command_that_is_missing_is_127() -> None:
    ended = run_plain(Job(("no-such-program",), limits=LIMITS))
    assert ended.exit_code == 127 and "no-such-program: No such file" in ended.log


def test_repository_without_a_sandbox_trains(tmp_path: Path) -> None:
    place = wild_repos.heavy(tmp_path / "repo", megabytes=5)
    task = Task.load(write(Drafting(place, sandbox=False).draft(ORIGINAL), None))
    data = store(task, tmp_path / "data")
    with Trainer(task, data, sandbox=False) as trainer:
        one, again, other = (trainer.run(Spec(task.baseline(), seed)) for seed in (1, 1, 2))
    assert one.status == "ok" and one.metric == again.metric != other.metric and one.trust == "unverified"
    assert (place / "shard.bin").stat().st_size == 5 << 20 and not (place / "__pycache__").exists()


def test_bare_command_has_the_users_home_and_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "7")
    code = "import os\nprint('home:', float(os.path.expanduser('~') == os.environ['HOME']) + int(os.environ['MINE']))\n"
    place = write_files(tmp_path / "repo", {"train.py": code})
    found = Drafting(place, sandbox=False).draft(Wanted(direction="higher", noise="unknown"))
    assert ("metric", "home") in {(fact.field, fact.value) for fact in found.facts}
    assert Task.load(write(found, None)).metric == "home"

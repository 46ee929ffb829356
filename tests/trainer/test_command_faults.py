"""What a command may do wrong: each ends with its status, a charge and one line of reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from programs.common.errors import TaskError
from tests.trainer.foreign_repos import store, write_files
from trainer.attempts.command import check_run, hidden_link
from trainer.commands.named_numbers import NamedNumber
from trainer.experiment import Spec, Trainer
from trainer.outcome import Outcome
from trainer.scorers.printed import Printed
from trainer.scoring.referee import LEAST
from trainer.task import Task

TOML = """
[task]
name = "faults"
metric = "loss"
editable = ["run.sh"]
read_only = ["data.txt", "eval.py"]
[budget]
seconds = {seconds}
hard_factor = 1.0
hard_extra = 0.0
wall_factor = 1.0
memory_mb = {memory}
[score]
kind = "printed"
pattern = '^\\s*loss\\s*[:=]\\s*([-+]?(?:[0-9.,]+|[nN]a[nN]|inf))'
[run]
command = "sh run.sh"
disk_mb = 16
"""


def run(folder: Path, script: str, seconds: float = 20.0, memory: int = 256) -> Outcome:
    write_files(folder, {
        "task.toml": TOML.format(seconds=seconds, memory=memory), "run.sh": script, "data.txt": "x\n", "eval.py": "",
    })  # fmt: skip
    task = Task.load(folder)
    outcome = Trainer(task, store(task, folder / "data")).run(Spec(task.baseline(), 1))
    assert min(outcome.device_seconds_charged, outcome.device_seconds_spent) >= LEAST and "\n" not in outcome.reason
    return outcome


@pytest.mark.parametrize(
    ("script", "status", "reason"),
    [
        ("echo loss: 1; exit 3", "crash", "exit code 3: loss: 1"),
        ("echo loss: 1; kill -SEGV $$", "crash", "exit code -11: "),
        ("echo loss: 1.5; echo loss: nan", "invalid", "not a finite number: 'nan'"),
        ("echo loss: 1; kill -9 $$", "oom", "killed by signal 9"),
        ("sh -c 'kill -9 $$'; exit $?", "oom", "killed by signal 9"),
        ("rm -rf ./* ; echo loss: 2; test ! -e data.txt", "ok", ""),
        ("chmod -R 0 . ; echo loss: 2", "ok", ""),
        ("(setsid sleep 1000 &) ; (while :; do :; done) & echo loss: 2", "ok", ""),
        ("head -c 100000000 /dev/zero > big || exit 4; echo loss: 1", "crash", "exit code 4: "),
    ],
    ids=lambda text: str(text)[:40],
)  # fmt: skip
def test_how_it_ends(script: str, status: str, reason: str, tmp_path: Path) -> None:
    outcome = run(tmp_path, script)
    assert outcome.status == status and reason in outcome.reason, outcome
    assert outcome.metric == (2.0 if status == "ok" else None)


def test_filling_every_writable_place_is_no_fault_of_ours(tmp_path: Path) -> None:
    fill = "for place in . /tmp ~ /dev/shm; do head -c 100000000 /dev/zero > $place/big; done; echo loss: 2"
    outcome = run(tmp_path, fill, memory=64)
    assert outcome.status in ("ok", "oom", "crash"), outcome.reason


def test_writing_into_a_read_only_file_is_reported_and_harmless(tmp_path: Path) -> None:
    outcome = run(tmp_path, "echo 'print(0)' > eval.py; cat data.txt; echo loss: 2")
    assert outcome.status == "ok" and outcome.findings == ("read-only: the command wrote into eval.py",)
    assert (tmp_path / "eval.py").read_text() == ""
    assert run(tmp_path, "mv eval.py away; touch data.txt; echo loss: 2").findings == (
        "read-only: the command wrote into data.txt, eval.py",
    )
    assert run(tmp_path, "cat eval.py data.txt; echo loss: 2").findings == ()


@pytest.mark.parametrize(
    ("text", "metric"),
    [
        ("1,234,567.5", 1234567.5),
        ("12,345", 12345.0),
        ("1.5e-3", 0.0015),
        ("-7", -7.0),
        ("tensor(0.25, device='cuda:0')", 0.25),
        ("np.float64(-1.5e-07)", -1.5e-7),
    ],
)
def test_numbers_as_people_print_them(text: str, metric: float) -> None:
    pattern = NamedNumber("rate").pattern
    assert Printed({"pattern": pattern}).metric(f"rate: 1\nrate: {text} tok/s\n") == metric


def test_python_behind_links_outside_the_sandbox_is_named(tmp_path: Path) -> None:
    shown, base, hidden = tmp_path / "venv", tmp_path / "base", tmp_path / "links"
    for folder in (shown / "bin", base, hidden):
        folder.mkdir(parents=True)
    (base / "python").touch()
    (hidden / "python").symlink_to(base / "python")
    (shown / "bin" / "python").symlink_to(hidden / "python")
    assert hidden_link(shown / "bin" / "python", [shown, base]) == hidden / "python"
    (shown / "pyvenv.cfg").touch()
    toml = TOML.format(seconds=1, memory=64) + f'readable = ["{shown}"]'
    files = {"task.toml": toml, "run.sh": "", "data.txt": "", "eval.py": ""}
    with pytest.raises(TaskError, match="which the sandbox does not show"):
        check_run(Task.load(write_files(tmp_path / "task", files)))
    assert hidden_link(shown / "bin" / "python", [shown, base, hidden]) is None
    (base / "python").unlink()
    assert hidden_link(shown / "bin" / "python", [shown, base, hidden]) == base / "python"

"""A task of the kind printed as a folder, through the trainer and the contract check."""

from __future__ import annotations

from pathlib import Path

from tests.trainer.foreign_repos import store
from trainer.cards.check import check
from trainer.experiment import Spec, Trainer
from trainer.jobs.job import Launcher
from trainer.task import Task

HEAD = """
[task]
name = "own"
metric = "figure"
read_only = []

[budget]
seconds = 0.2
cost = 0.2
"""
PRINTED = HEAD + "[score]\nkind = \"printed\"\npattern = '^val_bpb:\\s*([-+0-9.eE]+)'\n"


def test_a_printed_task_needs_no_data_and_no_checkpoint(
    tmp_path: Path, launcher: Launcher, session_cache: Path
) -> None:
    script = "print('val_bpb: 2.0')\nprint('val_bpb: 1.25')\n"
    (tmp_path / "task.toml").write_text(PRINTED)
    (tmp_path / "train.py").write_text(script)
    task = Task.load(tmp_path)
    trainer = Trainer(task, store(task, tmp_path / "splits"), launcher=launcher)
    outcome = trainer.run(Spec(task.baseline(), 1, "confirmation"))
    assert (outcome.status, outcome.metric, outcome.findings) == ("ok", 1.25, ())
    assert outcome.trust == ("self-reported" if launcher.sandboxed else "unverified")
    assert [finding.message for finding in check(tmp_path, launcher=launcher, only=["data"])][1:] == []

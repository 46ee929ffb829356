"""What a reader has to know of a diff: a seed, the lines of the metric, other files beside the script."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.script_remarks import METRIC, READS, SEED, script_remarks
from analysis.verdict.decision import SEED_ALONE
from tests.trainer.foreign_repos import write_files
from trainer.task import Task

TRAIN = """import numpy as np
from model import Model
STEPS = 10
model = Model(depth=3, random_state=0)
inputs, targets = np.load("train.npy"), np.load("targets.npy")
model.fit(inputs, targets, STEPS)
score = model.error(np.load("held.npy"))
if STEPS > 5: print(f"val_err: {score:.4f}", STEPS)
"""
TASK = """[task]
name = "remarks"
metric = "val_err"
editable = ["train.py"]
read_only = ["labels.csv", "targets.npy"]
[budget]
seconds = 1.0
[score]
kind = "printed"
pattern = '^val_err: (.*)'
[edits.STEPS]
kind = "int"
values = [10, 20]
[run]
command = "python train.py"
"""
REPLACED = [
    ("STEPS = 10", "STEPS = 20", []),
    ("random_state=0", "random_state=17", [(SEED_ALONE, "random_state=0 → random_state=17")]),
    ("depth=3, random_state=0", "depth=4, random_state=17", [(SEED, "random_state=0 → random_state=17")]),
    ("STEPS = 10", "STEPS = 10\nrng = np.random.default_rng(3)", []),
    ("{score:.4f}", "{score * 0.9:.4f}", [(METRIC, 'if STEPS > 5: print(f"val_err: {score * 0.9:.4f}", STEPS)')]),
    ("model.error(", "0.5 * model.error(", [(METRIC, 'score = 0.5 * model.error(np.load("held.npy"))')]),
    ("if STEPS", "score -= 0.1\nif STEPS", [(METRIC, "score -= 0.1")]),
    ('f"val_err: {score:.4f}", STEPS', '"val_err: 0.1"', [(METRIC, 'if STEPS > 5: print("val_err: 0.1")')]),
    ("model.fit(", "if STEPS <= 3: raise ValueError\nmodel.fit(", []),
    ("targets, STEPS)", "targets, STEPS, random_state=5)", []),
    ("model.fit(inputs", 'labels = open("labels.csv").read()\nmodel.fit(inputs', [(READS, "labels.csv")]),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "expected"), REPLACED)
def test_remarks_of_a_diff_name_what_changes_no_training(
    tmp_path: Path, old: str, new: str, expected: list[tuple[str, str]]
) -> None:
    write_files(tmp_path, {"train.py": TRAIN, "task.toml": TASK, "labels.csv": "1\n", "targets.npy": "1\n"})
    task = Task.load(tmp_path)
    assert list(script_remarks(task, (("train.py", TRAIN.replace(old, new)),))) == expected


def test_remarks_of_the_metric_leave_the_scoring_commands_output(tmp_path: Path) -> None:
    command = "score_command = 'python score.py'\nartifacts = ['model.json']\n"
    write_files(tmp_path, {"train.py": TRAIN, "score.py": "", "task.toml": TASK.replace('"labels.csv"', '"score.py"')
                           .replace('"targets.npy"', '"labels.csv"') + command, "labels.csv": "1\n"})  # fmt: skip
    task = Task.load(tmp_path)
    assert not list(script_remarks(task, (("train.py", TRAIN.replace("{score:.4f}", "{score / 2:.4f}")),)))

"""Tasks of the kinds kernel and printed as folders, through the trainer and the contract check."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer.check import check
from trainer.data import DataStore
from trainer.experiment import Spec, Trainer
from trainer.launcher import Launcher
from trainer.outcome import Outcome
from trainer.streams import Streams
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
KERNEL = HEAD + '[score]\nkind = "kernel"\nrepetitions = 4\n'
PRINTED = HEAD + "[score]\nkind = \"printed\"\npattern = '^val_bpb:\\s*([-+0-9.eE]+)'\n"
DATA = """
import numpy as np

def make(split, seed, out):
    pass

def kernel_inputs(seed):
    return [np.random.default_rng(seed).standard_normal(3000)]

def reference(inputs):
    total = np.zeros(3000)
    for place in range(1, 3000):
        total[place] = total[place - 1] + inputs[0][place]
    return total
"""
SOLVE = """
import numpy as np

def solve(inputs):
    return np.cumsum(inputs[0]) - inputs[0][0]

if __name__ == "__main__":
    print("steps: 1")
"""


def folder(place: Path, **files: str) -> Path:
    for name, text in files.items():
        (place / name.replace("_", ".")).write_text(text)
    return place


def outcome_of(place: Path, launcher: Launcher, stream: str = "search", edited: str = "") -> Outcome:
    """Of the baseline, or of an edit of it that has this text."""
    task = Task.load(place)
    trainer = Trainer(task, DataStore(task, Streams.from_seed(1), place / "splits"), launcher=launcher)
    source = task.baseline().with_text("train.py", edited) if edited else task.baseline()
    return trainer.run(Spec(source, 1, stream))  # type: ignore[arg-type]


def trust(launcher: Launcher, wanted: str) -> str:
    return wanted if launcher.sandboxed else "unverified"


@pytest.mark.parametrize(("stream", "wanted"), [("search", "scored"), ("confirmation", "verified")])
def test_a_kernel_task(tmp_path: Path, launcher: Launcher, session_cache: Path, stream: str, wanted: str) -> None:
    outcome = outcome_of(folder(tmp_path, task_toml=KERNEL, data_py=DATA, train_py=SOLVE), launcher, stream)
    assert outcome.status == "ok", outcome.reason
    assert outcome.trust == trust(launcher, wanted)
    assert outcome.metric is not None and 0 < outcome.metric < 0.5


def test_a_kernel_that_is_wrong(tmp_path: Path, launcher: Launcher, session_cache: Path) -> None:
    wrong = SOLVE.replace("- inputs[0][0]", "")
    place = folder(tmp_path, task_toml=KERNEL, data_py=DATA, train_py=SOLVE)
    outcome = outcome_of(place, launcher, edited=wrong)
    assert outcome.status == "invalid" and "wrong result" in outcome.reason


def test_a_printed_task_needs_no_data_and_no_checkpoint(
    tmp_path: Path, launcher: Launcher, session_cache: Path
) -> None:
    script = "print('val_bpb: 2.0')\nprint('val_bpb: 1.25')\n"
    place = folder(tmp_path, task_toml=PRINTED, train_py=script)
    outcome = outcome_of(place, launcher, "confirmation")
    assert (outcome.status, outcome.metric, outcome.findings) == ("ok", 1.25, ())
    assert outcome.trust == trust(launcher, "self-reported")
    assert [finding.message for finding in check(place, launcher=launcher, only=["data"])][1:] == []


def test_the_contract_of_a_kernel(tmp_path: Path, launcher: Launcher, session_cache: Path) -> None:
    place = folder(tmp_path, task_toml=KERNEL, data_py=DATA, train_py=SOLVE)
    assert [finding.level for finding in check(place, launcher=launcher, only=["text", "data"])] == ["ok", "ok"]
    folder(
        place,
        train_py=SOLVE.replace("def solve", "def other"),
        data_py=DATA.replace("default_rng(seed)", "default_rng(1)"),
    )
    messages = [finding.message for finding in check(place, launcher=launcher, only=["text", "data"])]
    assert messages[1:] == ["train.py defines no solve()", "kernel_inputs: another seed gave the same inputs"]

"""A tiny command task with constraints: a better loss costs memory and time of an answer."""

from __future__ import annotations

from pathlib import Path

from tests.trainer.foreign_repos import store
from trainer.experiment import Trainer
from trainer.task import Task

TRAIN = """import json, os, random
PAD = 0
LR = 0.1
seed = int(os.environ["METALOOP_TRAIN_SEED"])
random.seed(seed)
data = b"x" * (PAD << 20)
loss = (1 - LR) ** 2 + 0.001 * random.random() - 0.01 * PAD
print("latency_ms:", 5 + PAD / 10 * (1 + seed % 2))
print("loss:", loss)
json.dump({"loss": loss, "tests": {"passed": 12 - (LR > 0.3)}}, open("result.json", "w"))
"""
TASK = """[task]
name = "limited"
metric = "loss"
editable = ["train.py"]
read_only = []

[budget]
seconds = 0.05
cost = 0.2
steps = 1
seconds_per_step = 0.2
hard_extra = 10.0

[score]
kind = "printed"
pattern = '^loss: (.*)'

[run]
command = "python train.py"

[edits.PAD]
kind = "int"
values = [0, 20, 60]

[edits.LR]
kind = "float"
values = [0.1, 0.2, 0.4]

"""
MEMORY = '[constraints.memory]\nkind = "memory_mb"\nat_most = 50\n'
SIZE = '[constraints.size]\nkind = "lines"\nat_most = 12\n'
LATENCY = '[constraints.latency]\nkind = "printed"\npattern = \'^latency_ms: (.*)\'\nunit = "ms"\nat_most = 6\n'
SOFT = "hard = false\n"


def limited(folder: Path, constraints: str, old: str = "", new: str = "") -> Task:
    """The task with that text at the end of its task.toml, after one replacement in it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.py").write_text(TRAIN)
    (folder / "task.toml").write_text(TASK.replace(old, new, 1) + constraints)
    return Task.load(folder)


def trainer_of(task: Task, *, fixed_steps: bool = False) -> Trainer:
    return Trainer(task, store(task, task.folder / "data"), fixed_steps=fixed_steps)

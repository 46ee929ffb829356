"""Repositories of others, as they are found in the wild, written for the tests."""

from __future__ import annotations

from pathlib import Path

from trainer.cards.check_record import CheckFinding
from trainer.commands.check import check_command
from trainer.commands.init import Drafting, write
from trainer.commands.task_toml import Wanted
from trainer.data import DataStore
from trainer.experiment import Spec, Trainer
from trainer.outcome import Outcome
from trainer.streams import Streams
from trainer.task import Task

PROGRAM = """# autoresearch

An experiment to have the LLM do its own research.

## Setup
1. Read the files: `prepare.py` holds data and evaluation. Do not modify. `train.py` is the file you modify.
2. Verify that the data exists, if not tell the human to run `uv run prepare.py`.

## Experimentation
Each experiment runs on one device, for a **fixed time budget** (wall clock). You launch it as: `uv run train.py`.

**What you CAN do:**
- Modify `train.py`: this is the only file you edit. Everything is fair game.

**What you CANNOT do:**
- Modify `prepare.py`. It is read-only.
- Install new packages.

**The goal is simple: get the lowest val_bpb.**

## Output format
```
---
val_bpb:          0.997900
training_seconds: 300.1
peak_vram_mb:     45060.2
num_steps:        953
```
You can extract it: `grep "^val_bpb:" run.log`

## The loop
LOOP FOREVER: edit, commit, run `uv run train.py > run.log 2>&1`, keep or revert.
"""

TRAIN = '''"""Fits a line; the loss is printed."""
import random
import time

from prepare import TIME_BUDGET, evaluate

SEED = 1337
LEARNING_RATE = 0.002
MOMENTUM = 0.0
BATCH_SIZE = 4

random.seed(SEED)
start, weight, velocity, steps = time.process_time(), 0.0, 0.0, 0
while time.process_time() - start < TIME_BUDGET:
    for _ in range(50):
        velocity = MOMENTUM * velocity - LEARNING_RATE * 0.01 * (weight - 3.0 + random.gauss(0, 1 / BATCH_SIZE))
        weight += velocity
        steps += 1
    if steps >= 2000:
        break
print("---")
print(f"val_bpb:          {evaluate(weight):.6f}")
print(f"training_seconds: {time.process_time() - start:.1f}")
print(f"num_steps:        {steps}")
'''

PREPARE = """TIME_BUDGET = 0.1  # CPU-seconds


def evaluate(weight):
    return 1.0 + (weight - 3.0) ** 2
"""


def original(folder: Path) -> Path:
    """The shape of the first autoresearch: train.py, prepare.py, program.md, a summary of key: value lines."""
    files = {
        "program.md": PROGRAM, "train.py": TRAIN, "prepare.py": PREPARE, "README.md": "# Research\n\nSee program.md.\n",
        "pyproject.toml": '[project]\nname = "research"\nversion = "0"\n', "results.tsv": "commit\tval_bpb\n",
        # a data.py of theirs: our own tasks' data.py is run outside of the sandbox, this one must never be
        "data.py": "raise SystemExit('a stranger ran')\n",
    }  # fmt: skip
    return write_files(folder, files)


def makefile(folder: Path) -> Path:
    """`make bench` writes JSON; the kernel is C."""
    files = {
        "Makefile": "CC = gcc\nall: bench\n\nkernel: src/kernel.c bench/main.c\n"
        "\t$(CC) -O1 -o kernel src/kernel.c bench/main.c\n\n"
        "bench: kernel\n\t./kernel > out/result.json\n",
        "src/kernel.c": "#define BLOCK 16\n#define UNROLL 2\n\nint work(void) {\n    return 100 / UNROLL + BLOCK;\n}\n",
        "bench/main.c": '#include <stdio.h>\nint work(void);\nint main(void) {\n'
        '    printf("{\\"kernel\\": {\\"millis\\": %d.5}, \\"n\\": 3}\\n", work());\n    return 0;\n}\n',
        "out/.keep": "", "out/README": "results land here\n",
        "README.md": "# A kernel\n\nRun `make bench`; it writes out/result.json. Smaller is better.\n\n"
        "You may edit `src/kernel.c`. Do not change `bench/main.c`.\n",
    }  # fmt: skip
    return write_files(folder, files)


def shell(folder: Path) -> Path:
    """A script and its settings, no prose."""
    text = '#!/bin/bash\n. ./settings.toml\nscore=$(( LEVEL * 10 - WIDTH ))\necho "score: $score"\n'
    place = write_files(folder, {"run.sh": text, "settings.toml": "LEVEL=3\nWIDTH=8\n"})
    (place / "run.sh").chmod(0o755)
    return place


def compiled(folder: Path) -> Path:
    """One C program, built and timed by one line of the README."""
    files = {
        "sort.c": "#include <stdio.h>\n#include <time.h>\n#define CUTOFF 64\nstatic const int PASSES = 200;\n"
        "int main(void) {\n    volatile long sum = 0;\n"
        "    for (long i = 0; i < 1000L * PASSES * 64 / CUTOFF; i++) sum += i;\n"
        '    printf("seconds = %.6f\\n", (double)clock() / CLOCKS_PER_SEC);\n    return 0;\n}\n',
        "README.md": "# Sorting\n\n```sh\ngcc -O2 -o sort sort.c && ./sort\n```\n\n`seconds`: lower is better.\n",
    }  # fmt: skip
    return write_files(folder, files)


def nested(folder: Path) -> Path:
    """Several editable files in folders; another metric, higher is better."""
    files = {
        "program.md": "# Task\n\nEdit `src/model/net.py` and `src/optim.py`.\nRead-only: `eval/score.py`.\n\n"
        "Run `python -m eval.score` and maximize `accuracy`.\nEach run takes 2 seconds.\n",
        "src/__init__.py": "", "src/model/__init__.py": "", "eval/__init__.py": "",
        "src/model/net.py": "WIDTH = 8\nDROPOUT = 0.1\n", "src/optim.py": "LR = 0.5\nBETA2 = 0.95\n",
        "eval/score.py": "import os\n\nfrom src.model.net import DROPOUT, WIDTH\nfrom src.optim import LR\n\n"
        "value = 0.5 + 0.01 * WIDTH - DROPOUT * LR\nprint(f'accuracy={value:.4f}')\nprint('n_params:', WIDTH)\n",
    }  # fmt: skip
    return write_files(folder, files)


def write_files(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return folder


#: What a user says of each shape; the rest is found by running.
ORIGINAL = Wanted(command="uv run train.py", metric="val_bpb", editable=["train.py"])
MAKEFILE = Wanted(
    command="make bench", metric="kernel.millis", metric_file="out/result.json", editable=["src/kernel.c"],
    direction="lower",
)  # fmt: skip
SHELL = Wanted(command="./run.sh", editable=["settings.toml"], direction="higher", noise="unknown")
COMPILED = Wanted(command="gcc -O2 -o sort sort.c && ./sort")
NESTED = Wanted(
    command="python -m eval.score", metric="accuracy", editable=["src/model/net.py", "src/optim.py"], noise="unknown"
)  # fmt: skip


def made(place: Path, wanted: Wanted, into: Path | None = None, *, sandbox: bool = True) -> Task:
    """`task init` of a repository: its command runs twice; without a sandbox at a quarter of the CPU time."""
    return Task.load(write(Drafting(place, sandbox=sandbox).draft(wanted), into))


COMMAND = """[task]
name = "own"
metric = "{metric}"
direction = "{direction}"
editable = ["train.py"]
read_only = {read_only}

[score]
kind = "printed"
pattern = '^{metric}: (.*)'

[budget]
seconds = 1.0
cost = 0.1
hard_factor = 2.0
hard_extra = 10.0
{budget}

[run]
command = "python train.py"
{run}
"""


def command_task(
    folder: Path, files: dict[str, str], run: str = "", budget: str = "", metric: str = "loss", direction: str = "lower"
) -> Task:  # fmt: skip
    """A task that runs train.py, without the two runs of `task init`; ``run``: the rest of its task.toml."""
    read_only = [name for name in files if name != "train.py"]
    toml = COMMAND.format(metric=metric, direction=direction, read_only=read_only, budget=budget, run=run)
    return Task.load(write_files(folder, files | {"task.toml": toml}))


def changed(folder: Path, old: str, new: str, file: str = "task.toml") -> Task:
    """The task of a folder, after a text that is in one of its files was replaced."""
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new))
    return Task.load(folder)


def checked(task: Task, *, sandbox: bool = False, knobs: bool | None = None) -> dict[str, CheckFinding]:
    """What `task check` finds, by its clause; without a sandbox, which takes three quarters of the CPU time."""
    return {finding.clause: finding for finding in check_command(Task.load(task.folder), knobs, sandbox=sandbox)}


def store(task: Task, folder: Path) -> DataStore:
    """Its data, of the same streams for every test."""
    return DataStore(task, Streams.from_seed(1), folder)


def trainer_of(task: Task, **how: bool) -> Trainer:
    """With data beside the task."""
    return Trainer(task, store(task, task.folder.parent / "data"), **how)


def run(task: Task, spec: Spec | None = None, **how: bool) -> Outcome:
    """One experiment, of the baseline if no other is given."""
    return trainer_of(task, **how).run(spec or Spec(task.baseline(), 1))

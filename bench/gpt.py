"""Speed and overhead of the task gpt on one GPU: `python -m bench.gpt [-n 2] [--seconds 300] [--write FILE]`.

Whole experiments through the trainer, as in a study: tokens per second, MFU, peak memory, and what is charged beyond
the seconds of training. *Warm*: the untouched source, whose kernels are in the compile cache. *Cold*: a source with
another model (`--cold`, by default rotary positions), whose kernels each such experiment has to make. Without a GPU it
says so and ends with status 2; `--toy` goes the whole way on the CPU instead, which tells nothing of a GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shlex
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.common import figure, ratio
from trainer import gpus
from trainer.data import DataStore
from trainer.edits import Edit
from trainer.experiment import Spec, Trainer
from trainer.hardware import hardware_class
from trainer.outcome import Outcome
from trainer.streams import Streams
from trainer.task import Task

GOALS = {"outside": "≤ 3 warm; the original 25.9 of 325.9", "mfu_percent": "≥ 45 on an H100 or H200; the original 39.8"}
SHOWN = ("mfu_percent", "peak_vram_mb", "startup_seconds", "total_tokens_M", "num_steps", "num_params_M")


def printed(log: str) -> dict[str, float]:
    """The numbers of the summary: what train.py says of itself."""
    return {key: float(value) for key, value in re.findall(r"^(\w+): ([\d.]+)$", log, re.MULTILINE)}


def run(trainer: Trainer, edit: Edit, seed: int, fraction: float) -> dict[str, float]:
    """One experiment's figures. Exits with its reason where it is not ok."""
    source = trainer.task.edits.apply(trainer.task.baseline(), edit)
    outcome: Outcome = trainer.run(Spec(source, seed, fraction=fraction), use_cache=False)
    if outcome.status != "ok" or outcome.metric is None:
        sys.exit(f"{edit.label()}: {outcome.status}: {outcome.reason}")
    said = printed(outcome.log)
    training = said["training_seconds"]
    figures = {key: said[key] for key in SHOWN if key in said}
    figures["tokens_per_second"] = 1e6 * said["total_tokens_M"] / training
    figures |= {"training": training, "charged": outcome.device_seconds, "outside": outcome.device_seconds - training}
    figures |= {"metric": outcome.metric, "wall": outcome.wall_seconds, "peak_memory_mb": outcome.peak_memory_mb}
    return figures


def tell(name: str, runs: list[dict[str, float]], toy: bool) -> dict[str, Any]:
    """A line for each figure; the medians."""
    for key in runs[0]:
        goal = GOALS.get(key, "") if name == "warm" and not toy else ""
        figure(f"{'toy ' if toy else ''}{name} {key}", ratio([one[key] for one in runs]), goal)
    return {key: statistics.median(one[key] for one in runs) for key in runs[0]}


def surroundings(task: Task) -> dict[str, str]:
    import torch

    return {
        "command": shlex.join(["python", "-m", "bench.gpt", *sys.argv[1:]]),
        "hardware": hardware_class(task.device),
        "processor": f"{hardware_class()}, {os.cpu_count()} cores",
        "versions": f"Python {platform.python_version()}, torch {torch.__version__}",
        "task_id": task.task_id,
        "source_id": task.baseline().source_id,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.gpt")
    parser.add_argument("-n", type=int, default=2, help="experiments of each kind")
    parser.add_argument("--seconds", type=float, help="of training; by default the task's budget")
    parser.add_argument("--cold", default="rope", help="edit whose kernels are nowhere yet; '' leaves that out")
    parser.add_argument("--toy", action="store_true", help="on the CPU, at toy size")
    parser.add_argument("--task", default="gpt", help="a copy of the task, e.g. with less data")
    parser.add_argument("--write", type=Path, metavar="FILE", help="the figures as JSON, too")
    given = parser.parse_args()
    if given.toy:
        os.environ[gpus.VARIABLE] = "cpu"
    elif not gpus.usable():
        print(
            f"no GPU: {gpus.survey().reason}; --toy runs it on the CPU, which tells nothing of a GPU", file=sys.stderr
        )
        sys.exit(2)
    task = Task.load(given.task)
    fraction = (given.seconds or task.budget_seconds) / task.budget_seconds
    figures: dict[str, Any] = {"toy": given.toy, "surroundings": surroundings(task)}
    for key, value in figures["surroundings"].items():
        figure(key, value)
    with (
        tempfile.TemporaryDirectory() as folder,
        Trainer(task, DataStore(task, Streams.from_seed(1), Path(folder))) as one,
    ):
        run(one, Edit(), 0, min(fraction, 20 / task.budget_seconds))  # fills the compile cache, and is not counted
        for name, edit in (("warm", Edit()), ("cold", Edit({}, (given.cold,)) if given.cold else None)):
            if edit is not None:
                figures[name] = tell(name, [run(one, edit, 1 + i, fraction) for i in range(given.n)], given.toy)
    if given.write:
        given.write.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()

"""Helpers for tests of the built-in tasks: a trainer of one, and one started by hand."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from trainer.data import DataStore
from trainer.experiment import Spec, Trainer
from trainer.source import Source
from trainer.streams import Streams
from trainer.task import Task


def patches(task: Task) -> tuple[str, ...]:
    return tuple(knob.name for knob in task.edits.knobs if knob.kind == "patch")


def module_of(task: Task, name: str) -> ModuleType:
    """A module of the task's folder, loaded anew."""
    spec = importlib.util.spec_from_file_location(f"{task.name}_{name}", task.folder / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def executing(task: Task, patch: pytest.MonkeyPatch) -> Callable[[Source], dict[str, Any]]:
    """Executes a train.py beside the task's own prepare.py, on a CPU and without training: its globals."""
    patch.setenv("METALOOP_TRAIN_DEVICE", "cpu")
    patch.setitem(sys.modules, "prepare", module_of(task, "prepare"))

    def execute(source: Source) -> dict[str, Any]:
        names: dict[str, Any] = {"__name__": "candidate"}
        exec(compile(source.text(), "train.py", "exec"), names)
        return names

    return execute


@contextmanager
def fixed_trainer(task: Task, root: Path) -> Iterator[Trainer]:
    """Trains for steps in place of seconds, on hidden data of its own."""
    with Trainer(task, DataStore(task, Streams.from_seed(1), root), fixed_steps=True) as trainer:
        yield trainer


def check_language_model(
    names: dict[str, Any], checkpoint: Path, *, classes: int, length: int, change: int, lengths: Sequence[int]
) -> None:
    """Logits are causal at any length and agree with steps: a symbol at ``change`` moves those from there on alone."""
    import torch

    trained = names["GPT"]()
    with torch.no_grad():  # no weight may be zero, or a path through it would go unseen
        for parameter in trained.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    torch.save(trained.state_dict(), checkpoint)
    model = names["load"](str(checkpoint))
    rows = torch.randint(classes, (2, length), generator=torch.Generator().manual_seed(1))
    changed = rows.clone()
    changed[:, change] = (changed[:, change] + 1) % classes
    before, after = names["logits"](model, rows), names["logits"](model, changed)
    assert before.shape == (2, length, classes) and before.dtype == torch.float32
    assert torch.allclose(before[:, :change], after[:, :change], atol=1e-5)
    assert not torch.allclose(before[:, change], after[:, change], atol=1e-5)
    for shorter in lengths:
        assert torch.allclose(names["logits"](model, rows[:, :shorter]), before[:, :shorter], atol=1e-4)
    past, stepwise = None, []
    for place in range(length):
        found, past = names["step"](model, past, rows[:, place])
        stepwise.append(found)
    assert torch.allclose(torch.stack(stepwise, 1), before, atol=1e-4)


def check_repeats(trainer: Trainer, baseline: Source) -> None:
    """Fixed steps give the same metric twice, above the floor; streams confirm what chunks score, with what comes."""
    spec = Spec(baseline, seed=5, fraction=0.3)
    first, second = trainer.run(spec), trainer.run(spec)
    assert first.status == "ok", first.reason
    assert first.steps == round(0.3 * trainer.task.steps)
    assert first.metric == second.metric
    floor = json.loads((trainer.data.split("search") / "floor.json").read_text())["bits_per_byte"]
    assert first.metric is not None and floor < first.metric < 3.5
    streamed = trainer.run(replace(spec, stream="confirmation"))
    assert streamed.status == "ok", streamed.reason
    assert streamed.trust == ("verified" if trainer.launcher.sandboxed else "unverified")
    assert streamed.findings == ()


#: Each in a process of its own and an empty folder, as its author would start it; torch is imported once for all.
_BY_HAND = """
import os, runpy, sys, torch
for script in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        sys.argv, sys.path[0] = [script], os.path.dirname(script)
        place = os.path.basename(sys.path[0])
        os.mkdir(place)
        os.chdir(place)
        sys.stdout = open("printed", "w")
        runpy.run_path(script, run_name="__main__")
        sys.stdout.flush()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, script
"""


def by_hand(tasks: Sequence[Task], place: Path) -> None:
    """Starts each train.py for three steps; in the folder of its name, ``printed`` is what it prints."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("METALOOP_TRAIN")}
    environment |= {"METALOOP_TRAIN_STEPS": "3", "PYTHONDONTWRITEBYTECODE": "1"}
    scripts = [str(task.folder / "train.py") for task in tasks]
    command = [sys.executable, "-c", _BY_HAND, *scripts]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

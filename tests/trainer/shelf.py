"""Helpers for tests of the built-in tasks: a trainer of one, and one started by hand."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from trainer.data import DataStore
from trainer.experiment import Trainer
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
    """Trains for steps in place of seconds, on data of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METALOOP_CACHE", str(root / "cache"))
        with Trainer(task, DataStore(task, Streams.from_seed(1), root), fixed_steps=True) as trainer:
            yield trainer


def by_hand(script: Path, place: Path, arguments: Sequence[str] = (), **variables: str) -> str:
    """What a train.py prints that is started as its author would, in an empty folder ``place``."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("METALOOP_")}
    environment |= {"METALOOP_CACHE": str(place), "METALOOP_TRAIN_STEPS": "3", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, *(arguments or [str(script)])],
        cwd=place, env=environment | variables, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout

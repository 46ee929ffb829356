"""The built-in task strokes: its data, its baseline by hand and in a fork, and every edit that it declares."""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.trainer.shelf import fixed_trainer, module_of, patches
from trainer.edits import Edit
from trainer.experiment import Spec, Trainer
from trainer.task import Task

TASK = Task.load("strokes")


@pytest.fixture(scope="module")
def data() -> ModuleType:
    return module_of(TASK, "data")


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainer]:
    with fixed_trainer(TASK, tmp_path_factory.mktemp("strokes")) as one:
        yield one


def test_a_seed_means_the_same_bytes_everywhere(data: ModuleType) -> None:
    inputs, targets = data.draw(100, 7)
    assert inputs.shape == (100, 256) and inputs.dtype == np.uint8
    assert hashlib.sha256(inputs.tobytes() + targets.astype("<i8").tobytes()).hexdigest()[:16] == "08f9299022e21748"


def test_splits_of_different_seeds_differ_and_hold_all_classes(data: ModuleType, tmp_path: Path) -> None:
    data.make("search", 3, tmp_path / "a")
    data.make("search", 4, tmp_path / "b")
    first, second = (np.load(tmp_path / name / "inputs.npy") for name in "ab")
    assert first.shape == second.shape == (data.ROWS["hidden"], 256)
    assert len({row.tobytes() for row in np.concatenate((first, second))}) == 2 * data.ROWS["hidden"]
    assert set(np.load(tmp_path / "a" / "targets.npy").tolist()) == set(range(data.CLASSES))


def test_generator_uses_no_operation_that_differs_by_machine() -> None:
    tree = ast.parse((TASK.folder / "data.py").read_text())
    called = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not called & {"sin", "cos", "exp", "log", "power", "dot", "matmul", "einsum", "normal", "default_rng"}


def test_budget_by_hand_is_the_task_s() -> None:
    found = re.search(r'"METALOOP_TRAIN_BUDGET", "([0-9.]+)"', (TASK.folder / "prepare.py").read_text())
    assert found and float(found[1]) == TASK.budget_seconds


@pytest.mark.slow
def test_fixed_steps_give_the_same_metric_twice(trainer: Trainer) -> None:
    spec = Spec(TASK.baseline(), seed=5)
    first, second = trainer.run(spec), trainer.run(spec)
    assert first.status == "ok", first.reason
    assert first.steps == TASK.steps
    assert first.metric == second.metric
    assert first.metric is not None and 1.0 < first.metric < 2.3


@pytest.mark.slow
def test_all_patches_together_train(trainer: Trainer) -> None:
    outcome = trainer.run(Spec(TASK.edits.apply(TASK.baseline(), Edit({}, patches(TASK))), seed=5))
    assert outcome.status == "ok", outcome.reason

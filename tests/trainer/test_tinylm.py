"""The built-in task tinylm: its baseline by hand and in a fork, every declared edit, causal logits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.shelf import check_language_model, check_repeats, executing, fixed_trainer, patches
from trainer.edits import Edit
from trainer.experiment import Spec, Trainer
from trainer.task import Task

TASK = Task.load("tinylm")
PATCHES = patches(TASK)
MODEL_EDITS = [
    Edit(),
    Edit({"CTX": 64}),
    Edit({"CTX": 256, "HEADS": 1, "DROPOUT": 0.2}),
    *(Edit({}, (name,)) for name in PATCHES),
    Edit({"CTX": 32, "DEPTH": 1, "WIDTH": 96, "MLP_RATIO": 1, "ACTIVATION": "relu2"}, PATCHES),
]


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> Any:
    return executing(TASK, monkeypatch)


@pytest.mark.parametrize("edit", MODEL_EDITS, ids=lambda edit: edit.label())
def test_logits_are_causal_at_any_length_and_agree_with_steps(executed: Any, tmp_path: Path, edit: Edit) -> None:
    names = executed(TASK.edits.apply(TASK.baseline(), edit))
    check_language_model(
        names, tmp_path / "checkpoint.pt", classes=189, length=256, change=150, lengths=(1, 33, 100, 150)
    )


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainer]:
    with fixed_trainer(TASK, tmp_path_factory.mktemp("tinylm")) as one:
        yield one


@pytest.mark.slow
def test_fixed_steps_repeat_above_the_floor_and_confirm(trainer: Trainer) -> None:
    metric = check_repeats(trainer, TASK.baseline())
    assert metric == trainer.run(Spec(TASK.baseline(), seed=5, stream="confirmation", fraction=0.3)).metric

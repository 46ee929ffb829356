"""What holds of every built-in task, by hand too; the data of strokes, and the models of tinylm."""

from __future__ import annotations

import ast
import hashlib
import re
from itertools import combinations
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.trainer.shelf import (
    by_hand,
    check_language_model,
    check_repeats,
    executing,
    fixed_trainer,
    module_of,
    patches,
)
from trainer.edits import Edit
from trainer.experiment import Spec
from trainer.source import Source
from trainer.task import Task, builtin_tasks

STROKES = Task.load("strokes")
SEPARATING = ("strokes", "tinylm")  # their cards show it
PRINTED = {"nll": "val_nll", "rmse": "val_error", "bits_per_byte": "val_bpb"}


@pytest.fixture(scope="module", params=builtin_tasks())
def task(request: pytest.FixtureRequest) -> Task:
    return Task.load(request.param)


def test_every_declared_edit_gives_another_source_that_compiles(task: Task) -> None:
    sources = [task.edits.apply(task.baseline(), edit) for edit, _ in task.declared_edits()]
    for source in sources:
        compile(source.text(), "train.py", "exec")
    assert len({source.source_id for source in sources} - {task.baseline().source_id}) == len(sources)


def test_the_order_of_patches_changes_nothing(task: Task) -> None:
    names = patches(task)
    for pair in combinations(names, 2):
        assert patched(task, pair) == patched(task, pair[::-1])
    whole = patched(task, names)
    assert whole == patched(task, names[::-1])
    assert all(task.edits.config(whole)[name] is True for name in names)


def patched(task: Task, names: tuple[str, ...]) -> Source:
    return task.edits.apply(task.baseline(), Edit({}, names))


def test_knobs_hold_the_baseline_s_value_and_are_not_too_many(task: Task) -> None:
    config = task.edits.config(task.baseline())
    assert all(config[knob.name] in knob.values for knob in task.edits.knobs)
    assert 12 <= len(task.edits.knobs) <= 28 and len({knob.group for knob in task.edits.knobs}) >= 3


def test_card_was_measured_on_this_baseline_with_each_edit(task: Task) -> None:
    card = task.card
    if card is None:
        assert task.name not in SEPARATING
        return
    assert card["baseline_source"] == task.baseline().source_id, "measure the task anew"
    assert card["baseline"]["n"] >= 4 and len(card["effects"]) == len(task.declared_edits())
    assert 0 < (card["floor"] or 1e-9) < card["headroom"]["metric"] < card["baseline"]["mean"]
    separates = card["headroom"]["gain_sd"] >= 15 and card["resolved_share"] >= 1 / 3
    assert separates == (task.name in SEPARATING)


@pytest.mark.slow
def test_task_by_hand_prints_its_metric(tmp_path: Path) -> None:
    tasks = [Task.load(name) for name in builtin_tasks() if name != "gpt"]  # whose tests train it
    by_hand(tasks, tmp_path)
    for task in tasks:
        told = (tmp_path / task.name / "printed").read_text()
        assert f"{PRINTED[task.metric]}: " in told and "steps: 3\n" in told
        assert any(path.stat().st_size for path in (tmp_path / task.name).glob("checkpoint*"))


@pytest.fixture(scope="module")
def strokes() -> ModuleType:
    return module_of(STROKES, "data")


def test_seed_of_strokes_means_the_same_bytes_everywhere(strokes: ModuleType) -> None:
    inputs, targets = strokes.draw(100, 7)
    assert inputs.shape == (100, 256) and inputs.dtype == np.uint8
    assert hashlib.sha256(inputs.tobytes() + targets.astype("<i8").tobytes()).hexdigest()[:16] == "08f9299022e21748"


def test_splits_of_different_seeds_differ_and_hold_all_classes(strokes: ModuleType, tmp_path: Path) -> None:
    strokes.make("search", 3, tmp_path / "a")
    strokes.make("search", 4, tmp_path / "b")
    first, second = (np.load(tmp_path / name / "inputs.npy") for name in "ab")
    assert first.shape == second.shape == (strokes.ROWS["hidden"], 256)
    assert len({row.tobytes() for row in np.concatenate((first, second))}) == 2 * strokes.ROWS["hidden"]
    assert set(np.load(tmp_path / "a" / "targets.npy").tolist()) == set(range(strokes.CLASSES))


def test_generator_uses_no_operation_that_differs_by_machine() -> None:
    tree = ast.parse((STROKES.folder / "data.py").read_text())
    called = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not called & {"sin", "cos", "exp", "log", "power", "dot", "matmul", "einsum", "normal", "default_rng"}


def test_budget_by_hand_is_the_task_s() -> None:
    found = re.search(r'"METALOOP_TRAIN_BUDGET", "([0-9.]+)"', (STROKES.folder / "prepare.py").read_text())
    assert found and float(found[1]) == STROKES.budget_seconds


@pytest.mark.slow
def test_strokes_repeats_and_trains_with_all_patches(tmp_path: Path) -> None:
    with fixed_trainer(STROKES, tmp_path) as trainer:
        spec = Spec(STROKES.baseline(), seed=5)
        first, second = trainer.run(spec), trainer.run(spec)
        whole = trainer.run(Spec(STROKES.edits.apply(STROKES.baseline(), Edit({}, patches(STROKES))), seed=5))
    assert (first.status, whole.status, first.steps) == ("ok", "ok", STROKES.steps), (first.reason, whole.reason)
    assert first.metric == second.metric and first.metric is not None and 1.0 < first.metric < 2.3


TINYLM = Task.load("tinylm")
PATCHES = patches(TINYLM)
MODEL_EDITS = [
    Edit(),
    Edit({"CTX": 64}),
    Edit({"CTX": 256, "HEADS": 1, "DROPOUT": 0.2}),
    *(Edit({}, (name,)) for name in PATCHES),
    Edit({"CTX": 32, "DEPTH": 1, "WIDTH": 96, "MLP_RATIO": 1, "ACTIVATION": "relu2"}, PATCHES),
]


@pytest.mark.parametrize("edit", MODEL_EDITS, ids=lambda edit: edit.label())
def test_logits_are_causal_at_any_length_and_agree_with_steps(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, edit: Edit
) -> None:
    names = executing(TINYLM, monkeypatch)(TINYLM.edits.apply(TINYLM.baseline(), edit))
    check_language_model(
        names, tmp_path / "checkpoint.pt", classes=189, length=256, change=150, lengths=(1, 33, 100, 150)
    )


@pytest.mark.slow
def test_fixed_steps_of_tinylm_repeat_above_the_floor(tmp_path: Path) -> None:
    with fixed_trainer(TINYLM, tmp_path) as trainer:
        check_repeats(trainer, TINYLM.baseline())

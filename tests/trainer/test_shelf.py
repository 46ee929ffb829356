"""What holds of every built-in task: its edits, its baseline's values, its card, and that it runs by hand."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest

from tests.trainer.shelf import by_hand, patches
from trainer.edits import Edit
from trainer.source import Source
from trainer.task import Task, builtin_tasks

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
@pytest.mark.parametrize("name", [name for name in builtin_tasks() if name != "gpt"])  # whose tests train it
def test_task_by_hand_prints_its_metric(tmp_path: Path, name: str) -> None:
    task = Task.load(name)
    told = by_hand(task.folder / "train.py", tmp_path)
    assert f"{PRINTED[task.metric]}: " in told
    assert "steps: 3\n" in told
    assert any(path.stat().st_size for path in tmp_path.glob("checkpoint*"))

"""The card of a task: measured by real runs, and what 'task show' says of it."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from programs.common.errors import TaskError
from tests.inner_loop.play import BLOBS
from tests.trainer.foreign_repos import command_task
from trainer import variants
from trainer.cards.card import RESOLVED, describe_card, separates_strategies
from trainer.cards.measure import known_floor, measure
from trainer.data import DataStore
from trainer.edits import EditSpace
from trainer.sandbox.local import LocalLauncher
from trainer.task import TASKS, Task


def test_declared_edits_leave_out_what_the_baseline_has(task: Task) -> None:
    labels = [edit.label() for edit, _ in task.declared_edits()]
    assert "lr=1" in labels and "+relu" in labels
    assert "lr=0.03" not in labels
    assert sum(label.startswith("lr=") for label in labels) == 4


def test_floor_of_a_stranger_that_cannot_be_read_is_none(task: Task, tmp_path: Path) -> None:
    for text, floor in (("[" * 90_000, None), ('{"nll": NaN}', None), ('{"nll": 0.5}', 0.5)):
        (tmp_path / "floor.json").write_text(text)
        assert known_floor(task, tmp_path) == floor


def test_measure_without_noise_between_seeds_is_refused(tmp_path: Path) -> None:
    """Gains in a card are counted in that noise."""
    task = command_task(tmp_path / "task", {"train.py": "print('loss: 1.5')\n"})
    with pytest.raises(TaskError, match="own: 3 seeds of the baseline give the same metric"):
        measure(task, seeds=3)


@pytest.mark.slow
def test_card(task: Task, data: DataStore, launcher: LocalLauncher, tmp_path: Path) -> None:
    seen: list[str] = []
    task = replace(task, edits=EditSpace(task.edits.knobs[:2]))
    card = measure(task, data=data, launcher=launcher, seeds=3, progress=seen.append)
    assert card.baseline.n == 3 and card.baseline.sd > 0
    assert len(card.effects) == len(task.declared_edits())
    assert len(seen) == card.experiments >= 3 + len(card.effects)
    assert all(e.resolved == (abs(e.gain_sd) >= RESOLVED) for e in card.effects if e.gain_sd is not None)
    assert card.headroom.tried > 0
    assert card.floor is None
    assert card.lines()[0].startswith("spiral: nll")
    folder = variants.init(tmp_path / "spiral")
    card.write(folder)
    loaded = Task.load(folder)
    assert loaded.card and loaded.card["baseline"]["sd"] == card.baseline.sd
    assert loaded.task_id == task.task_id


def test_a_baseline_that_fails_is_told(session_cache: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(BLOBS, tmp_path / "broken", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "train.py").write_text((folder / "train.py").read_text().replace("prepare.save", "prepare.store"))
    task = Task.load(folder)
    with (
        closing(LocalLauncher(torch=task.torch)) as launcher,
        pytest.raises(TaskError, match=r"train\.py: the baseline fails: AttributeError"),
    ):
        measure(task, launcher=launcher, seeds=2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TASKS / "strokes", tmp_path / "strokes"))


def carded(folder: Path, **changes: Any) -> Task:
    card = json.loads((folder / "card.json").read_text()) | changes
    (folder / "card.json").write_text(json.dumps(card))
    return Task.load(folder)


def test_card_of_other_files_is_stale(folder: Path) -> None:
    source = folder / "train.py"
    source.write_text(source.read_text() + "# another\n")
    task = Task.load(folder)
    assert task.seed_sd is None and describe_card(task).endswith("measure again")


@pytest.mark.parametrize(
    ("changes", "said", "separates"),
    [
        ({}, "separates strategies", True),
        ({"headroom": {"gain_sd": 14.9}}, "too little headroom", False),
        ({"headroom": {"gain_sd": 15}, "resolved_share": 0.3}, "too few detectable edits", False),
        ({"headroom": None}, "no headroom measured", None),
        ({"measured": False}, "not measured", True),
        *(
            ({"headroom": {"gain_sd": x}, "resolved_share": x, "baseline": {"sd": x}}, "not measured", None)
            for x in ("12", True, None, [1])
        ),
    ],
)
def test_card_says_whether_its_task_separates_strategies(
    folder: Path, changes: dict[str, Any], said: str, separates: bool | None
) -> None:
    task = carded(folder, **changes)
    assert (describe_card(task), separates_strategies(task), task.is_card_current) == (said, separates, True)
    assert task.seed_sd == (None if "baseline" in changes else pytest.approx(0.0183, abs=1e-4))


def test_card_that_is_missing_tells_no_noise(folder: Path) -> None:
    (folder / "card.json").unlink()
    assert Task.load(folder).seed_sd is None and describe_card(Task.load(folder)) == "not measured"

"""The card of a task from real runs."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from programs.errors import TaskError, UsageError
from tests.inner_loop.play import BLOBS
from trainer import variants
from trainer.cards.card import RESOLVED, write
from trainer.cards.measure import declared_edits, measure, measure_looks
from trainer.data import DataStore
from trainer.laws.planted import COST, SOFT
from trainer.sandbox.local import LocalLauncher
from trainer.task import Task


def test_declared_edits_leave_out_what_the_baseline_has(task: Task) -> None:
    labels = [edit.label() for edit, _ in declared_edits(task)]
    assert "lr=1" in labels and "+relu" in labels
    assert "lr=0.03" not in labels
    assert sum(label.startswith("lr=") for label in labels) == 4
    assert [edit.label() for edit, _ in declared_edits(task, per_knob=2)][:2] == ["lr=0.01", "lr=1"]


def test_card(task: Task, data: DataStore, launcher: LocalLauncher, tmp_path: Path) -> None:
    seen: list[str] = []
    card = measure(
        task, data=data, launcher=launcher, seeds=3, repeats=1, per_knob=1, progress=seen.append, looks=False
    )
    assert card.baseline.n == 3 and card.baseline.sd > 0
    assert len(card.effects) == len(declared_edits(task, per_knob=1))
    assert len(seen) == card.experiments >= 3 + len(card.effects)
    assert all(e.resolved == (abs(e.gain_sd) >= RESOLVED) for e in card.effects if e.gain_sd is not None)
    assert card.headroom is not None
    assert card.floor is None
    assert card.lines()[0].startswith("spiral: nll")
    folder = variants.init(tmp_path / "spiral")
    card.write(folder)
    loaded = Task.load(folder)
    assert loaded.card and loaded.card["baseline"]["sd"] == card.baseline.sd
    assert loaded.task_id == task.task_id


def test_looks_are_added_to_a_card_that_is_up_to_date(tmp_path: Path) -> None:
    folder = variants.init_simulated(tmp_path / "planted", 1)
    with closing(LocalLauncher(torch=Task.load(folder).torch)) as launcher:
        with pytest.raises(UsageError, match="has no up-to-date card"):
            measure_looks(Task.load(folder), launcher)
        card = measure(Task.load(folder), launcher=launcher, stack=False)
        assert card.screening and [look.fraction for look in card.screening.looks] == [0.25, 0.5]
        assert card.screening.fixed_share == pytest.approx(1 - SOFT / COST, abs=0.01)
        assert all(0.3 < look.agreement <= 1 and look.edits > 20 for look in card.screening.looks)
        card.write(folder)
        plain = {**card.to_json(), "screening": None}
        write(folder, plain)
        again = measure_looks(Task.load(folder), launcher)
        assert again["screening"]["looks"]
        assert again == json.loads((folder / "card.json").read_text()) | {"screening": again["screening"]}
        plain["baseline"]["mean"] += 3 * card.baseline.sd
        write(folder, plain)
        with pytest.raises(TaskError, match=r"the baseline reaches .* now, and .* in the card"):
            measure_looks(Task.load(folder), launcher)


def test_a_baseline_that_fails_is_told(session_cache: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(BLOBS, tmp_path / "broken", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "train.py").write_text((folder / "train.py").read_text().replace("prepare.save", "prepare.store"))
    task = Task.load(folder)
    with (
        closing(LocalLauncher(torch=task.torch)) as launcher,
        pytest.raises(TaskError, match=r"train\.py: the baseline fails: AttributeError"),
    ):
        measure(task, launcher=launcher, seeds=2)

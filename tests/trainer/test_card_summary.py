"""What `task show` says of a card: measured, stale or not, and whether the task separates strategies."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from trainer.cards.card import describe_card, separates_strategies
from trainer.task import TASKS, Task


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TASKS / "strokes", tmp_path / "strokes"))


def carded(folder: Path, **changes: Any) -> Task:
    card = json.loads((folder / "card.json").read_text()) | changes
    (folder / "card.json").write_text(json.dumps(card))
    return Task.load(folder)


def test_card_with_headroom_and_resolution_separates(folder: Path) -> None:
    task = Task.load(folder)
    assert (task.is_card_current, separates_strategies(task)) == (True, True)
    assert describe_card(task) == "separates strategies"
    assert task.seed_sd == pytest.approx(0.0183, abs=1e-4)


def test_card_below_a_limit_names_it(folder: Path) -> None:
    assert describe_card(carded(folder, headroom={"gain_sd": 14.9})) == "too little headroom"
    assert describe_card(carded(folder, headroom={"gain_sd": 15}, resolved_share=0.3)) == "too few detectable edits"
    assert describe_card(carded(folder, headroom=None)) == "no headroom measured"


def test_card_without_figures_is_not_measured(folder: Path) -> None:
    assert describe_card(carded(folder, measured=False)) == "not measured"
    (folder / "card.json").unlink()
    assert describe_card(Task.load(folder)) == "not measured"
    assert Task.load(folder).seed_sd is None


@pytest.mark.parametrize("value", ["12", True, None, [1]])
def test_card_value_that_is_no_number_is_not_measured(folder: Path, value: Any) -> None:
    task = carded(folder, headroom={"gain_sd": value}, resolved_share=value, baseline={"sd": value})
    assert (describe_card(task), separates_strategies(task), task.seed_sd) == ("not measured", None, None)


def test_card_of_other_files_is_stale(folder: Path) -> None:
    source = folder / "train.py"
    source.write_text(source.read_text() + "# another\n")
    task = Task.load(folder)
    assert task.seed_sd is None and describe_card(task).endswith("measure again")

"""What `task show` says of a card: measured, stale or not, and whether the task separates strategies."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from trainer.cards.card_summary import summary
from trainer.task import TASKS, Task


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TASKS / "strokes", tmp_path / "strokes"))


def carded(folder: Path, **changes: Any) -> Task:
    card = json.loads((folder / "card.json").read_text()) | changes
    (folder / "card.json").write_text(json.dumps(card))
    return Task.load(folder)


def test_a_good_card_is_told(folder: Path) -> None:
    told = summary(Task.load(folder))
    assert (told.state, told.separates, told.sentence) == ("measured", True, "separates strategies")
    assert told.headroom_sd is not None and told.headroom_sd > 15


def test_what_is_missing_is_named(folder: Path) -> None:
    assert summary(carded(folder, headroom={"gain_sd": 14.9})).sentence == "too little headroom"
    assert summary(carded(folder, headroom={"gain_sd": 15}, resolved_share=0.3)).sentence == "too few detectable edits"
    assert summary(carded(folder, headroom=None)).sentence == "no headroom measured"


def test_without_figures_nothing_is_claimed(folder: Path) -> None:
    assert summary(carded(folder, measured=False)).sentence == "not measured"
    (folder / "card.json").unlink()
    assert summary(Task.load(folder)).state == "not measured"


@pytest.mark.parametrize("value", ["12", True, None, [1]])
def test_what_is_no_number_is_not_measured(folder: Path, value: Any) -> None:
    told = summary(carded(folder, headroom={"gain_sd": value}, resolved_share=value, baseline={"sd": value}))
    assert (told.state, told.separates) == ("not measured", None)


def test_a_card_of_other_files_is_stale(folder: Path) -> None:
    source = folder / "train.py"
    source.write_text(source.read_text() + "# another\n")
    told = summary(Task.load(folder))
    assert told.state == "stale" and told.sentence.endswith("measure again")

"""No two sentences about a verdict contradict each other, and those that do are noticed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.study import open_study
from analysis.verdict.verdict import VIEWS, verdict_of
from bench.contradiction import plants, rules
from bench.contradiction.laws import PLANTS
from bench.contradiction.screens import screens
from bench.contradictions import bases, judged


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    return bases(tmp_path_factory.mktemp("bases"))


@pytest.mark.parametrize(
    "name",
    [
        "stock's arms differ, champion leads",
        "A/A has no interval",
        "p just below the level",
        "better without its ideas, stock near 0",
        "stopped before the confirmation, stock's arms differ",
    ],
)
def test_no_sentences_contradict_each_other(name: str, made: Callable[[str], Path], tmp_path: Path) -> None:
    screens, clashes = judged(name, tmp_path / "study", made)
    assert screens > 3 and not clashes


def test_a_broken_sentence_is_reported(made: Callable[[str], Path], tmp_path: Path) -> None:
    study = plants.planted(PLANTS["stock loses"], made, tmp_path / "study")
    shown = screens(study)
    with open_study(study, views=VIEWS) as con:
        found = verdict_of(con)
    assert rules.of_study(shown, found) == [] and found.decision is not None
    for screen, old, new in (
        ("card", "beats stock by", "is not shown to beat stock by"),
        ("evidence", "planned test, p", "planned test, q"),
        ("end", "\n", "\nStock is better than it all the same.\n"),
    ):
        assert old in shown[screen]
        assert rules.of_study({**shown, screen: shown[screen].replace(old, new, 1)}, found), screen
    for wrong in (replace(found.decision, p=0.2), replace(found.decision, state="open")):
        assert list(rules.of_decision(wrong))

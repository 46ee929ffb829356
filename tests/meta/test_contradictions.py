"""No two sentences about a verdict contradict each other, and those that do are noticed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from analysis import decision_text
from analysis.decision import OPEN, Decision
from analysis.report.rows import HeldOutResult
from analysis.report.verdict import on_reserved
from bench.contradiction import plants, rules
from bench.contradiction.laws import PLANTS
from bench.contradiction.screens import screens
from bench.contradiction.statements import statements
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
    _, read, clashes, unread = judged(name, tmp_path / "study", made)
    assert read > 10 and not clashes and not unread


def test_a_broken_sentence_is_reported(made: Callable[[str], Path], tmp_path: Path) -> None:
    shown = screens(plants.planted(PLANTS["stock loses"], made, tmp_path / "study"))

    def found(screen: str, old: str, new: str) -> tuple[list[str], list[str]]:
        assert old in shown[screen]
        broken = {**shown, screen: shown[screen].replace(old, new, 1)}
        return rules.of_study({name: statements(name, text) for name, text in broken.items()})

    assert found("card", "beats stock", "beats stock") == ([], [])
    assert found("card", "beats stock", "is not shown to beat stock")[0]
    assert found("evidence", "6 runs against 10", "5 runs against 10")[0]
    assert found("report", "● significant", "◐ not significant")[0]
    assert found("end", "\nGain", "\nStock is better than it all the same.\nGain")[1]
    seen = "one with stock (a plain keep-if-better program). This task has no hidden split"
    assert found("report", "one with stock (a plain keep-if-better program)", seen)[0]  # and it claims unseen data
    assert found("list", "one-sided p", "so p")[1]  # a figure that is no longer found


def test_a_verdict_that_does_not_hold_is_not_listed_as_a_ratio(
    made: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def always_a_ratio(d: Decision) -> str:
        return f"{d.tested.ratio.ratio or 0:.2f} times {d.tested.name}"

    folder = plants.planted(PLANTS["a significant loss"], made, tmp_path / "study")
    assert "not shown to beat stock" in screens(folder)["list"]
    monkeypatch.setattr(decision_text, "shown", always_a_ratio)
    read = {name: statements(name, text) for name, text in screens(folder).items()}
    assert rules.of_study(read)[0] == [f"list: {OPEN}, listed as a ratio to the reference's gain"]


def test_a_ratio_on_a_held_out_task_names_the_program_that_it_is_to() -> None:
    mean = {"mean": 1.0, "se": 0.1, "n": 4, "low": 0.8, "high": 1.2}
    there = {"champion": {**mean, "mean": 2.0}, "stock": mean, "own": mean, "difference": 1.0, "low": 0.7, "high": 1.3,
             "ratio": {"ratio": 2.0, "lower": 1.5}}  # fmt: skip
    on: HeldOutResult = {"task": "far", "unit": "nats", "claim": there, "p_adjusted": 0.001, "holds": False}  # type: ignore[typeddict-item]
    text = on_reserved(on)
    assert "times your program's gain" in text and "stock" not in text
    assert "because a test on a held-out task counts only if the verdict holds" in text

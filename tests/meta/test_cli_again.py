"""The command that makes such a study again is the one that made it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from pydantic import JsonValue

from analysis.ledger import Ledger
from analysis.report.page import Page
from analysis.report.source import ReportSource
from analysis.study import open_study
from analysis.verdict.verdict import verdict_of
from arena.settings import StudyConfig
from tests.meta.cli_study import metaloop
from tests.studies import drawn_law


def repeated(folder: Path) -> str:
    with open_study(folder) as con:
        return Page(ReportSource(con, "x"), verdict_of(con)).typed


def test_the_stored_line_makes_the_same_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METALOOP_FIXED_STEPS", "1")
    drawn_law(tmp_path / "a law", 3)
    line = ["match", "local", "-t", "a law", "-n", "2", "--no-controls", "--seed", "5", "-b", "0.01m", "-j", "1"]
    metaloop(*line, "-s", "one", "-y")
    words = shlex.split(repeated(tmp_path / "one"))
    monkeypatch.delenv("METALOOP_FIXED_STEPS")
    expected = (
        "local --task 'a law' --seeds 2 --no-controls --run-budget 0.6 --seed 5 --workers 1 --set fixed_steps=true"
    )
    assert words[:2] == ["metaloop", "match"] and {*words[2:]} == {*shlex.split(expected)}
    metaloop(*words[1:], "-s", "two")
    one, two = (StudyConfig.read(tmp_path / name / "study.toml") for name in ("one", "two"))
    assert one.study_id == two.study_id and one.plan == two.plan and one.typed == two.typed
    metaloop(*line, "-s", "one", "-y", "--set", "fixed_steps=true")
    for other in (["-b", "7s"], ["-j", "2"], ["--controls"], ["-m", "x"], ["--set", "context_tokens=9000"]):
        assert "is resumed with its own settings" in metaloop("match", "--resume", "one", *other, code=2).stderr
    assert "; stock would change nothing" in metaloop("match", "stock", "--resume", "one", code=2).stderr
    metaloop("match", "--resume", "one", "-n", "3")  # more runs are no other study


@pytest.mark.parametrize("typed", [None, 3, "x", {"": 3}, {"--task": ["x"]}, {"": ["match", "a\nb"]}])
def test_a_config_that_says_nothing_is_no_error(tmp_path: Path, typed: JsonValue) -> None:
    with Ledger(tmp_path / "ledger", "main") as ledger:
        config: JsonValue = {"command": "match", "typed": typed}
        ledger.append({"kind": "study", "study_id": "y1", "config": config, "version": "0"})
    assert repeated(tmp_path) in ("", "metaloop match 'a\nb'")

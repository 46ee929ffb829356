"""The command that makes such a study again is the one that made it."""

from __future__ import annotations

import html
import shlex
from pathlib import Path

import pytest

from analysis.study import query
from arena.study.settings import StudyConfig
from tests.meta.cli_study import ALONE, metaloop
from tests.studies import drawn_law


def test_the_report_shows_the_line_that_makes_the_same_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    drawn_law(tmp_path / "a law", 3)
    line = ["match", "local", "-t", "a law", *ALONE, "--seed", "5", "-b", "0.01m", "-j", "1", "-y"]
    metaloop(*line, "-s", "one")
    stored = StudyConfig.read(tmp_path / "one" / "study.toml")
    assert stored.line == shlex.join(["metaloop", *line, "-s", "one"])
    metaloop("report", "one")
    assert stored.line in html.unescape((tmp_path / "one" / "report.html").read_text())
    metaloop(*shlex.split(stored.line)[1:-1], "two")
    again = StudyConfig.read(tmp_path / "two" / "study.toml")
    assert (again.study_id, again.plan, again.programs) == (stored.study_id, stored.plan, stored.programs)
    gains = "SELECT run_id, name, verified_gain FROM runs ORDER BY 1"
    assert query(tmp_path / "one", gains) == query(tmp_path / "two", gains)

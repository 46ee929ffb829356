"""``metaloop report``: where the page goes, and the command that makes such a study again."""

from __future__ import annotations

import html
import shlex
from pathlib import Path

import pytest

from analysis.study import query
from arena.study.settings import StudyConfig
from tests.meta.cli_study import ALONE, cli, metaloop, write_study
from tests.studies import drawn_law


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return write_study(tmp_path / "study")


def test_report_is_written_beside_the_study_or_into_a_file(study: Path) -> None:
    target = study.parent / "pages" / "one.html"
    told = metaloop("report", study, "-o", target, "--json").json
    assert told["report"] == str(target) and told["bytes"] == target.stat().st_size and told["card"] is None
    assert not (study / "report.html").exists() and [*target.parent.iterdir()] == [target]
    done = cli("report", study)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == str(study / "report.html")
    page = (study / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and "How to reproduce" in page


def test_report_of_a_ledger_alone_is_written(study: Path) -> None:
    (study / "study.toml").unlink()
    metaloop("report", study, "-o", study.parent / "page.html")
    assert (study.parent / "page.html").is_file()


def test_report_shows_the_line_that_makes_the_same_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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

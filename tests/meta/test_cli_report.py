"""``metaloop report``: where the page goes, what is told, what is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.meta.cli_study import cli, metaloop, write_study


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return write_study(tmp_path / "study")


def test_the_page_is_written_beside_the_study_or_into_a_file_and_its_path_told(study: Path) -> None:
    target = study.parent / "pages" / "one.html"
    told = metaloop("report", study, "-o", target, "--json").json
    assert told["report"] == str(target) and told["bytes"] == target.stat().st_size and told["card"] is None
    assert not (study / "report.html").exists() and [*target.parent.iterdir()] == [target]
    done = cli("report", study)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == str(study / "report.html")
    html = (study / "report.html").read_text(encoding="utf-8")
    assert html.startswith("<!doctype html>") and "How to reproduce" in html


def test_a_folder_with_nothing_but_a_ledger_will_do(study: Path) -> None:
    (study / "study.toml").unlink()
    metaloop("report", study, "-o", study.parent / "page.html")
    assert (study.parent / "page.html").is_file()

"""``task init --from`` and ``export --prose`` as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meta.cli.main import run
from tests.trainer import foreign_repos


def test_init_from_a_repository(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = foreign_repos.original(tmp_path / "theirs")
    assert run(["task", "init", "--from", str(place), "--into", str(tmp_path / "task"), "--json"]) == 0
    said = capsys.readouterr()
    assert '"program.md:10"' in said.out and "nothing was run" in said.err and (tmp_path / "task/task.toml").is_file()
    assert run(["task", "show", str(tmp_path / "task"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["scoring"] == "printed"


def test_what_is_missing_is_named_with_its_flag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("nothing\n")
    assert run(["task", "init", "--from", str(tmp_path)]) == 2
    assert "not found: command" in (said := capsys.readouterr().err) and "--editable" in said
    assert run(["task", "init", "new", "--metric", "x"]) == 2 and "--from" in capsys.readouterr().err


def test_export_prose_of_a_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "program.md"
    path.write_text("---\nmetaloop:\n  wave: 6\n---\n# Research\n")
    assert run(["export", str(path), "--prose", "-o", str(tmp_path / "out.md")]) == 0
    assert "Make 6 candidates" in (tmp_path / "out.md").read_text()
    assert run(["export", str(path), "--prose"]) == 0 and "Make 6 candidates" in capsys.readouterr().out

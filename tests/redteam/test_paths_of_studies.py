"""Folders whose names are patterns, options or addresses to a library: each study shows its own rows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from analysis.knowledge.store import query, read, write
from tests.analysis.test_knowledge import effect
from tests.arena.contest.hosting import founded
from tests.meta.cli_study import metaloop, write_study

NAMES = ["s[12]", "s*", "s?", "[!s]1", "task=evil", "json=1", "family=x", "a'b", "q?x=1#y%41"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Studies s1 and s2, with the events of one run more each, beside which a study with another name is put."""
    monkeypatch.chdir(tmp_path)
    for name in ("s1", "s2"):
        write_study(tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("is_large", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_study_with_pattern_in_its_path_shows_its_own_rows(
    name: str, is_large: bool, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also through the copies of a large ledger, below a cache folder with the same name."""
    shutil.copytree(place / "s1", place / name)
    if is_large:
        monkeypatch.setattr("analysis.ledger.compact.LARGE", 1)
        monkeypatch.setenv("METALOOP_CACHE", str(place / "cache" / name))
    sql = "SELECT count(*) AS n, min(task) AS task FROM experiments"
    told = [json.loads(metaloop("sql", place / study, sql, "--json").stdout) for study in ("s1", name)]
    assert told[0] == told[1] and told[0][0]["task"] == "strokes"


@pytest.mark.parametrize("name", NAMES)
def test_contest_with_pattern_in_its_path_keeps_database_there(name: str, tmp_path: Path) -> None:
    contest = founded(tmp_path / name).contest
    assert contest.database.path.is_file() and [path.name for path in tmp_path.iterdir()] == [name]
    contest.database.close()


@pytest.mark.parametrize("name", NAMES)
def test_knowledge_with_pattern_in_its_path_has_its_own_effects(name: str, tmp_path: Path) -> None:
    write(tmp_path / "s1", [effect("other", "of s1")])
    write(tmp_path / name, [effect("own", "own")])
    assert [each.family for each in read([tmp_path / name])] == ["own"]
    assert query([tmp_path / name], "SELECT family FROM effects") == [{"family": "own"}]

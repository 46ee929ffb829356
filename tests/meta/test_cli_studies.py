"""`metaloop ls`, `standings` of several studies, `report`, and a study that gets small."""

from __future__ import annotations

import html
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from analysis.study import query as ask
from arena.audit.verify_study import final_source
from arena.study.run_archive import compact, unpacked
from arena.study.settings import StudyConfig
from arena.study.study import Study
from meta.cli.output import ESCAPES
from meta.ui.studies import Studies
from programs.common.errors import Corrupt, OtherVersion
from tests.meta.cli_study import ALONE, metaloop, on_terminal, write_study
from tests.studies import drawn_law


def test_studies_are_listed_and_compared_at_the_terminal(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    assert "metaloop ls lists studies of this folder" in metaloop("status", code=2).stderr
    there = {item["study"] for item in metaloop("ls", "--json").json["items"]}
    assert there >= {"one", "deep/er/two"}
    assert "no study under" in metaloop("ls", tmp_path).stderr
    items = {item["study"]: item for item in metaloop("ls", root, "--json").json["items"]}
    item = items[str(root / "one")]
    assert item["state"] == "finished"
    (named,) = ask(root / "one", "SELECT p.name FROM champions JOIN programs AS p USING (program_id)")
    assert item["champion"] == named["name"] and item["verdict"] and item["mb"] > 0
    both = metaloop("standings", root / "one", root / "deep/er/two", "--json").json["items"]
    rows = {row["program"]: row for row in both}
    assert any(name.startswith("champions: ") for name in rows) and "stock" in rows
    stock = "purpose = 'confirmation' AND name = 'stock' AND role <> 'a/a'"
    gains = f"SELECT avg(verified_gain) AS gain FROM runs WHERE {stock}"
    first, second = (ask(root / one, gains)[0]["gain"] for one in ("one", "deep/er/two"))
    assert rows["stock"]["difference"] == pytest.approx(second - first)


def test_study_of_another_version_is_listed_and_refused(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "studies" / "old"
    shutil.copytree(root / "one", folder)
    for path in (folder / "study.toml", *(folder / "ledger").glob("*.jsonl")):
        text = path.read_text("utf-8")
        path.write_text(re.sub(r'("schema":|^schema = )\d+', r"\g<1>1", text, flags=re.M), "utf-8")
    [item] = metaloop("ls", tmp_path, "--json").json["items"]
    assert (item["state"], item["lead"]) == ("other version", "-")
    for words in (["standings"], ["status"], ["resume"]):
        problem, hint = metaloop(*words, folder, code=1).stderr.strip().split("\n", 1)
        assert "another version of metaloop made this study" in problem and hint.startswith("hint: the study is older")
    window = Studies(tmp_path)
    window.close()
    [(name, followed)] = window.followed.items()
    followed.look()
    assert followed.state == "other version"
    with pytest.raises(OtherVersion):
        window.get(name)


def test_the_list_has_the_time_of_day_and_fits_80_columns(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "one", tmp_path / "strokes-2026-11-25-1")
    code, shown = on_terminal("ls", tmp_path, cwd=root)
    lines = ESCAPES.sub("", shown).strip().splitlines()
    assert code == 0 and re.search(r"\d\d-\d\d \d\d:\d\d", shown) and max(map(len, lines)) <= 80, shown
    assert lines[1].startswith("strokes-2026-11-25-1 ")


def test_standings_shows_the_match_that_decides_the_verdict(root: Path) -> None:
    """Although the match on the held-out task was played after it."""
    shown = metaloop("standings", root / "one", "--json")
    assert {row["stream"] for row in shown.json["items"]} == {"confirmation"}
    assert "--all shows all" in shown.stderr
    assert "reserve" in {row["stream"] for row in metaloop("standings", root / "one", "--all", "--json").json["items"]}


def test_a_finished_study_gets_small_and_works_as_before(root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(root / "one", copy)
    first_source = "(SELECT min(source_id) FROM experiments WHERE number = 0)"
    runs = ask(copy, f"SELECT run_id, final_source_id FROM runs ORDER BY final_source_id = {first_source}, run_id")
    sources = [final_source(Study.open(copy), row["run_id"], row["final_source_id"]) for row in runs]
    logs = {path.relative_to(copy / "runs"): path.read_bytes() for path in (copy / "runs").rglob("*.diff")}
    compact(copy)
    assert not any([*(copy / name).iterdir()] for name in ("runs", "cache", "data"))
    assert (copy / "runs.zip").stat().st_mode & 0o077 == 0 and sum(path.is_file() for path in copy.rglob("*")) < 100
    study = Study.open(copy)
    assert [final_source(study, row["run_id"], row["final_source_id"]) for row in runs] == sources
    with unpacked(copy, runs[0]["run_id"]) as folder:
        assert git_log(folder) and (folder / "results.tsv").is_file()
        here = {Path(folder.name) / path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.diff")}
    assert here and here.items() <= logs.items()
    packed = (copy / "runs.zip").read_bytes()
    compact(copy)
    assert (copy / "runs.zip").read_bytes() == packed
    metaloop("verify", runs[0]["run_id"], "-s", copy, "--seeds", "2", "-y")
    (copy / "runs.zip").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(Corrupt, match=r"runs\.zip: cannot be read"):
        final_source(study, runs[0]["run_id"], runs[0]["final_source_id"])


def git_log(folder: Path) -> str:
    return subprocess.run(["git", "log", "--oneline"], cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return write_study(tmp_path / "study")


def test_report_is_written_beside_the_study_or_into_a_file(study: Path) -> None:
    target = study.parent / "pages" / "one.html"
    told = metaloop("report", study, "-o", target, "--json").json
    assert told["report"] == str(target) and told["bytes"] == target.stat().st_size and told["card"] is None
    assert not (study / "report.html").exists() and [*target.parent.iterdir()] == [target]
    (study / "study.toml").unlink()  # a ledger is enough
    done = metaloop("report", study)
    assert (done.stderr, done.stdout.strip()) == ("", str(study / "report.html"))
    page = (study / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and "How to reproduce" in page


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

"""`metaloop ls`, `compare`, `rm` and `gc`."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from analysis.study import query as ask
from arena.audit.verify_study import final_source
from arena.study.run_archive import compact, unpacked
from arena.study.study import Study
from meta.cli.output import ESCAPES
from meta.ui.studies import Studies
from programs.common.errors import Corrupt, OtherVersion
from programs.shelf import starter
from tests.meta.cli_study import metaloop, on_terminal


def test_studies_are_listed_and_compared_at_the_terminal(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    assert "metaloop ls lists studies of this folder" in metaloop("status", code=2).stderr
    there = {item["study"] for item in metaloop("ls", "--json").json["items"]}
    window = Studies(root)  # `ui` and `ls` find the same
    window.close()
    assert there == window.followed.keys() >= {"one", "deep/er/two"}
    assert "no study under" in metaloop("ls", tmp_path).stderr
    items = {item["study"]: item for item in metaloop("ls", root, "--json").json["items"]}
    item = items[str(root / "one")]
    assert item["state"] == "finished"
    (named,) = ask(root / "one", "SELECT p.name FROM champions JOIN programs AS p USING (program_id)")
    assert item["champion"] == named["name"] and item["lead"] not in ("-", named["name"])
    assert item["verdict"] and item["mb"] > 0
    rows = {
        row["program"]: row for row in metaloop("standings", root / "one", root / "deep/er/two", "--json").json["items"]
    }
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
    assert " lead " in lines[0] and "champion" not in lines[0]
    assert lines[1].startswith("strokes-2026-11-25-1 ") and "[0." in shown


def test_show_breaks_lines_of_a_text_at_words_and_no_heading(root: Path) -> None:
    code, shown = on_terminal("show", "stock", "-s", "one", cwd=root)
    lines = ESCAPES.sub("", shown).splitlines()
    assert code == 0 and max(map(len, lines)) <= 80 and "verified gain" in shown and "claimed gain" in shown
    text = " ".join(" ".join(lines).split())
    assert " ".join(starter("stock").text.split()) in text


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
    metaloop("resume", copy)
    metaloop("report", copy)
    (copy / "runs.zip").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(Corrupt, match=r"runs\.zip: cannot be read"):
        final_source(study, runs[0]["run_id"], runs[0]["final_source_id"])


def git_log(folder: Path) -> str:
    return subprocess.run(["git", "log", "--oneline"], cwd=folder, capture_output=True, text=True, check=True).stdout

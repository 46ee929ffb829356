"""`metaloop ls`, `compare`, `rm` and `gc`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analysis.found_scripts import FoundScript
from analysis.statistics import Mean, interval, welch_difference
from analysis.study import query as ask
from analysis.wording import short
from arena.run_archive import compact, unpacked
from arena.study import Study
from arena.verify_study import final_source
from meta.cli.board import StudyView, load_board
from meta.cli.compared_settings import settings
from meta.cli.comparison import OF_SEARCH, ComparedChampions, champions, other_names, shown_matches
from meta.cli.gain_difference import ComparedStudy, GainDifference
from meta.cli.main import run
from meta.cli.output import ESCAPES
from meta.cli.programs_in_both import better_script
from meta.cli.studies import distinct, megabytes
from meta.window.studies import Studies
from programs.errors import Corrupt, OtherVersion
from programs.program import Program
from programs.shelf import starter
from tests.meta import cli_study
from tests.meta.cli_study import on_terminal


def told(capsys: pytest.CaptureFixture[str]) -> str:
    return "".join(capsys.readouterr())


def test_studies_of_one_name_are_listed_by_their_paths_and_small_ones_take_some_room() -> None:
    assert distinct(["studies/sp", "un/sp", "studies/b"]) == {
        "studies/sp": "studies/sp",
        "un/sp": "un/sp",
        "studies/b": "b",
    }
    assert [megabytes(size) for size in (0.01, 0.17, 12.3)] == ["<1", "<1", "12"]


def test_studies_are_listed_and_compared_at_the_terminal(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    assert run(["status"]) == 2
    assert f"no study under {root}/studies/ (metaloop ls lists those of the current folder: one" in told(capsys)
    assert run(["ls", "--json"]) == 0
    there = {item["study"] for item in json.loads(capsys.readouterr().out)["items"]}
    window = Studies(root)  # `ui` and `ls` find the same
    window.close()
    assert there == window.followed.keys() >= {"one", "deep/er/two"}
    assert run(["ls", str(tmp_path)]) == 0 and f"no study under {tmp_path}/ (metaloop ls FOLDER" in told(capsys)
    assert run(["ls", str(root), "--json"]) == 0
    items = {item["study"]: item for item in json.loads(capsys.readouterr().out)["items"]}
    item = items[str(root / "one")]
    files = [path for path in (root / "one").rglob("*") if path.is_file()]
    assert (item["study"], item["state"], item["files"]) == (str(root / "one"), "finished", len(files))
    (named,) = ask(root / "one", "SELECT p.name FROM champions JOIN programs AS p USING (program_id)")
    assert item["champion"] == named["name"] and item["lead"] not in ("-", named["name"])
    assert item["against"] == "stock" and item["verdict"] and item["mb"] > 0
    assert run(["compare", str(root / "one"), str(root / "deep/er/two"), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert all(row["first"] != row["second"] for row in answer["settings"]) and len(answer["studies"]) == 2


def test_a_study_of_another_version_is_listed_as_such_and_refused_in_one_sentence(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "studies" / "old"
    shutil.copytree(root / "one", folder)
    for path in (folder / "study.toml", *(folder / "ledger").glob("*.jsonl")):
        text = path.read_text("utf-8")
        path.write_text(re.sub(r'("schema":|^schema = )\d+', r"\g<1>1", text, flags=re.M), "utf-8")
    assert run(["ls", str(tmp_path), "--json"]) == 0
    [item] = json.loads(capsys.readouterr().out)["items"]
    assert (item["state"], item["lead"]) == ("other version", "-")
    for words in (
        ["standings", str(folder)],
        ["status", str(folder)],
        ["evolve", "--resume", str(folder), "--dry-run"],
    ):
        assert run(words) == 1
        problem, hint = capsys.readouterr().err.strip().split("\n", 1)
        assert "another version of metaloop made this study" in problem and hint.startswith("hint: the study is older")
    window = Studies(tmp_path)
    window.close()
    [(name, followed)] = window.followed.items()
    followed.look()
    assert followed.item()["state"] == "other version"
    with pytest.raises(OtherVersion):
        window.get(name)


def test_a_record_is_found_in_another_study_and_a_name_with_two_texts_is_noted(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = tmp_path / "studies" / "older", tmp_path / "studies" / "newer"
    shutil.copytree(root / "one", one)
    two.symlink_to(root / "deep/er/two")
    os.utime(one / "study.toml", (0, 0))
    monkeypatch.chdir(tmp_path)
    (of_older,) = ask(one, "SELECT max(run_id) AS id FROM runs")
    assert run(["show", of_older["id"], "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["run_id"] == of_older["id"] and "shown from studies/older" in shown.err
    assert run(["show", "rzzz"]) == 2 and "in this study or in 1 other study starts" in capsys.readouterr().err
    known = cli_study.programs()
    for name, text, noted in (
        ("third", known["child"].text, ""),
        ("fourth", "# A\n\n- Other.\n", "another text in third"),
    ):
        own = known | {"child": Program.parse(text, "child")}
        monkeypatch.setattr(cli_study, "programs", lambda own=own: own)
        cli_study.write_study(tmp_path / "studies" / name)
        assert run(["show", "child", "--json"]) == 0
        shown = capsys.readouterr()
        assert json.loads(shown.out)["program_id"] == own["child"].program_id
        assert noted in shown.err and ("another text" in shown.err) == bool(noted)


def test_the_list_has_the_time_of_day_and_fits_80_columns(root: Path) -> None:
    shutil.copytree(root / "one", root.parent / "list" / "strokes-2026-11-25-1")
    code, shown = on_terminal("ls", str(root.parent / "list"), cwd=root)
    lines = ESCAPES.sub("", shown).strip().splitlines()
    assert code == 0 and re.search(r"\d\d-\d\d \d\d:\d\d", shown) and max(map(len, lines)) <= 80, shown
    assert " lead " in lines[0] and "champion" not in lines[0]
    assert len(lines) == 4 and re.search(r"\[0\.\d+ to 0\.\d+\]", lines[2]), shown  # the difference's interval below it


def test_a_row_of_the_piped_list_has_one_short_field_on_the_verdict(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["ls", str(root)]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    at = rows[0].index("verdict")
    assert all(row[at] == row[rows[0].index("lead")] for row in rows[1:])
    assert any("stock" in row[at] for row in rows) and all(len(field) < 80 for row in rows for field in row[at:]), rows


def test_show_breaks_lines_of_a_text_at_words_and_no_heading(root: Path) -> None:
    code, shown = on_terminal("show", "stock", "-s", "one", cwd=root)
    lines = ESCAPES.sub("", shown).splitlines()
    assert code == 0 and max(map(len, lines)) <= 80 and "verified_gain" in shown and "claimed_gain" in shown
    text = " ".join(" ".join(lines).split())
    assert " ".join(starter("stock").text.split()) in text


def stock_of(row: dict[str, Any]) -> dict[str, Any]:
    """The fields of a difference in JSON."""
    known = {name: value for name, value in row.items() if name != "result"}
    return known | {"gains": tuple(Mean(**mean) for mean in row["gains"])}


def test_the_answer_of_a_comparison_comes_from_the_matches_that_decide(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = [str(root / "one"), str(root / "deep/er/two")]
    assert run(["compare", *pair, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    gains = [
        [
            row["verified_gain"]
            for row in ask(Path(one), "FROM runs WHERE purpose = 'confirmation' AND role = 'champion'")
        ]
        for one in pair
    ]
    expected = welch_difference(gains[1], gains[0])
    (told,) = answer["champions"]
    assert expected[0] is not None and told["difference"] == pytest.approx(expected[0])
    assert (told["low"], told["high"]) == pytest.approx(interval(expected[0], *expected[1:]))
    assert (told["result"] == "not distinguishable") == (told["low"] <= 0 <= told["high"])
    assert told["first"].endswith(" of " + pair[0]) and told["second"].endswith(" of " + pair[1])
    (lead,), (stock, held_out) = answer["leads"], answer["stock"]
    assert (stock["task"], held_out["task"], held_out["stream"]) == ("planted", "far", "reserve")
    assert stock in answer["same_programs"] and stock["gains"][0]["low"] <= stock["gains"][0]["mean"]
    for share in answer["shares"]:
        assert share["first"].startswith("evolution's own share in ") and share["low"] <= share["high"]
    same = replace(GainDifference(**stock_of(stock)), runs=(6, 10))
    assert same.row["runs"] == "6 / 10" and same.row["compared"] == "same program"  # first, second
    nothing = replace(same, difference=-1e-9, low=-0.1, high=0.1).row  # no minus before a displayed zero
    assert nothing["difference"].startswith("+0.000 ") and str(nothing["first"]).startswith("stock ")
    clear = replace(same, low=0.1, high=0.3, difference=0.2)
    [said] = ComparedChampions(differences=(clear,)).answer
    assert said.startswith(f"On {clear.task}, {clear.second} gained more: {clear.first} ")
    for low, high in ((0.0004, 0.4), (-0.4, -0.0004)):  # a limit of a significant difference is not displayed as 0
        assert re.search(r"[^.]0\.0004", replace(same, low=low, high=high, difference=(low + high) / 2).size)
    [said] = ComparedChampions(differences=(replace(same, low=None, high=None, runs=(1, 1)),)).answer
    assert ", it is open which champion gained more (too few runs for an interval): " in said
    assert lead["difference"] == pytest.approx(told["difference"] - stock["difference"])
    assert lead["high"] - lead["low"] > 2 * 1.96 * expected[1]  # the standard error without stock's
    assert (lead["result"] == "not distinguishable") == (lead["low"] <= 0 <= lead["high"])
    names = "SELECT DISTINCT p.name FROM runs JOIN programs AS p USING (program_id) WHERE verified_gain IS NOT NULL"
    ran = [{row["name"] for row in ask(Path(one), f"{names} AND runs.task = 'planted'")} for one in pair]
    compared = [*answer["same_programs"], *answer["champions"]]
    listed = [row for row in compared if row["program_id"] and row["task"] == "planted"]
    assert {row["first"].removesuffix(f" of {pair[0]}") for row in listed} == ran[0] & ran[1]  # the races', too
    raced = [row for row in listed if row["stream"] == "selection"]
    row = raced[0]
    assert {(one["result"], one["purpose"]) for one in raced} == {("no test", "search")}
    assert "[" not in GainDifference(**stock_of(row)).row["difference"]
    tested = [one for one in answer["same_programs"] if one not in raced]
    assert {one["together"] for one in tested} == {len(tested)}
    usual = interval(stock["difference"], stock["se"], stock["df"])
    assert len(tested) > 1 and stock["low"] < usual[0] and "Bonferroni" in " ".join(answer["limits"])
    query = "SELECT avg(verified_gain) AS gain, count(*) AS n FROM runs WHERE stream = 'selection' AND program_id = "
    [known] = ask(Path(pair[0]), f"{query}'{row['program_id']}'")
    assert (row["gains"][0]["mean"], row["runs"][0]) == (pytest.approx(known["gain"]), known["n"])
    for path, best in zip(pair, answer["best"], strict=True):
        assert (
            best["sentence"].startswith(f"Best in {path} on planted (average of all")
            and "of the search)" in best["sentence"]
        )
    for study in answer["studies"]:
        assert [match["decides"] for match in study["matches"]] == [True, False]
        assert [arm["program"] for arm in study["matches"][0]["arms"]][-1] == "stock, both arms"
        assert f"gain in {told['unit']}" in study["matches"][0]["title"]
    found = champions(*(ComparedStudy(one, load_board(Path(one))[0]) for one in pair))
    assert answer["answer"] == found.answer and "the champions' gains do not differ significantly: " in found.answer[0]
    [open_] = replace(found, differences=(replace(found.differences[0], high=0.1),), best=()).answer
    assert open_.startswith("On planted, the champions' gains do not differ significantly: ")
    assert answer["limits"] == found.limits and 1 < len(found.limits) <= 5
    [shown] = [row for row in found.rows if row["compared"] == "lead over stock"]
    assert shown["result"] == lead["result"] and "[" in shown["difference"]
    assert "best program of the search" in [row["compared"] for row in found.best_rows]
    for side, empty in (("first", "second"), ("second", "first")):  # a study without results has an empty column
        alone = replace(found, best=tuple(one for one in found.best if one.side == ("first", "second").index(side)))
        assert {(bool(row[side]), row[empty]) for row in alone.best_rows} == {(True, "")}
    low, high = ((0.76, 0.84, 0.92), (0.98, 1.01, 1.04))  # of two best scripts, which the answer compares, too
    script = FoundScript("planted", "nats", 1.0, 9, low[1], low[0], low[2], 8, "verified")
    better = replace(script, gain=high[1], low=high[0], high=high[2])
    ends = [replace(one, best_script=each, script="") for one, each in zip(found.best, (script, better), strict=True)]
    said = better_script(ends)
    assert (
        said.startswith(f"On planted, the best train.py is better in {pair[1]}: ") and "+0.170 nats [0.085 to" in said
    )
    assert better_script([replace(ends[0], conditions={**ends[1].conditions, "task_id": "t"}), ends[1]]) == ""
    assert "is not significantly different" in better_script([ends[0], replace(ends[1], best_script=script)])
    assert run(["compare", *pair]) == 0
    piped = capsys.readouterr().out
    rows = [line.split("\t") for line in piped.splitlines()]
    header = next(row for row in rows if row[0] == "match")
    assert header[-1] == "kept/tried"
    assert {row[1] for row in rows if row[0] == "confirmation on planted"} == {"true"}
    assert {row[1] for row in rows if row[0] == "reserve on far"} == {"false"}
    (command,) = [row[1] for row in rows if row[0] == "all changes"]
    assert run(command.split()[1:]) == 0 and capsys.readouterr().out
    edited = shutil.copytree(root / "one", tmp_path / "edited", symlinks=True)
    for path in (edited / "ledger").glob("*.jsonl"):
        path.write_text(re.sub(r'("run_budget": ?)[0-9.]+', r"\g<1>77.0", path.read_text()))
    assert run(["compare", pair[0], str(edited), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert not answer["champions"] and "the run budget differs" in answer["not_compared"][0]
    assert [best["conditions"]["run_budget"] == "77s" for best in answer["best"]] == [False, True]
    assert "77s" in answer["not_compared"][0]
    assert {"run_budget", "seed"} & {row["setting"] for row in answer["settings"]} == {"run_budget"}


def test_matches_count_by_their_purpose(root: Path) -> None:
    one, two = (ComparedStudy(at, load_board(root / at)[0]) for at in ("one", "deep/er/two"))
    for study in (one, two):  # whatever its stream
        (deciding,) = study.board.deciding
        deciding.event = {**deciding.event, "stream": "reserve"}
    found = champions(one, two)
    assert {row.purpose for row in found.differences} == {"confirmation"}
    assert [best.programs[-1].purpose for best in found.best] == ["confirmation"] * 2
    for match in one.board.matches.values():
        if match.event.get("stream") == "selection":
            match.event = {**match.event, "purpose": "ablation"}
    found = champions(one, two)
    assert not any(row.of_search for row in found.same) and "of the search" not in found.best[0].sentence
    two.board.champion = None  # as in the middle of its confirmation
    found = champions(one, two)
    assert found.not_compared == ("deep/er/two has no verdict, so the runs of its confirmation so far are left out",)
    assert found.all and all(row.purpose.split("/")[-1] != "confirmation" for row in found.all)
    assert [one.purpose for one in found.best[1].programs] == ["search"]
    (deciding,) = two.board.deciding
    deciding.state = "running"
    rows = [arm for match in shown_matches(two.board) for arm in match.arms]
    assert rows and {str(arm["match"]).partition(" (")[2] for arm in rows} == {"so far)"}


def test_two_texts_of_one_name_have_their_ids_and_one_text_of_two_names_is_noted(root: Path) -> None:
    one, two = (ComparedStudy(at, load_board(root / at)[0]) for at in ("one", "deep/er/two"))
    ids = [(study.board.champion or {})["program_id"] for study in (one, two)]
    for study, identity in zip((one, two), ids, strict=True):
        study.board.programs[identity] = {**study.board.programs[identity], "name": "same"}
    (told,) = champions(one, two).differences
    named = [f" ({short(identity)})" if ids[0] != ids[1] else "" for identity in ids]
    assert (told.first, told.second) == (f"same{named[0]} of one", f"same{named[1]} of deep/er/two")
    two.board.programs[ids[0]] = {**one.board.programs[ids[0]], "name": "other"}
    said = champions(one, two)
    assert said.names[-1] == "same, the champion of one, is the same program as other of deep/er/two."
    assert said.names[-1] in said.limits
    two.board.programs["p-else"] = {**one.board.programs[ids[0]], "name": "same"}
    alike, another = other_names(one, two)  # the worse mistake first: not all names may be shown
    assert alike.endswith("in spite of its name: same.") and another == said.names[-1]
    for study, steps in ((one, 90.0), (two, 41.0)):  # of 40 in as much time: other load in the first study only
        decided = {**study.board.champion["decision"], "pace": {"low": 40.0, "high": steps, "n": 20}}  # type: ignore[index]
        study.board.champion = {**(study.board.champion or {}), "decision": decided}
    loaded = champions(one, two)
    assert loaded.loaded == ("one",) and loaded.caveats[0].startswith("The machine had other load during one: ")
    assert loaded.caveats[0] in loaded.limits
    several = replace(loaded, leads=loaded.differences)  # names give way
    assert OF_SEARCH in several.limits and alike in several.limits and another not in several.limits


def test_standings_shows_the_match_that_decides_the_verdict(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Although the match on the held-out task was played after it."""
    assert run(["standings", str(root / "one"), "--json"]) == 0
    shown = capsys.readouterr()
    assert {row["stream"] for row in json.loads(shown.out)["items"]} == {"confirmation"}
    assert "the confirmation, which decides the verdict; --all shows all" in shown.err
    assert run(["standings", str(root / "one"), "--all", "--json"]) == 0
    assert "reserve" in {row["stream"] for row in json.loads(capsys.readouterr().out)["items"]}


def test_only_settings_that_can_change_a_result_are_compared() -> None:
    boards = []
    for own in (
        {"study_id": "y1", "created_at": "2026-01-01", "seed": None, "task": "/a/law", "researcher": "scripted"},
        {"study_id": "y2", "created_at": "2026-01-02", "seed": 7, "task": "/b/law", "researcher": "chat"},
    ):
        held = {"task": f"/x/law-{own['study_id']}", "task_id": "t", "variant": True}
        files = {"files": [f"effects-{n}" for n in range(50)] + [f"effects-of-{own['study_id']}"]}
        board = StudyView()
        board.take({"kind": "study", "config": {**own, "reserve": [held], "knowledge": files, "from_study": None}})
        boards.append(board)
    rows = {row.name: row for row in settings(boards)}
    assert [name for name, row in rows.items() if row.differs] == ["knowledge.files", "researcher", "seed"]
    assert rows["knowledge.files"].values == ("effects-of-y1", "effects-of-y2")
    assert rows["seed"].values == ("random, held-out task law-y1", "7, held-out task law-y2")
    assert (rows["task"].values, rows["from_study"].values) == (("law", "law"), ("–", "–"))


def test_a_finished_study_gets_small_and_works_as_before(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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
    assert run(["verify", runs[0]["run_id"], "-s", str(copy), "--seeds", "2", "-y", "-q"]) == 0
    assert run(["evolve", "--resume", str(copy), "-q"]) == 0 and run(["report", str(copy)]) == 0
    (copy / "runs.zip").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(Corrupt, match=r"runs\.zip: cannot be read"):
        final_source(study, runs[0]["run_id"], runs[0]["final_source_id"])


def git_log(folder: Path) -> str:
    return subprocess.run(["git", "log", "--oneline"], cwd=folder, capture_output=True, text=True, check=True).stdout

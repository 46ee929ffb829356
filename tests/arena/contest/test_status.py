"""What `contest status` and `contest init --dry-run` print at a terminal."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from analysis.wording import duration
from arena.contest.contest import Contest
from arena.contest.entering import acts
from arena.contest.entering.entries import change
from arena.contest.running.contest_queue import ContestQueue
from arena.contest.running.pace import WAS_VOID
from arena.contest.tables import ContestEntry
from arena.serving.clock import utc_now
from arena.study.study import Study
from meta.cli.contest_entrant import of_folder, show
from meta.cli.output import Output
from tests.arena.contest.hosting import Browser, decided, founded, numbered, served, winner
from tests.arena.contest.test_contest_queue import measured
from tests.arena.contest.test_run import entered, quiet
from tests.meta.cli_study import metaloop, write_study
from tests.studies import drawn_law


def test_after_the_decision_the_deciding_runs_are_shown(contest: Contest) -> None:
    command = ["contest", "status", str(contest.folder)]
    contest.database.set_fact("pulse", at="2026-01-01T00:00:00+00:00")
    before = metaloop(*command).stdout
    assert "queue\tnot running, last active" in before and "0.691" not in before
    contest.database.set_fact("announcement", **decided([winner(0.691)], secret=contest.study.secret))
    contest.state(decided="2026-01-01T00:00:00+00:00")
    after = metaloop(*command)
    assert f"fromhex('{contest.study.secret}')" in after.stderr and contest.config.secret_hash in after.stdout
    assert "decision\tAda 1 won" in after.stdout and "Ada 1\t0.691" in after.stdout
    assert not any(word in after.stdout for word in ("claimed", "device", "verified"))
    assert "no runs are left" in after.stdout and "not running" not in after.stdout


def test_entries_without_a_measured_run_are_listed_too(contest: Contest) -> None:
    entered(contest, "local", "one-line")
    change(contest, 4, state="failed", failure="no experiment succeeded")
    rows = metaloop("contest", "status", contest.folder).stdout.split("result\n")[1]
    assert re.match(r"\tP one-line 1: 1\t.*\tfailed\t.*\tno experiment succeeded\n\tP local 0: 1\t.*queued", rows)


def test_status_of_entries_outside_the_race_has_their_reasons(contest: Contest) -> None:
    entered(contest, "local", "one-line", "local", "one-line")  # numbers 3 to 6
    command = ["contest", "status", contest.folder]
    with Study.open(contest.folder) as study:
        queue = ContestQueue(contest, study, quiet)
        for number in (4, 5, 6):
            measured(queue, number)
        acts.void(contest, "6", "sent twice")
        queue.record_acts()
    printed = metaloop(*command).stdout
    assert "P one-line 3: 1 (void)" in metaloop("standings", contest.folder).stdout
    assert re.search(r"P one-line 3: 1\t.*void\t.*: sent twice\n", printed)
    reasons = {"3": "it has no measured gain", "5": "it behaves like entry 3", "6": "was void"}
    contest.database.set_fact("not_racing", **reasons)
    contest.database.set_fact("deciding", done=3, wanted=9, race=[{"number": 4, "said": "in the race"}])
    contest.state(deciding="2026-01-01T00:00:00+00:00")
    acts.unvoid(contest, "6", "a mistake")
    printed = metaloop(*command).stdout
    for entry, result in (
        ("P one-line 1: 1", "in the race"), ("P local 2: 1", "it behaves like entry 3"), ("P one-line 3: 1", WAS_VOID),
        ("P local 0: 1", "it has no measured gain"),
    ):  # fmt: skip
        assert re.search(rf"{entry}\t.*\t{result}\n", printed)


def test_status_before_a_made_decision_is_published_says_so(contest: Contest) -> None:
    row = {"entry_id": "e3", "number": 3, "entrant": "Ada", "name": "1", "said": "in the race; 7 of 7 runs"}
    contest.database.set_fact("deciding", done=21, wanted=28, looks=[], race=[row], next_look=7)
    contest.state(deciding="2026-01-01T00:00:00+00:00")
    published = "confirming runs are done; the decision is being published"
    with served(contest) as port:
        for is_made in (False, True):
            if is_made:
                contest.database.set_fact("announcement", **decided([winner(0.691)]))
            texts = [metaloop("contest", "status", contest.folder).stdout, Browser(port).fresh("/").text]
            assert [published in unescape(text).replace("\N{NO-BREAK SPACE}", " ") for text in texts] == [is_made] * 2
            assert ("in the race" in texts[1], "next look" in texts[0]) == (not is_made,) * 2


def test_the_reason_and_the_whole_interval_fit_into_80_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    contest = founded(tmp_path).contest
    rows = [winner(0.929), winner(0.740, number=4, entry_id="e4", entrant="Ben", name="2")]
    contest.database.set_fact("announcement", **decided(rows))
    contest.state(decided="2026-01-01T00:00:00+00:00")
    monkeypatch.setenv("COLUMNS", "80")
    show(Output(person=True), of_folder(contest), contest.folder)
    printed = capsys.readouterr().out
    text, reason = " ".join(printed.split()), "out after 28 runs: 0.189 below Ada 1"
    assert "0.909 to 0.949" in text and "0.720 to 0.760" in text and "…" not in text
    assert set(reason.split()) <= set(text.split()) and max(map(len, printed.splitlines())) <= 80


def test_the_host_is_told_to_close_once_no_run_is_left(tmp_path: Path) -> None:
    contest = founded(tmp_path, closes=utc_now() - timedelta(seconds=1)).contest
    command, page = ["contest", "status", str(contest.folder)], list[Any]()
    for state in ("queued", "verified"):
        for number in (1, 2):
            change(contest, number, state=state)
        page.append(metaloop(*command))
    assert "metaloop contest close" not in page[0].stderr and "waiting for" not in page[0].stdout
    assert f"next:\n  metaloop contest close {contest.folder}" in page[1].stderr
    assert "2 measured, stock's two arms" in page[1].stdout and "waiting for\tthe host to close" in page[1].stdout
    with served(contest) as port:
        assert "Waiting for the host to close the contest" in Browser(port).get("/").text
        change(contest, 1, state="running")
        assert "then the host closes the contest" in Browser(port).fresh("/").text
        contest.ask_close("")
        assert "finishing; then the leaders run again" in Browser(port).fresh("/").text
        entry = f"/entry/{numbered(contest, 1).entry_id}"
        text = Browser(port).get(entry).text
        assert "runs are under way" in text and "osition 1" not in text
        change(contest, 1, state="verified")
        contest.state(deciding="2026-01-01T00:00:00+00:00")
        contest.database.set_fact("deciding", done=3, wanted=9)
        text = Browser(port).fresh("/queue").text
        assert "under way, 3 of at most 9 done" in text and "0 entries" not in text and "is empty" not in text


def test_an_entrant_sees_whether_an_entry_is_still_in_the_race(contest: Contest) -> None:
    with served(contest) as port:
        ada = Browser(port)
        ada.form("/join", name="Ada")
        path = ada.form("/enter", text="# Mine\n").headers["location"]
        with contest.database.read() as connection:
            entry = connection.query(ContestEntry).where(ContestEntry.role == "program").one()
        named = {"number": entry.number, "entry_id": entry.entry_id, "entrant": "Ada", "name": "1"}
        said = "out after 7 runs: 0.29 below Ben 1"
        race = [{**named, "said": "in the race", "number": 99, "name": "x"}, {**named, "said": said}]
        contest.database.set_fact("deciding", done=3, wanted=9, looks=[], race=race, next_look=5)
        pages = ("/", "/me", path)
        for going_on in (False, True):
            if going_on:
                contest.state(deciding="2026-01-01T00:00:00+00:00")
            texts = [unescape(ada.get(page).text).replace("\\", "") for page in pages]
            assert [said[1:] in text for text in texts] == [going_on] * len(pages)
            printed = metaloop("contest", "status", contest.folder)
            serve = f"start it: metaloop contest serve {contest.folder}"
            assert serve in " ".join(printed.stderr.split()) and " left" not in printed.stdout  # the queue is stopped
            assert (texts[0].count("he next look is after 5 runs of each") == 1) == going_on  # not for every leader
            facts = ("race\t3 of at most 9 confirming runs", "next look\tafter 5 runs of each")
            assert [fact in printed.stdout for fact in facts] == [going_on] * 2


def test_an_entrant_sees_gain_and_rank_of_the_decision(contest: Contest) -> None:
    with served(contest) as port:
        ada = Browser(port)
        ada.form("/join", name="Ada")
        path = ada.form("/enter", text="---\nmetaloop:\n  name: mine\n---\n# Mine\n").headers["location"]
        row = winner(0.691, entry_id=path.removeprefix("/entry/"))
        contest.database.set_fact("announcement", **decided([row]))
        contest.state(decided="2026-01-01T00:00:00+00:00")
        page = ada.get("/me").text
    for cell in (">0.691</td>", ">0.671 to 0.711</td>", f">{row['n']} in the decision</td>", ">won</td>"):
        assert cell in page
    assert 'data-label="Rank"' not in page


def test_a_dry_run_prints_the_plan_and_writes_nothing(tmp_path: Path) -> None:
    law, folder = drawn_law(tmp_path / "law", 3), tmp_path / "c"
    command = ["contest", "init", str(folder), "-t", str(law), "--dry-run", "--set", "confirm_runs=9", "--json"]
    plan = metaloop(*command, "--expect-entries", "4").json
    assert (plan["runs"], plan["leaders"]) == (9, 4) and plan["run_seconds"] > 0 and not folder.exists()
    command = [*command[:-1], "--closes", "2031-02-03T04:05", "-n", "2", "--set", "entries_per_person=1"]
    said, most = metaloop(*command).stdout, duration(14 * 9 * plan["run_seconds"])
    assert "at most 1 entry per person\ncloses\t2031-02-03 04:05" in said and "device time of its 2 runs" in said
    assert "\nfresh runs\t9\tat most, of each of 12 leaders" in said and f"closes; at most {most}\n" in said
    strokes = ["contest", "init", str(tmp_path / "s"), "--dry-run", "--set", "confirm_runs=9"]
    said = " ".join(metaloop(*strokes).stderr.split())
    assert "9 runs of a leader, which are too few" in said and "leave confirm_runs out" in said
    assert "--learnt shipped` may win on this task" in said
    folder.mkdir()
    (folder / "mine").touch()
    assert "is not empty" in metaloop(*command, code=2).stderr


def test_the_close_can_be_planned_for_the_noise_of_a_study(tmp_path: Path) -> None:
    write_study(tmp_path / "s")
    plan = metaloop("contest", "init", "c", "--set", f"like={tmp_path}/s", "--dry-run", "--json").json
    assert plan["noise"] == pytest.approx(0.004785 / 0.0246, abs=1e-4)  # over stock's

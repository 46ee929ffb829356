"""What `contest status`, the host's page and API, and a dry run say; who may press what."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from analysis.wording import duration
from arena.contest.contest import Contest
from arena.contest.create import NewContest
from arena.contest.entering import acts
from arena.contest.entering.entries import change
from arena.contest.plan import measured_power
from arena.contest.running.contest_queue import ContestQueue
from arena.contest.running.pace import WAS_VOID
from arena.serving.clock import utc_now
from arena.study.study import Study
from meta.cli.contest_entrant import of_folder, show
from meta.cli.output import Output
from programs.shelf import starter
from tests.arena.contest.hosting import (
    Answer,
    Browser,
    decided,
    entered,
    founded,
    joined,
    numbered,
    quiet,
    served,
    winner,
)
from tests.arena.contest.test_board import filled
from tests.arena.contest.test_contest_queue import measured
from tests.arena.contest.test_fair_entries import taken
from tests.meta.cli_study import metaloop, write_study
from tests.studies import drawn_law


def test_after_the_decision_the_deciding_runs_are_shown(contest: Contest) -> None:
    command = ["contest", "status", str(contest.folder)]
    contest.database.set_fact("pulse", at="2026-01-01T00:00:00+00:00")
    assert "queue\tnot running, last active" in metaloop(*command).stdout
    contest.database.set_fact("announcement", **decided([winner(0.691)], secret=contest.study.secret))
    contest.state(decided="2026-01-01T00:00:00+00:00")
    after = metaloop(*command)
    assert f"fromhex('{contest.study.secret}')" in after.stderr and contest.config.secret_hash in after.stdout
    assert "decision\tAda 1 won" in after.stdout and "Ada 1\t0.691" in after.stdout
    assert "no runs are left" in after.stdout and "not running" not in after.stdout


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
    said = list[Any]()
    for state in ("queued", "verified"):
        for number in (1, 2):
            change(contest, number, state=state)
        said.append(metaloop("contest", "status", contest.folder))
    assert "metaloop contest close" not in said[0].stderr and "waiting for" not in said[0].stdout
    assert f"next:\n  metaloop contest close {contest.folder}" in said[1].stderr
    assert "2 measured, stock's two arms" in said[1].stdout and "waiting for\tthe host to close" in said[1].stdout
    with served(contest) as port:
        assert "Waiting for the host to close the contest" in Browser(port).get("/").text
        change(contest, 1, state="running")
        assert "then the host closes the contest" in Browser(port).fresh("/").text
        contest.ask_close("")
        assert "finishing; then the leaders run again" in Browser(port).fresh("/").text
        text = Browser(port).get(f"/entry/{numbered(contest, 1).entry_id}").text
        assert "runs are under way" in text and "osition 1" not in text


def test_an_entrant_sees_whether_an_entry_is_still_in_the_race(contest: Contest) -> None:
    with served(contest) as port:
        ada = Browser(port)
        ada.form("/join", name="Ada")
        path = ada.form("/enter", text="# Mine\n").headers["location"]
        named = {"number": 3, "entry_id": path.removeprefix("/entry/"), "entrant": "Ada", "name": "1"}
        said = "out after 7 runs: 0.29 below Ben 1"
        race = [{**named, "said": "in the race", "number": 99, "name": "x"}, {**named, "said": said}]
        contest.database.set_fact("deciding", done=3, wanted=9, looks=[], race=race, next_look=5)
        pages = ("/", "/me", path)
        for going_on in (False, True):
            if going_on:
                contest.state(deciding="2026-01-01T00:00:00+00:00")
            texts = [unescape(ada.get(page).text).replace("\\", "") for page in pages]
            assert [said[1:] in text for text in texts] == [going_on] * len(pages)
            assert (texts[0].count("he next look is after 5 runs of each") == 1) == going_on  # not for every leader
            printed = metaloop("contest", "status", contest.folder).stdout
            facts = ("race\t3 of at most 9 confirming runs", "next look\tafter 5 runs of each")
            assert [fact in printed for fact in facts] == [going_on] * 2


def test_an_entrant_sees_the_gain_of_the_decision(contest: Contest) -> None:
    with served(contest) as port:
        ada = Browser(port)
        ada.form("/join", name="Ada")
        path = ada.form("/enter", text="# Mine\n").headers["location"]
        row = winner(0.691, entry_id=path.removeprefix("/entry/"))
        contest.database.set_fact("announcement", **decided([row]))
        contest.state(decided="2026-01-01T00:00:00+00:00")
        page = ada.get("/me").text
    for cell in (">0.691</td>", ">0.671 to 0.711</td>", f">{row['n']} in the decision</td>", ">won</td>"):
        assert cell in page


def test_a_dry_run_prints_the_plan_and_writes_nothing(tmp_path: Path) -> None:
    law, folder = drawn_law(tmp_path / "law", 3), tmp_path / "c"
    command = ["contest", "init", str(folder), "-t", str(law), "--dry-run", "--set", "confirm_runs=9", "--json"]
    plan = metaloop(*command, "--expect-entries", "4").json
    assert (plan["runs"], plan["leaders"]) == (9, 4) and plan["run_seconds"] > 0 and not folder.exists()
    command = [*command[:-1], "--closes", "2031-02-03T04:05", "-n", "2", "--set", "entries_per_person=1"]
    said, most = metaloop(*command).stdout, duration(14 * 9 * plan["run_seconds"])
    assert "at most 1 entry per person\ncloses\t2031-02-03 04:05" in said and "device time of its 2 runs" in said
    assert "\nfresh runs\t9\tat most, of each of 12 leaders" in said and f"closes; at most {most}\n" in said
    folder.mkdir()
    (folder / "mine").touch()
    assert "is not empty" in metaloop(*command, code=2).stderr


def test_the_close_can_be_planned_for_the_noise_of_a_study(tmp_path: Path) -> None:
    write_study(tmp_path / "s")
    plan = metaloop("contest", "init", "c", "--set", f"like={tmp_path}/s", "--dry-run", "--json").json
    assert plan["noise"] == pytest.approx(0.004785 / 0.0246, abs=1e-4)  # over stock's


def test_board_says_of_an_entry_that_it_kept_no_edit(contest: Contest) -> None:
    number = taken(contest, "Ada", starter("local").raw)
    with Study.open(contest.folder) as study:
        queue = ContestQueue(contest, study, quiet)
        queue.arms_of(number)
        measured(queue, number)  # the untouched script is the best of each run
        queue.take_over()
    with served(contest) as port:
        board = unescape(Browser(port).get("/").text)
    (row,) = (row for row in board.split("<tr") if numbered(contest, number).entry_id in row)
    assert "measured" in row
    assert re.search(r"kept (none|no edit|0 edits)", row)


PROGRAM = b"# Mine\n\n## Ideas\n\n- Try one thing.\n"


def pressed(browser: Browser, path: str, **fields: str) -> Answer:
    return browser.form(path, sure="yes", **fields)


@pytest.fixture
def served_made(tmp_path: Path) -> Iterator[tuple[NewContest, int, Browser, Browser]]:
    """A contest that is served, its port, Ada who has joined, and its host who is logged in."""
    made = founded(tmp_path)
    with served(made.contest) as port:
        host = Browser(port)
        assert host.form("/login", token=made.admin_token).status == 303
        yield made, port, joined(port, "Ada"), host


Place = tuple[NewContest, int, Browser, Browser]


def test_host_voids_and_reinstates_on_the_page(served_made: Place) -> None:
    _, port, ada, host = served_made
    entry, stranger = ada.enter(PROGRAM).json["entry_id"], Browser(port)
    assert stranger.get("/host").headers["location"] == "/join#login"
    for who in (stranger, ada):
        assert pressed(who, "/host/void", entry=entry, because="I dislike it").status == 403
    assert stranger.form("/login", token="mla_wrong").status == 422 and stranger.get("/host").status == 303
    page = host.get("/host")
    assert "Declare void" in page.text and page.headers["cache-control"] == "no-store"
    assert "<td><details><summary>Declare void" in page.text  # cells keep their line breaks
    unsure = host.form("/host/void", entry=entry, because="<b>copied</b>")
    assert unsure.status == 422 and "tick" in unsure.text
    assert stranger.get(f"/api/v1/entries/{entry}").json["state"] == "queued"
    assert pressed(host, "/host/void", entry=entry, because="<b>copied</b>").status == 303
    seen = stranger.get(f"/entry/{entry}").text
    assert "declared this entry void: &lt;b&gt;copied" in seen and "<b>copied" not in seen and "Reason:" not in seen
    assert "copied" in stranger.get("/").text and stranger.get("/api/v1/acts").json["rows"][0]["what"] == "void"
    assert "Reinstate" in host.get("/host").text and ">Host</a>" not in seen
    assert pressed(host, "/host/unvoid", entry=entry, because="it was not").status == 303
    assert stranger.get(f"/api/v1/entries/{entry}").json["state"] == "queued"


def test_host_page_says_what_an_act_does_in_each_phase(served_made: Place) -> None:
    made, port, ada, host = served_made
    contest, entry = made.contest, ada.enter(PROGRAM).json["entry_id"]
    page = host.get("/host").text
    assert "The entry leaves the queue, the ranks and the decision" in page and "no process runs the queue" in page
    assert "<dt>Queue</dt><dd>not running</dd>" in page and "3 queued, stock's two arms included" in page
    contest.database.set_fact("deciding", done=3, wanted=9, looks=[], next_look=5, race=[
        {"entry_id": entry, "number": 3, "entrant": "Ada", "name": "1", "said": "in the race; 1 of 5 runs done"}
    ])  # fmt: skip
    contest.state(deciding=utc_now().isoformat())
    shown = unescape(Browser(port).fresh("/queue").text)
    assert "The leaders' runs for the decision are under way, 3 of" in shown
    assert "The list is in the order" not in shown
    with Study.open(contest.folder):
        page = host.get("/host").text
    assert "<dt>Queue</dt><dd>runs the leaders for the decision, 1 worker" in page
    assert "in the race; 1 of 5 runs done" in page and "The entry is not in the race and cannot win" in page
    contest.state(leaders=[3])
    assert "The entry leaves the race and cannot win" in host.get("/host").text
    contest.state(decided=utc_now().isoformat())
    page = host.get("/host").text
    assert "The announced decision does not change" in page and "The entry leaves" not in page
    assert "take part as before" not in page


def test_host_removes_an_account_and_logs_out_on_the_page(served_made: Place) -> None:
    _, _, ada, host = served_made
    entry = ada.enter(PROGRAM).json["entry_id"]
    assert pressed(ada, "/host/forget", person="1").status == 403
    assert "not ticked" in host.form("/host/forget", person="1").text
    assert [pressed(host, "/host/forget", person=who).status for who in ("x", "9", "1")] == [422, 422, 303]
    page = host.get("/host").text
    assert "former entrant 1" in page and "Ada" not in page
    assert "account removed" in page and "Remove account…" not in page
    assert page.count("/logout") == 1 and ">Log the host out</button>" in page
    host.form("/join", name="Eve")
    page = host.get("/host").text
    assert ">Me (Eve)</a>" in page and ">Host</a>" in page.split("<main")[0]
    assert page.count("/logout") == 1 and ">Log Eve and the host out</button>" in page
    assert host.form("/logout").status == 303 and host.get("/host").status == 303 == host.get("/me").status
    assert pressed(host, "/host/void", entry=entry, because="again").status == 403


def test_the_host_closes_on_the_page(served_made: Place) -> None:
    made, port, ada, host = served_made
    contest = made.contest
    assert pressed(ada, "/host/close", because="I lead").status == 403
    assert "Close early…" in host.get("/host").text
    assert host.form("/host/close", because="rain").status == 422  # not ticked
    assert "needs a reason" in pressed(host, "/host/close").text and contest.phase() == "open"
    assert pressed(host, "/host/close", because="heavy\nrain").status == 303
    assert contest.phase() == "closing" and contest.state()["early"] == "heavy rain"
    assert "asked for already" in pressed(host, "/host/close", because="again").text
    page = host.get("/host").text
    assert "closed the contest before its time: heavy rain" in page.split('id="acts"')[1]
    assert "No process runs the queue" in page and "Close early" not in page
    again = Browser(port, made.admin_token).send("/api/v1/close", {"reason": "again"})
    assert again.status == 200 and contest.state()["early"] == "heavy rain"


def test_after_the_closing_time_no_reason_is_needed(tmp_path: Path) -> None:
    contest = founded(tmp_path, closes=utc_now() - timedelta(seconds=1)).contest
    contest.ask_close("")
    assert contest.state()["close_asked"] and "early" not in contest.state()


def test_host_reads_the_power_of_the_close_by_the_measured_noise(tmp_path: Path) -> None:
    made = founded(tmp_path, confirm_runs=20, runs=4)
    filled(made.contest, 4, [0.22, 0.22, 1.78, 1.78])  # the SD of a run is 0.9
    with served(made.contest) as port:
        host = Browser(port, made.admin_token)
        shown, power = host.get("/host").text, host.get("/api/v1/health").json["power"]
        assert power is not None and power < 0.02
        assert f"{100 * power:.0f}% of simulated closes name an entry" in shown and "several share the win" in shown
        assert f"in {power:.0%} of simulated closes" in metaloop("contest", "status", made.contest.folder).stdout
    rows: list[Any] = [{"gain": 1.0, "se": 0.05, "n": 4}] * 4
    assert measured_power(rows, 20, 4) == 1.0 == measured_power([*rows, {**rows[0], "se": 9.0}], 20, 4)
    assert measured_power(rows[:3], 20, 4) is None  # nine degrees of freedom
    assert measured_power([{**row, "gain": -1.0} for row in rows], 20, 4) is None is measured_power([], 20, 0)


def test_the_hosts_api(served_made: Place) -> None:
    made, port, ada, _ = served_made
    host, entry = Browser(port, made.admin_token), ada.enter(PROGRAM).json["entry_id"]
    void, unvoid = (f"/api/v1/entries/{entry}/{what}" for what in ("void", "unvoid"))
    for who in (ada, Browser(port), Browser(port, "mla_wrong")):
        assert who.send(void, {"because": "a reason"}).status == 403
        assert who.get("/api/v1/health").status == 403
    assert host.send(void, {"because": "a reason"}).json["what"] == "void"
    assert host.send(void, {"because": "a reason"}).status == 422
    assert host.send("/api/v1/entries/none/void", {"because": "a reason"}).status == 404
    assert ada.get("/api/v1/me").json["used"] == 0
    assert host.get("/api/v1/health").json["queue"] == "not running"
    assert host.get("/api/v1/contest").json["states"] == {"queued": 2, "void": 1}
    assert host.send(unvoid, {"because": "no"}).status == 422
    assert host.send(unvoid, {"because": "a mistake"}).json["what"] == "unvoid"
    assert ada.get("/api/v1/me").json["used"] == 1


def test_a_pause_is_told_on_the_queues_page(contest: Contest) -> None:
    contest.database.set_fact(
        "pause", since="2026-01-01T00:00:00+00:00", kind="credential", message="the key is refused", hint="set another"
    )
    with served(contest) as port:
        page = Browser(port).get("/queue").text
    assert "the key is refused" in page and "does not count against any entry" in page

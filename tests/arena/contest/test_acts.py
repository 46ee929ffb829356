"""What the host does to an entry: void, and taken back; in queue, ranks, quota, ledger and decision."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
from sqlalchemy import event

from analysis.study import query
from arena.arms import TaskMatch
from arena.contest.contest import Contest
from arena.contest.entering import accounts, acts, removal
from arena.contest.entering.entries import accept, change, quota_used
from arena.contest.entering.lookup import find_entry
from arena.contest.ranking.decision import NOBODY, LeadersRace, leaders, taking_part
from arena.contest.ranking.decision import entered as entered_in
from arena.contest.ranking.views import board_view, entry_of, entry_view
from arena.contest.running.arms import CONFIRMATION
from arena.contest.running.contest_queue import MOST_ATTEMPTS, ContestQueue
from arena.contest.tables import ContestEntry, Person
from arena.study.study import Study
from arena.study.task_study import tasks_of
from programs.common.errors import NotFound, UsageError
from programs.shelf import starter
from tests.arena.contest.hosting import (
    RUNS,
    Browser,
    decided,
    entered,
    founded,
    joined,
    newcomer,
    numbered,
    quiet,
    served,
    winner,
)
from tests.arena.contest.test_contest_queue import measured
from tests.arena.contest.test_fair_entries import taken
from tests.meta.cli_study import metaloop


def state(contest: Contest, number: int) -> str:
    return numbered(contest, number).state


def used(contest: Contest, person: int) -> int:
    with contest.database.read() as connection:
        return quota_used(connection, person)


@pytest.fixture
def contest(tmp_path: Path) -> Contest:
    made = founded(tmp_path).contest
    entered(made, "local", "one-line")
    return made


def test_a_void_entry_waits_no_more_and_costs_nothing(contest: Contest) -> None:
    acts.void(contest, "3", "sent by mistake")
    assert state(contest, 3) == "void" and used(contest, 1) == 0
    with Study.open(contest.folder) as study:
        queue = ContestQueue(contest, study, quiet)
        assert {waiting.number for waiting in queue.waiting()[0]} == {1, 2, 4}
        acts.unvoid(contest, "3", "it was none")
        assert {waiting.number for waiting in queue.waiting()[0]} == {1, 2, 3, 4}
        queue.record_acts()
        queue.record_acts()
    assert state(contest, 3) == "queued" and used(contest, 1) == 1
    told = query(contest.folder, "SELECT record ->> 'what' AS what, record ->> 'because' AS why FROM events "
                 "WHERE kind = 'act' ORDER BY place")  # fmt: skip
    assert [(row["what"], row["why"]) for row in told] == [("void", "sent by mistake"), ("unvoid", "it was none")]


def test_files_that_runs_bring_meanwhile_are_there_at_the_end(contest: Contest) -> None:
    """A run in hand ends; its entry stays void, and goes on from there afterwards."""
    change(contest, 3, state="running")
    acts.void(contest, "3", "looks copied")
    assert not change(contest, 3, state="verified")
    assert state(contest, 3) == "void"
    acts.unvoid(contest, "3")
    assert state(contest, 3) == "verified"
    change(contest, 4, state="failed", failure="nothing came of it")
    acts.void(contest, "4", "looks copied")
    acts.unvoid(contest, "4")
    found = entry_of(contest, entry_id(contest, 4))
    assert (found.state, found.reason) == ("failed", "nothing came of it")


def entry_id(contest: Contest, number: int) -> str:
    return numbered(contest, number).entry_id


def test_an_entry_that_this_host_had_given_up_begins_anew(contest: Contest) -> None:
    change(contest, 3, void="the host could not run it", attempts=3)
    acts.unvoid(contest, "3", "the disk is mended")
    entry = numbered(contest, 3)
    assert (entry.state, entry.attempts, entry.reason) == ("queued", 0, "")


def test_what_cannot_be_done_is_refused(contest: Contest) -> None:
    with pytest.raises(UsageError, match="stock"):
        acts.void(contest, "1", "it wins too often")
    with pytest.raises(UsageError, match="reason"):
        acts.void(contest, "3", " \n ")
    with pytest.raises(UsageError, match="not void"):
        acts.unvoid(contest, "3")
    with pytest.raises(NotFound):
        acts.void(contest, "n0", "no such entry")
    acts.void(contest, "3", "a reason")
    with pytest.raises(UsageError, match="already"):
        acts.void(contest, "3", "another reason")


def test_the_host_names_an_entry_as_the_pages_do(contest: Contest) -> None:
    label = entry_of(contest, entry_id(contest, 3)).label
    host = ("contest", "host", str(contest.folder))
    said = metaloop(*host, "void", label, "--because", "sent twice").stderr
    assert state(contest, 3) == "void" and "The entry leaves the queue" in said
    metaloop(*host, "unvoid", label)
    assert state(contest, 3) == "queued"
    metaloop(*host, "void", "stock (control)", "--because", "too good", code=2)
    contest.state(decided="2026-01-01T00:00:00+00:00")
    said = metaloop(*host, "void", label, "--because", "copied").stderr
    assert "The announced decision does not change" in said and "leaves the board at the close" in said
    assert " unvoid 3  #" in said  # by number: others may have the name, too


def test_run_lost_while_its_entry_is_void_keeps_it_reinstatable(contest: Contest) -> None:
    """The host declares an entry void while its run is in progress, and that run is lost for the third time."""
    change(contest, 3, state="running", attempts=MOST_ATTEMPTS - 1)
    with Study.open(contest.folder) as study:
        queue = ContestQueue(contest, study, quiet)
        job = next(queue)
        queue.start(job)
        queue.in_progress[job.run_id] = replace(queue.in_progress[job.run_id], number=3)
        acts.void(contest, "3", "looks copied")
        queue.end_runs("the worker died")
    assert state(contest, 3) == "void"
    acts.unvoid(contest, "3", "it was not")
    assert state(contest, 3) == "running"
    assert numbered(contest, 3).reason == ""


def test_name_with_number_or_an_address_leads_to_no_other_entry(contest: Contest) -> None:
    """An entrant chooses names; a host who copies one from a page must not hit the entry that it points to."""
    number = newcomer(contest, "number")
    for name in ("number 3", f"x /entry/{entry_id(contest, 3)}"):
        accept(contest, number, f"---\nmetaloop:\n  name: {name}\n---\n# {name}\n".encode())
    with contest.database.read() as connection:
        assert find_entry(connection, f"number: x /entry/{entry_id(contest, 3)}").number == 6
        assert find_entry(connection, "number: number 3").number == 5
        for name in (entry_id(contest, 3), "3", " P local 0: 1 "):
            assert find_entry(connection, name).number == 3, name
        for name in ("number 3", "NUMBER 3", "03", "\N{SUPERSCRIPT THREE}", "P LOCAL 0: 1"):
            with pytest.raises(NotFound):
                find_entry(connection, name)


def test_a_void_entry_has_no_rank_and_leads_nowhere(ran_copy: Contest) -> None:
    before = board_view(ran_copy)
    first = next(row for row in before["rows"] if row["role"] == "program")
    acts.void(ran_copy, first["entry_id"], "not the entrant's own")
    acts.write_down(ran_copy)
    seen = board_view(ran_copy)
    assert first["entry_id"] not in {row["entry_id"] for row in seen["rows"]}
    assert all(row["rank_high"] <= len(before["rows"]) - 1 for row in seen["rows"])
    (row,) = [row for row in seen["void"] if row["entry_id"] == first["entry_id"]]
    assert seen["unmeasured_total"] == 0
    assert (row["runs_done"], row["gain"]) == (RUNS, pytest.approx(first["gain"]))
    assert row["state"] == "void" and "not the entrant's own" in row["reason"]
    with Study.open(ran_copy.folder) as study:
        assert first["number"] not in leaders(ran_copy, study)
    view = entry_view(ran_copy, entry_of(ran_copy, first["entry_id"]), None)
    assert [act["because"] for act in view["acts"]] == ["not the entrant's own"] and len(view["results"]) == RUNS
    acts.unvoid(ran_copy, first["entry_id"])
    acts.write_down(ran_copy)
    assert board_view(ran_copy)["rows"] == before["rows"]


def test_a_removed_account_has_neither_name_nor_token(tmp_path: Path) -> None:
    made = founded(tmp_path).contest
    with served(made) as port:
        ada, grace = joined(port, "Ada"), joined(port, "Grace")
        assert ada.enter(b"# Hers\n").status == 201
    forget = ("contest", "host", made.folder, "forget")
    wrong = metaloop(*forget, "ada", code=2).stderr  # checked before it asks
    assert "no one is called 'ada'" in wrong and "take part" not in wrong
    assert "take part as before" in metaloop(*forget, "Ada", code=2).stderr
    assert "former entrant 1" in metaloop(*forget, "Ada", "-y").stdout
    with served(made) as port:
        board = Browser(port).get("/").text + Browser(port).get("/queue").text
        assert Browser(port, ada.token).ask("GET", "/api/v1/me").status == 401
        assert Browser(port, grace.token).ask("GET", "/api/v1/me").status == 200
        again = joined(port, "Ada")  # the name is free
        assert again.ask("GET", "/api/v1/me").json["used"] == 0
    assert "Ada" not in board and "former entrant 1" in board


def test_removed_name_leaves_the_announcement_after_the_decision(tmp_path: Path) -> None:
    """Page, picture and command show the new name everywhere; other names stay."""
    made = founded(tmp_path).contest
    ann, ada = (newcomer(made, name) for name in ("Ann", "Ada"))
    number = accept(made, ada, b"# Hers\n").entry.number
    other = accept(made, ann, b"# Another\n").entry
    accept(made, newcomer(made, "Big Ada"), b"# Big\n")
    who = {"entry_id": "e", "number": number, "entrant": "Ada", "name": "1"}
    beside = {"entry_id": other.entry_id, "number": other.number, "entrant": "Ann", "name": "1", "why": "rank 2–3"}
    row = winner(0.5, **who)
    rows = [row, {**row, "role": "control", "number": 1, "entrant": "host", "name": "stock"}]
    said = decided(rows, winners=[who], best=who, headline="Ada 1 won", not_racing=[beside])
    made.database.set_fact("announcement", **said)
    made.state(decided="2026-01-02T00:00:00+00:00")
    new = f"former entrant {ada.person_id}"
    assert made.announcement()["headline"] == "Ada 1 won"
    assert removal.forget(made, "Ada") == new and removal.forget(made, "Ann")
    assert made.announcement()["headline"] == f"{new}: 1 won"
    with served(made) as port:
        shown = [unescape(Browser(port).get(path).text).replace("\\", "") for path in ("/", "/card.svg")]
        own = unescape(Browser(port).get(f"/entry/{other.entry_id}").text)
    printed = [metaloop("contest", verb, made.folder) for verb in ("close", "status")]
    for text in (*shown, *(done.stdout + done.stderr for done in printed)):
        assert f"{new}: 1" in text and not re.search(r"(?<!Big )Ada 1\b|Ann", text)
    made.database.set_fact("announcement", **NOBODY, rows=rows[1:], left_out=[beside])  # all leaders became void
    assert made.announcement()["left_out"][0]["entrant"].startswith("former entrant")
    assert "Rank 2–3." in own and "former entrant 1: 1" in shown[0]  # why it was not in the race
    assert re.search(r"former entrant 1: 1\t.*rank 2–3", printed[0].stdout + printed[1].stdout)


def test_no_process_remembers_a_removed_name(contest: Contest) -> None:
    """Neither of the board, nor in the decision those of the leaders."""
    with Study.open(contest.folder) as study:
        queue = ContestQueue(contest, study, quiet)
        for number in (1, 2, 3, 4):
            queue.arms_of(number)
            measured(queue, number, 0.5)
        on = tasks_of(study)[0]
        entries = taking_part(contest, [3, 4])
        race = LeadersRace(contest, entries, TaskMatch(on, entered_in(on, entries, CONFIRMATION)))
        assert "P local 0" in str(board_view(contest)["rows"]) and "P local 0" in str(race.standings()["race"])
        assert removal.forget(contest, "P local 0") == "former entrant 1"
        assert removal.people(contest)[1]["removed"]
        for metric in (0.4, 0.3):
            for shown in (str(board_view(contest)["rows"]), str(race.standings()["race"])):
                assert "former entrant 1" in shown and "P one-line 1" in shown and "P local 0" not in shown
            measured(queue, 4, metric)
    stale = Person(person_id=1, name="P local 0")  # as a request had read it
    with pytest.raises(accounts.AccessRefused):
        accept(contest, stale, b"# Under way\n")
    with pytest.raises(UsageError, match="removed before"):
        removal.forget(contest, 1)
    with pytest.raises(NotFound):
        removal.forget(contest, 99)


def test_who_was_removed_is_on_the_hosts_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    founder = founded(tmp_path)
    made = founder.contest
    ada, eve, bob = (newcomer(made, name) for name in ("A", "Eve", "Bob"))
    entry = accept(made, ada, b"---\nmetaloop:\n  name: All Alpha ideas by A\n---\n# x\n").entry
    new = removal.forget(made, "A")
    removal.forget(made, bob.person_id)
    assert numbered(made, entry.number).label == f"{new}: All Alpha ideas by A"
    rows = {row["person_id"]: row for row in removal.people(made)}
    assert [rows[one.person_id]["removed"] for one in (ada, eve, bob)] == [True, False, True]
    monkeypatch.setattr(removal, "MOST_PEOPLE", 2)
    with served(made) as port:
        page = Browser(port, founder.admin_token).get("/host").text
    assert page.count("account removed") == 1 and page.count("Remove account…") == 1
    assert "1 more joined earlier and is not listed" in page


def test_host_changes_limits_and_an_act_takes_only_its_own(contest: Contest, monkeypatch: pytest.MonkeyPatch) -> None:
    host = ["contest", "host", str(contest.folder)]
    monkeypatch.setenv("METALOOP_MAX_USD", "77")  # of other commands: an act that takes none ignores it
    shown = metaloop(*host, "caps", "--max-usd", "40", "--set", "max_tokens=77").stdout
    limits = Contest.open(contest.folder).study.llm
    assert (limits.max_usd, limits.max_tokens) == (40.0, 77) and "spent_tokens\t0" in shown
    said = ""
    for words in (["void"], ["caps", "--because", "no"], ["void", "3", "--because", "copied", "--max-usd", "3"]):
        said += metaloop(*host, *words, code=2).stderr
    assert "void takes ENTRY" in said and "--because is not for caps" in said and "--max-usd is not for void" in said
    metaloop(*host, "void", "3", "--because", "copied")


def test_entries_of_one_name_get_labels_that_void_takes(contest: Contest) -> None:
    person = newcomer(contest)
    texts = [b"---\nmetaloop:\n  name: %s\n---\n# %d\n" % (b"bold" * 15, number) for number in range(2)]
    entries = [accept(contest, person, text).entry for text in texts]
    assert len({entry.label for entry in entries}) == 2 and entries[1].name.endswith(" (2)")
    assert max(len(entry.name) for entry in entries) <= 60
    assert [acts.void(contest, entry.label, "sent twice").number for entry in entries] == [5, 6]


def test_unknown_label_loads_no_entry(contest: Contest) -> None:
    """A name that no entry has is looked up, not compared with all entries."""
    for number in range(3):
        taken(contest, f"P {number}", starter("local").raw)
    loaded = list[ContestEntry]()
    event.listen(ContestEntry, "load", lambda entry, _: loaded.append(entry))
    for name in ("é", "nobody", "Ada 3", "P 0: 2"):
        with contest.database.read() as connection, pytest.raises(NotFound):
            find_entry(connection, name)
        assert loaded == [], name

"""The rule that decides a contest, on gains that are given."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import event

from arena.contest.contest import Contest
from arena.contest.entering import acts
from arena.contest.entering.entries import change
from arena.contest.ranking.announced import outcomes
from arena.contest.ranking.decision import begin, decide, not_racing, spectators
from arena.contest.ranking.race import follow
from arena.contest.running.pace import WAS_VOID, in_race, not_in_race
from arena.contest.stored import Announcement
from arena.contest.tables import ContestEntry, Person
from arena.study.study import Study
from tests.arena.contest.test_run import entered

GAINS = {
    "high": [9.0, 9.1, 9.2, 8.9],
    "low": [1.0, 1.1, 0.9, 1.2],
}


def entries(*roles: str) -> list[ContestEntry]:
    return [
        ContestEntry(number=n, role=role, entry_id=f"e{n}", name="x", person=Person(name=f"P{n}"))
        for n, role in enumerate(roles)
    ]


def test_nobody_took_part() -> None:
    who, gains = entries("control", "a/a"), {0: [1.0, 2.0], 1: [1.0, 2.0]}
    assert decide(who, follow(who, gains, [2]), gains, 1.0)["outcome"] == "empty"


def test_pages_of_many_entries_read_few_rows_during_the_race(contest: Contest) -> None:
    """The state of the contest, which every page reads, has no sentence per entry; a decision costs one query."""
    entered(contest, *["local", "one-line"] * 10)
    begin(contest, Study.open(contest.folder))
    assert len(not_in_race(contest)) == 20
    assert len(json.dumps(contest.state())) < 200
    named = [{"entry_id": f"e{n}", "number": n, "entrant": "Ada", "name": "x", "why": "y"} for n in range(3, 23)]
    contest.database.set_fact("announcement", outcome="empty", winners=[], not_racing=named)
    queries = list[str]()
    event.listen(contest.database.engine, "before_cursor_execute", lambda *call: queries.append(call[2]))
    assert len(contest.announcement()["not_racing"]) == 20
    assert len(queries) < 5


def test_every_entry_outside_the_race_is_named_with_why(contest: Contest, monkeypatch: pytest.MonkeyPatch) -> None:
    entered(contest, "local", "one-line", "local", "one-line", "local")  # numbers 3 to 7
    change(contest, 6, state="failed", failure="no experiment succeeded")
    figures = {"gain": 1.0, "se": 0.1, "n": 4, "role": "program"}
    board = [{**figures, "number": n, "rank_low": n - 2, "rank_high": 5} for n in (3, 4, 5)]
    monkeypatch.setattr("arena.contest.ranking.decision.ranked_entries", lambda *_: board)
    study = Study.open(contest.folder)
    acts.void(contest, "7", "copied")
    stored = {str(number): why for number, why in not_racing(contest, study, [3]).items()}
    contest.state(deciding="x", leaders=[3])
    contest.database.set_fact("not_racing", **stored)
    contest.database.set_fact("deciding", done=1, wanted=9, race=[{"number": 3, "said": "in the race"}])
    assert in_race(contest)[7] == stored["7"] == "declared void by the host: copied"
    acts.unvoid(contest, "7")
    assert in_race(contest) == {**not_in_race(contest), 3: "in the race"}
    assert not_in_race(contest)[7] == WAS_VOID
    acts.void(contest, "7", "wrong on second look")
    assert not_in_race(contest)[7] == "declared void by the host: wrong on second look"
    acts.unvoid(contest, "7")  # a removal has changed a name in what was stored
    contest.database.set_fact(
        "not_racing", **stored | {"7": "declared void by the host: copied from former entrant 1 1"}
    )
    assert not_in_race(contest)[7] == WAS_VOID
    acts.void(contest, "4", "copied")
    acts.unvoid(contest, "4")
    assert not_in_race(contest)[4] == stored["4"]  # it was not void when the race began
    acts.void(contest, "5", "found out late")  # while the race goes on
    assert not_in_race(contest)[5] == "declared void by the host: found out late"
    acts.unvoid(contest, "5")
    reasons = not_racing(contest, study, [3])
    assert reasons == {
        4: "not among the leaders when their race began: rank 2–5, significantly below 1 other row of the board",
        5: "not in the race of the leaders: it behaves like entry 3, which was earlier",
        6: "no experiment succeeded",
        7: "not in the race of the leaders: it behaves like entry 3, which was earlier",
    }
    said: Announcement = {
        "outcome": "won",
        "winners": [],
        "rows": [],
        "not_racing": spectators(contest, study, reasons),
    }
    assert [who["number"] for who in said["not_racing"]] == [4, 5, 6, 7]
    assert outcomes(said) == reasons

"""The board is that of the view `standings`; a part of it is a part of the whole."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pytest
from sqlalchemy import text

from analysis.ledger import Ledger
from analysis.ledger.run_state import parsed
from analysis.study import read_study
from analysis.verdict.standings import standings
from arena.contest.contest import Contest
from arena.contest.entering import accounts, acts
from arena.contest.entering.accounts import Person
from arena.contest.entering.acts import contenders
from arena.contest.entering.entries import change, store
from arena.contest.ranking.standing import STANDING_COLUMNS, RowRange, snapshot
from arena.contest.ranking.views import (
    PAGE,
    board_view,
    contest_view,
    entry_of,
    entry_view,
    person_view,
    queue_view,
)
from arena.contest.running import arms
from arena.match import announcement
from arena.measuring import run_job
from arena.serving.clock import iso
from arena.study.study import Study
from arena.study.task_study import TaskStudy
from inner_loop.events import CallEvent, Experiment, RunEndedEvent, RunStartedEvent
from programs.common.ids import content_id
from programs.program import Program
from tests.arena.contest.hosting import Browser, newcomer, numbered, served, with_runs
from tests.events import example

ENTRIES = 8


def people(contest: Contest, count: int) -> list[Person]:
    return [newcomer(contest, f"P{i}") for i in range(count)]


def entered(contest: Contest, who: list[Person]) -> None:
    with contest.database.write() as connection:
        for i, person in enumerate(who):
            program = Program.parse(f"# {i}\n\nOne way, the {i}th.\n".encode(), file="program.md")
            store(connection, contest.config, program, role="program", behaviour=program.program_id, person=person)


def events(contest: Contest, study: Study, rng: random.Random) -> list[tuple[str, dict[str, Any]]]:
    """(writer, event) of all sorts of runs: whole, failed under a seed, our own fault, without an end, with a model."""
    on = TaskStudy(study)
    board = arms.match_of(on, arms.BOARD)
    with contest.database.read() as connection:
        entries = connection.execute(text("SELECT number, entry_id, program_id FROM entries")).all()
    told: list[tuple[str, dict[str, Any]]] = []

    def worker(kind: type[Any], **fields: Any) -> None:
        told.append(("worker-0", example(kind, **fields).to_record()))

    for number, entry_id, program_id in entries:
        program = Program.parse(f"# {number}\n".encode(), file="program.md")
        arm = arms.Arm(content_id("a", board.match_id, entry_id), program, "program", 0)
        told.append(("main", announcement(on, arms.replace(board, arms=(arm,))).to_record()))
        for job in (run_job(on, board, arm, i) for i in range(2)):
            run, own = {"run_id": job.run_id}, {"arm_id": arm.arm_id, "program_id": program_id}
            at = {"task": study.task.name, "stream": job.stream}
            worker(RunStartedEvent, match_id=board.match_id, run_seed=job.run_seed, **run, **own, **at)
            for n in range(2):
                tried = {"experiment_id": content_id("e", job.run_id, str(n)), "number": n, "status": "ok"}
                worker(Experiment, metric=1.0, device_seconds_charged=rng.random(), **tried, **run)
            if rng.random() < 0.3:
                worker(CallEvent, tokens=7, usd=0.25, **run)
            if rng.random() < 0.2:
                continue
            spend = {"tokens": 11, "usd": rng.choice((None, 0.5))} if rng.random() < 0.5 else {"tokens": None}
            figures = {"charged": rng.random(), "claimed_gain": rng.random(), "wall_seconds": 2.0}
            worker(RunEndedEvent, state="finished", **figures, **spend, **run)
            for seed in job.verify_seeds:
                status = rng.choice(("ok", "ok", "ok", "crash", "baseline"))
                trust = "" if status == "baseline" else rng.choice(("scored", "verified"))
                measured = {"seed": seed, "status": status, "metric": 1.0, "baseline_metric": 2.0, "trust": trust}
                gain = rng.gauss(number, 0.01)
                told.append(("main", {"kind": "verification", "gain": gain, **measured, **run, **own, **at}))
    return told


def test_the_board_is_that_of_the_view_standings(contest: Contest) -> None:
    """Also for a process that begins to follow later."""
    entered(contest, people(contest, ENTRIES))
    rng, compared = random.Random(2), 0
    with Study.open(contest.folder) as study:
        told = events(contest, study, rng)
        for part in range(0, len(told), len(told) // 4):
            with Ledger(contest.folder / "ledger", "worker-0") as worker:  # a new segment each time
                for writer, event in told[part : part + len(told) // 4]:
                    if writer == "main":
                        study.record(parsed(event, contest.folder))  # type: ignore[arg-type]
                    else:
                        worker.append(event, sync=False)
                study.follow()
            compared += same(contest)
            same(Contest.open(contest.folder))
    assert compared > 2 * ENTRIES
    assert any(row["rank_low"] > 1 for row in snapshot(contest).rows)


def same(contest: Contest) -> int:
    """Compare the board with the view, row by row; returns how many there were."""
    match_id = content_id("m", contest.study.study_id, arms.BOARD)
    with read_study(contest.folder, views=()) as con:
        expected = [asdict(row) for row in standings(con) if row.match_id == match_id and row.gain is not None]
    found = list(snapshot(contest).rows)
    assert [row["arm_id"] for row in found] == [row["arm_id"] for row in expected]
    for row, wanted in zip(found, expected, strict=True):
        for key in STANDING_COLUMNS:
            assert row[key] == (  # type: ignore[literal-required]
                pytest.approx(wanted[key], rel=1e-12) if isinstance(wanted[key], float) else wanted[key]
            )
    return len(found)


def filled(contest: Contest, rows: int, gains: Sequence[float] = ()) -> list[Person]:
    """A board of so many rows, the first entry first; ``gains``: of the runs of every entry alike."""
    who = people(contest, 3)
    entered(contest, [who[0]] * (rows - 1) + [who[1]])
    numbers = range(1, rows + 3)
    runs = {number: gains or (1.0 / number,) for number in numbers}
    with_runs(contest, runs, charged=1.0, tokens=1200, usd=0.5, claimed_gain=None)
    return who


def test_the_api_gives_the_views_of_the_pages_whole(contest: Contest) -> None:
    (ada, *_), part = filled(contest, 4), RowRange(0, PAGE)
    token = f"{accounts.PERSON}Ada"
    with contest.database.write() as connection:
        connection.get(Person, ada.person_id).token_hash = accounts.hashed(token)
    with served(contest) as port:
        browser = Browser(port, token)
        entry_id = browser.get("/api/v1/me").json["entries"][0]["entry_id"]
        acts.void(contest, entry_id, "sent twice")
        views = {
            "contest": contest_view(contest),
            "board": board_view(contest, part, ada),
            "queue": queue_view(contest, part, ada),
            f"entries/{entry_id}": entry_view(contest, entry_of(contest, entry_id), ada),
            "me": person_view(contest, ada),
        }
        for path, view in views.items():
            said, expected = browser.get(f"/api/v1/{path}").json, json.loads(json.dumps(view, default=iso))
            for clock in ("now", "as_of"):
                assert (clock in said) == (clock in expected)
                said.pop(clock, None), expected.pop(clock, None)
            assert said == expected, path


def test_pages_of_a_long_board(contest: Contest) -> None:
    who = filled(contest, 25)
    pages = [board_view(contest, RowRange.page(n, 10)) for n in (1, 2, 3)]
    assert [len(page["rows"]) for page in pages] == [10, 10, 7]
    assert [row["number"] for page in pages for row in page["rows"]] == list(range(1, 28))
    assert [row["role"] for row in pages[2]["pinned"]] == ["control", "a/a"]
    mine = board_view(contest, RowRange.page(1, 10), who[1])
    assert [row["number"] for row in mine["pinned"]] == [1, 2, 27] and mine["own"] == [27] and pages[0]["own"] == []
    queue = queue_view(contest, RowRange(0, 5), who[1])
    assert len(queue["rows"]) == 5 and [row["number"] for row in queue["own"]] == [27]


def test_long_board_has_pages_and_is_whole_in_the_api(contest: Contest) -> None:
    filled(contest, 110)
    with served(contest) as port:
        browser = Browser(port)
        first, last = browser.get("/").text, browser.get("/?page=2").text
        assert 'href="?page=2"' in first and 'rel="prev" href="?page=1"' in last and "101 to 112 of 112" in last
        assert "1,200 tokens, $0.50" in first and contest.study.hardware_class in first
        assert browser.get("/?page=0").status == 422 and "This page does not exist" in browser.get("/?page=9").text
        assert len(browser.get("/api/v1/board?limit=7&offset=110").json["rows"]) == 2
        assert len(browser.get("/api/v1/board.csv").text.splitlines()) == 113
        assert len(browser.get("/api/v1/queue?limit=9").json["rows"]) == 9


def test_who_can_win_is_not_significantly_below_another(contest: Contest) -> None:
    entered(contest, people(contest, 1) * 4)  # entries 3 to 6
    with_runs(
        contest, {1: [0.1, 0.21], 2: [0.1, 0.2], 3: [0.9, 0.9001], 4: [0.5, 0.5001], 5: [0.1, 1.5], 6: [0.4, 0.4001]}
    )
    for number in range(1, 7):
        change(contest, number, state="verified")
    assert contenders(contest) == {3, 5}
    seen = entry_view(contest, entry_of(contest, numbered(contest, 3).entry_id), None)
    assert [row["role"] for row in seen["beside"]] == ["control", "a/a"]


def test_leaders_with_one_gain_are_those_that_race(contest: Contest) -> None:
    """They are first by their place on the board; some of the entries are copies of an earlier one."""
    entered(contest, people(contest, 1) * 20)  # entries 3 to 22
    with_runs(contest, {number: [0.1, 0.5] for number in range(1, 23)})
    with contest.database.write() as connection:
        connection.execute(text("UPDATE entries SET state = 'verified', behaviour = 'p' || min(number, 20)"))
    originals = [row["number"] for row in snapshot(contest).rows if 3 <= row["number"] <= 20]
    assert contenders(contest) == {*originals[: contest.config.most_leaders]}

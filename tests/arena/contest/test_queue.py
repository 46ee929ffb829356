"""Whose turn it is; what the processes that run a contest's queue restore, how often they write, how they end."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import event

import arena.home.verifying
from arena.contest.contest import Contest
from arena.contest.entering.entries import change, store
from arena.contest.ranking.views import entry_of, entry_view
from arena.contest.running import work
from arena.contest.running.contest_queue import ContestQueue
from arena.contest.running.queue import HOST, ActiveRun, Costs, Waiting, forecast, in_line, next_of, turns
from arena.contest.tables import ContestEntry
from arena.home.project import Project
from arena.serving.process import Keeper
from arena.study.lock import is_taken, request_stop
from arena.study.study import Study
from programs.program import Program
from tests.arena.contest.hosting import RUNS, founded, newcomer, numbered
from tests.arena.contest.test_contest_queue import measured
from tests.arena.home.clients import new_project

COSTS = Costs(screen=0.5, run=4.0)


def waiting(number: int, person: int, left: int = 3, screening: bool = True, suspect: bool = False) -> Waiting:
    return Waiting(number, person, left, screening, suspect=suspect)


def test_people_take_turns_however_many_entries_they_have() -> None:
    entries = [waiting(n, person=1) for n in range(1, 9)] + [waiting(9, person=2)]
    order = list(turns(entries, {}, COSTS))
    assert order[:4] == [1, 9, 1, 9]
    assert 9 not in order[8:]  # the one entry of the other is through as early as if there were no more than two
    assert Counter(order) == Counter(dict.fromkeys(range(1, 10), 4))  # its screening run and three more each


def test_who_comes_late_is_next_until_even() -> None:
    order = list(turns([waiting(1, 1, 5, screening=False), waiting(2, 2, 5)], {1: 12.0}, COSTS))
    assert order[:4] == [2, 2, 2, 2]  # 0.5 + 4 + 4 + 4: then both have had 12
    assert order[4:6] == [1, 2]


def test_an_entry_whose_runs_are_lost_goes_last() -> None:
    order = list(turns([waiting(1, 1, suspect=True), waiting(2, 2), waiting(3, 3)], {2: 99.0}, COSTS))
    assert order[-4:] == [1, 1, 1, 1]


def test_the_next_run_is_the_first_turn(tmp_path: Path) -> None:
    """While entries come and move, and some runs are in progress."""
    contest, rng, held, told = founded(tmp_path).contest, random.Random(3), list[ActiveRun](), set[int | None]()
    people, done = [newcomer(contest, f"P{i}") for i in range(4)], dict[int, int]()
    for step in range(60):
        if rng.random() < 0.4:
            with contest.database.write() as connection:
                program = Program.parse(f"# {step}\n\nOne.\n".encode(), file="program.md")
                store(connection, contest.config, program, role="program", behaviour="b", person=rng.choice(people))
        number = rng.randint(1, 2 + step // 6)
        with contest.database.read() as connection:
            known = connection.get(ContestEntry, number) is not None
        if known:
            state = rng.choice(("void", "queued", "waiting", "running"))
            change(contest, number, attempts=rng.randint(0, 1), state=state)
            done[number] = rng.randint(0, RUNS)
        with contest.database.read() as connection:
            entries = connection.query(ContestEntry).order_by(ContestEntry.number).all()
        waiting, served = in_line(entries, done, RUNS, COSTS, held)
        ready = {w.number: w for w in waiting if not w.blocked}
        first = next(turns(ready.values(), served, COSTS), None)
        found = next_of(waiting, served)
        assert found == ready.get(first or 0)
        told.add(first)
        person_of = {entry.number: entry.person_id or HOST for entry in entries}
        for run in held:
            assert served[person_of[run.number]] >= COSTS.screen
            assert not [w for w in waiting if w.number == run.number and w.screening and run.screening]
        if found is not None and len(held) < 2:
            held.append(ActiveRun(found.number, found.screening))
        elif held:
            held.pop(rng.randrange(len(held)))
    assert len(told) > 5


def test_the_forecast_counts_runs_ahead_on_all_workers() -> None:
    told = forecast([1, 2, 1, 2, 2], run_seconds=10.0, workers=2)
    assert told == {1: (1, 20.0), 2: (2, 30.0)}


def test_an_earlier_position_is_never_done_later() -> None:
    told = forecast([1, 2, 2, 1], run_seconds=10.0, workers=1)
    assert list(told.items()) == [(2, (1, 30.0)), (1, (2, 40.0))]


def idle_contest(folder: Path) -> Contest:
    contest = founded(folder).contest
    for number in (1, 2):
        change(contest, number, state="verified")
    return contest


@pytest.mark.parametrize("state", ["waiting", "running", "void"])
def test_runs_that_only_the_ledger_has_reach_the_entry_page(contest: Contest, state: str) -> None:
    """As after a kill between the two writes."""
    change(contest, 2, **({"void": "a copy"} if state == "void" else {"state": state}))
    with Study.open(contest.folder) as study:
        queue = ContestQueue(contest, study, lambda _: None)
        queue.arms_of(2)
        measured(queue, 2, 0.5)
        shown = entry_view(contest, entry_of(contest, numbered(contest, 2).entry_id), None)
        assert [run["run"] for run in shown["results"]] == [1, 2] and shown["runs_done"] == 2
        queue.take_over()
        assert numbered(contest, 2).state == ("void" if state == "void" else "verified")


@pytest.mark.parametrize("kind", ["contest", "project"])
def test_idle_process_seldom_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    served: Contest | Project
    carry_on: Callable[[], None]
    if kind == "contest":
        served = contest = idle_contest(tmp_path)
        carry_on = lambda: work.carry_on(contest, lambda _: None)  # noqa: E731
    else:
        served = project = new_project(tmp_path / "project")
        carry_on = lambda: arena.home.verifying.carry_on(project, lambda _: None)  # noqa: E731
    for module in (work, arena.home.verifying):
        monkeypatch.setattr(module, "IDLE_SECONDS", 0.0)
    counts = Counter[str]()
    for name in ("begin", "commit"):
        event.listen(served.database.engine, name, lambda _, name=name: counts.update([name]))
    process = threading.Thread(target=carry_on)
    process.start()
    while not served.database.fact("pulse"):
        time.sleep(0.05)
    counts.clear()
    while counts["begin"] < 500:
        time.sleep(0.05)
    request_stop(served.folder)
    process.join()
    assert counts["commit"] < counts["begin"] / 20


def test_stopped_queue_stays_stopped(tmp_path: Path) -> None:
    contest, messages = idle_contest(tmp_path), list[str]()
    with Keeper(contest.folder, contest.database, "arena.contest.running.work", messages.append) as keeper:
        while not contest.database.fact("pulse"):
            time.sleep(0.05)
        request_stop(contest.folder)
        keeper._thread.join(timeout=60)
        assert not keeper._thread.is_alive() and not is_taken(contest.folder)
    assert [line for line in messages if "stopped on request" in line]

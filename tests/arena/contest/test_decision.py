"""The rule that decides a contest, and a decision that meets an entry whose runs kill workers: it ends, and says so."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from pathlib import Path

import pytest
from sqlalchemy import event

from analysis.ledger import read
from analysis.study import query
from arena.contest.contest import Contest
from arena.contest.entering import acts
from arena.contest.entering.acts import arms_of
from arena.contest.entering.entries import change
from arena.contest.ranking.announced import outcomes
from arena.contest.ranking.decision import begin, decide, decided, left_out, not_racing, spectators
from arena.contest.ranking.race import follow
from arena.contest.running.contest_executor import ContestExecutor
from arena.contest.running.contest_queue import MOST_ATTEMPTS, ContestQueue
from arena.contest.running.pace import WAS_VOID, in_race, not_in_race
from arena.contest.running.work import carry_on
from arena.contest.stored import Announcement
from arena.contest.tables import ContestEntry, Person
from arena.match import announce, jobs_of_round, scores
from arena.measuring import run_job
from arena.study.study import Study
from arena.work.executors import executor_of
from tests.arena.contest.hosting import entered, founded, numbered, quiet
from tests.arena.contest.test_contest_queue import run_there
from tests.arena.test_executor import workers_of
from tests.inner_loop.play import BLOBS
from trainer.task import Task


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


class Killer(threading.Thread):
    """Kills the worker that has a run of the arm in hand, again and again, as that run itself might."""

    def __init__(self, folder: Path, arm_id: str) -> None:
        super().__init__(daemon=True)
        self.folder, self.arm_id, self.over = folder, arm_id, threading.Event()
        self.kills = self.seen = 0

    def run(self) -> None:
        while not self.over.wait(0.01):
            begun = [event for event in read(self.folder / "ledger") if event["kind"] == "run_started"]
            last = begun[-1]["arm_id"] if len(begun) > self.seen else ""
            self.seen = len(begun)
            if last == self.arm_id:  # not its successor, which has a plain experiment in hand
                for pid in workers_of(self.folder):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                        self.kills += 1


def led_by_two(contest: Contest) -> None:
    entered(contest, "local", "one-line")
    contest.state(close_asked="2026-01-01T00:00:00+00:00", deciding="2026-01-01T00:00:00+00:00", leaders=[3, 4])


def test_race_runs_all_then_suspects_alone_then_without_them(contest: Contest) -> None:
    led_by_two(contest)
    with Study.open(contest.folder) as study:
        queue, race = ContestQueue(contest, study, quiet), begin(contest, study)
        queue.numbers |= race.numbers
        on, match = race.match.on, race.match.match
        arms = {race.numbers[arm.arm_id]: arm for arm in match.arms}
        announce(on, match, lambda _: None)

        def requested() -> dict[int, int]:
            return {race.numbers[arm_id]: runs for arm_id, runs in race.next_round(scores(race.match)).items()}

        def lose(*numbers: int) -> None:
            for number in numbers:
                queue.start(run_job(on, match, arms[number], 0))
            queue.end_runs("a worker died")

        first = contest.config.looks[0]
        assert requested() == dict.fromkeys([3, 4, 1, 2], first)
        lose(3, 1)  # nobody knows yet over whose run
        assert requested() == {4: first, 2: first}
        for number in (4, 2):
            for nth in range(first):
                run_there(race.match, arms[number], nth, 0.5)
        for _ in range(MOST_ATTEMPTS - 1):
            assert requested() == {3: 1}  # alone
            lose(3)
        assert set(left_out(contest, race.entries)) == {3}
        for _ in range(MOST_ATTEMPTS + 1):  # a control is never given up: there is no decision without
            assert requested() == {1: 1}
            lose(1)
        assert "3 attempts" in decided(race)["left_out"][0]["why"]


def test_entry_that_becomes_void_in_the_race_gets_no_further_run(contest: Contest) -> None:
    led_by_two(contest)
    with Study.open(contest.folder) as study:
        queue, race = ContestQueue(contest, study, quiet), begin(contest, study)
        queue.numbers |= race.numbers
        announce(race.match.on, race.match.match, lambda _: None)
        requested = race.next_round(scores(race.match))
        jobs = jobs_of_round(race.match, list(requested), requested)
        with executor_of(study, queue.progress) as executor:
            runs = ContestExecutor(executor, queue).run(jobs)
            next(runs)
            acts.void(contest, "4", "copied")
            left = {job.run_id: race.numbers[job.arm_id] for job in jobs[1:]}
            assert [left[result.job_id] for result in runs] == [n for n in left.values() if n != 4]
        assert set(race.next_round(scores(race.match))) == {arm for arm, n in race.numbers.items() if n != 4}
        acts.unvoid(contest, "4")
        assert set(race.next_round(scores(race.match))) == set(race.numbers)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_entry_that_kills_workers_in_the_decision_is_left_out(tmp_path: Path) -> None:
    task = Task.load(BLOBS)
    contest = founded(tmp_path, task=task, run_budget=0.5, fixed_steps=True, workers=1).contest
    entered(contest, "one-line", "local")
    carry_on(contest, quiet, until_idle=True)
    contest.state(leaders=[3, 4], deciding="2026-01-01T00:00:00+00:00", close_asked="2026-01-01T00:00:00+00:00")
    killer = Killer(contest.folder, arms_of(contest, numbered(contest, 3).entry_id, ["confirmation"])[0])
    killer.start()
    carry_on(contest, quiet)
    killer.over.set()
    killer.join()
    told = contest.database.fact("announcement")
    assert contest.phase() == "decided" and killer.kills >= 1
    assert [who["number"] for who in told["left_out"]] == [3]
    assert {row["number"] for row in told["rows"]} == {1, 2, 4} and told["best"]["number"] == 4
    (act,) = query(contest.folder, "SELECT record ->> 'because' AS why FROM events WHERE kind = 'act'")
    assert "3 attempts" in act["why"]

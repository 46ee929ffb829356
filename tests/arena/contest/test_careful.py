"""A decision that meets an entry whose runs kill workers: it ends, without that entry, and says so."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from pathlib import Path

import pytest

from analysis.ledger import read
from analysis.study import query
from arena.contest.contest import Contest
from arena.contest.entering import acts
from arena.contest.entering.acts import arms_of
from arena.contest.ranking.decision import begin, decided, left_out
from arena.contest.running.contest_executor import ContestExecutor
from arena.contest.running.contest_queue import MOST_ATTEMPTS, ContestQueue
from arena.contest.running.work import carry_on
from arena.match import announce, jobs_of_round, scores
from arena.measuring import run_job
from arena.study.study import Study
from arena.work.executors import executor_of
from tests.arena.contest.hosting import founded, numbered
from tests.arena.contest.test_contest_queue import run_there
from tests.arena.contest.test_run import entered as people
from tests.arena.contest.test_run import quiet
from tests.arena.test_executor import workers_of
from tests.inner_loop.play import BLOBS
from trainer.task import Task


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


def test_race_runs_all_then_suspects_alone_then_without_them(contest: Contest) -> None:
    people(contest, "local", "one-line")
    contest.state(close_asked="2026-01-01T00:00:00+00:00", deciding="2026-01-01T00:00:00+00:00", leaders=[3, 4])
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
    people(contest, "local", "one-line")
    contest.state(close_asked="2026-01-01T00:00:00+00:00", deciding="2026-01-01T00:00:00+00:00", leaders=[3, 4])
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
    people(contest, "one-line", "local")
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

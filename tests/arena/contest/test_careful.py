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
from arena.contest.entering.acts import arms_of
from arena.contest.ranking.decision import decided, left_out
from arena.contest.running.steward import MOST_ATTEMPTS, Steward
from arena.contest.running.work import carry_on
from arena.study.study import Study
from tests.arena.contest.hosting import founded, numbered
from tests.arena.contest.test_run import entered as people
from tests.arena.contest.test_run import quiet
from tests.arena.contest.test_steward import run_there
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


def test_all_at_once_then_one_by_one_then_without(contest: Contest) -> None:
    people(contest, "local", "one-line")
    contest.state(close_asked="2026-01-01T00:00:00+00:00", deciding="2026-01-01T00:00:00+00:00", leaders=[3, 4])
    with Study.open(contest.folder) as study:
        steward = Steward(contest, study, quiet)
        steward.decide()

        def begun() -> list[int]:
            while steward.next_job():
                pass
            return [hand.number for hand in steward.in_hand.values()]

        def lose(*numbers: int) -> None:
            hands = {hand.number: hand for hand in steward.abandon()}
            for number in numbers:
                steward.lost(hands[number], "a worker died")

        first = contest.config.looks[0]
        assert begun() == [3, 4, 1, 2] * first
        lose(3, 1)  # nobody knows yet over whose run
        assert set(begun()) == {4, 2}
        for hand in list(steward.in_hand.values()):
            assert steward.final
            run_there(steward.final.match, steward.final.arms[hand.number], hand.index or 0, 0.5)
        lose()
        for _ in range(MOST_ATTEMPTS - 1):
            assert begun() == [3]  # alone
            lose(3)
        assert set(left_out(contest, steward.final.entries)) == {3}
        for _ in range(MOST_ATTEMPTS + 1):  # a control is never given up: there is no decision without
            assert begun() == [1]
            lose(1)
        assert "3 attempts" in decided(steward.final)["left_out"][0]["why"]


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

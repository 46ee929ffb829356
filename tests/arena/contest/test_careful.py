"""A decision that meets an entry whose runs kill workers: it ends, without that entry, and says so."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Collection
from pathlib import Path

import pytest

from analysis.ledger import read
from analysis.study import query
from arena.contest import careful
from arena.contest.acts import arms_of
from arena.contest.decision import entered, taking_part
from arena.contest.tables import ContestEntry
from arena.contest.work import carry_on
from arena.race import ArmScore
from arena.study import Study
from arena.task_study import TaskStudy
from tests.arena.contest.hosting import founded
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


def test_all_at_once_then_one_by_one_then_without(tmp_path: Path) -> None:
    contest = founded(tmp_path).contest
    people(contest, "local", "one-line")
    contest.state(close_asked="2026-01-01T00:00:00+00:00", deciding="2026-01-01T00:00:00+00:00", leaders=[3, 4])
    with Study.open(contest.folder) as study:
        entries = taking_part(contest, [3, 4])
        match = entered(TaskStudy(study), entries, "confirmation")
        scores = [ArmScore(arm.arm_id, True, ()) for arm in match.arms]
        lacks = {entry.number for entry in entries}

        def lacking(gone: Collection[int]) -> dict[int, int]:
            return dict.fromkeys(sorted(lacks - set(gone), key=[entry.number for entry in entries].index), 3)

        racer = careful.IsolatingRacer(contest, entries, lacking)
        first, second = match.arms[:2]
        assert racer.next_round(scores) == {arm.arm_id: 3 for arm in match.arms}
        careful.lost(contest, study, "a worker died")  # nobody knows yet over whose run
        for _ in range(careful.MOST_ATTEMPTS):
            assert racer.next_round(scores) == {first.arm_id: 3}
            careful.lost(contest, study, "a worker died")
        assert racer.next_round(scores) == {second.arm_id: 3}
        (left,) = careful.left_out_rows(contest, entries)
        assert left["number"] == 3 and "3 attempts" in left["why"]
        assert set(careful.left_out(contest, entries)) == {3}
        lacks = {1}
        for _ in range(careful.MOST_ATTEMPTS + 2):  # a control is never given up: there is no decision without
            assert racer.next_round(scores) == {match.arms[2].arm_id: 3}
            careful.lost(contest, study, "a worker died")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_entry_that_kills_workers_in_the_decision_is_left_out(tmp_path: Path) -> None:
    task = Task.load(BLOBS)
    contest = founded(tmp_path, task=task, run_budget=0.5, fixed_steps=True, workers=1).contest
    people(contest, "one-line", "local")
    carry_on(contest, quiet, until_idle=True)
    contest.state(leaders=[3, 4], deciding="2026-01-01T00:00:00+00:00", close_asked="2026-01-01T00:00:00+00:00")
    with contest.database.read() as connection:
        entry_id = connection.get_one(ContestEntry, 3).entry_id
    killer = Killer(contest.folder, arms_of(contest, entry_id, ["confirmation"])[0])
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

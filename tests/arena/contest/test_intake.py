"""Entries that are stored together: who no longer waits for the answer keeps nobody else from one."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from sqlalchemy.orm import Session as Connection

from arena.contest.contest import Contest
from arena.contest.entering.entries import Accepted, checked, enter
from arena.serving.intake import Intake
from programs.shelf import starter
from tests.arena.contest.hosting import newcomer


def test_one_who_left_stops_nobody(contest: Contest) -> None:
    person = newcomer(contest, "P")
    intake = Intake(contest.database)

    def store(name: str) -> Callable[[Connection], Accepted]:
        return partial(enter, contest=contest, person=person, read=checked(contest, person, starter(name).raw))

    with contest.database.write():  # the writer waits for this transaction
        first = intake.take(store("local"))
        until = time.monotonic() + 100
        while not first.running() and time.monotonic() < until:
            time.sleep(0.01)
        second = intake.take(store("one-line"))
        assert not first.cancel() and second.cancel()  # the one is being stored, the other waits in line
    assert first.result(100).new
    assert intake.take(store("one-line")).result(100).new

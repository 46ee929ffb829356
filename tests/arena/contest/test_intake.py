"""Entries that are stored together: who no longer waits for the answer keeps nobody else from one."""

from __future__ import annotations

import time
from pathlib import Path

from arena.contest import accounts
from arena.contest.entries import checked
from arena.contest.intake import Intake
from programs.shelf import starter
from tests.arena.contest.hosting import founded


def test_one_who_left_stops_nobody(tmp_path: Path) -> None:
    contest = founded(tmp_path).contest
    person, _ = accounts.join(contest.database, contest.config, "P", "")
    intake = Intake(contest)
    with contest.database.write():  # the writer waits for this transaction
        first = intake.take(person, checked(contest, person, starter("local").raw))
        until = time.monotonic() + 10
        while not first.running() and time.monotonic() < until:
            time.sleep(0.01)
        second = intake.take(person, checked(contest, person, starter("one-line").raw))
        assert not first.cancel() and second.cancel()  # the one is being stored, the other waits in line
    assert first.result(10).new
    assert intake.take(person, checked(contest, person, starter("one-line").raw)).result(10).new

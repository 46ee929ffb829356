"""The processes that run a contest's queue and a project: what they restore, how often they write, how they end."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import event

import arena.home.verifying
from arena.contest.contest import Contest
from arena.contest.entering.entries import change
from arena.contest.ranking.views import entry_of, entry_view
from arena.contest.running import work
from arena.contest.running.contest_queue import ContestQueue
from arena.home.project import Project
from arena.serving.process import Keeper
from arena.study.lock import is_taken, request_stop
from arena.study.study import Study
from tests.arena.contest.hosting import founded, numbered
from tests.arena.contest.test_contest_queue import measured
from tests.arena.home.clients import new_project


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

"""What the tests of a contest share: how long this machine takes changes nothing of what its pages show."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from arena.contest.contest import Contest
from arena.contest.entering import acts
from arena.contest.entering.entries import accept
from arena.contest.running.work import carry_on
from programs.shelf import starter
from tests.arena.contest.hosting import founded, newcomer, quiet


@pytest.fixture(autouse=True)
def the_order_of_the_queue_is_never_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that pauses while it is computed, its readers get the old one for as long as twenty such pauses."""
    monkeypatch.setattr("arena.serving.throttled_cache.PATIENCE", 0.0)
    monkeypatch.setattr("arena.contest.ranking.standing.SNAPSHOT_SECONDS", 1e-9)


@pytest.fixture
def contest(tmp_path: Path) -> Contest:
    return founded(tmp_path).contest


def copied(contest: Contest, folder: Path) -> Contest:
    return Contest.open(Path(shutil.copytree(contest.folder, folder / "contest")))


@pytest.fixture(scope="session")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Contest:
    """The entries 3 of Ada and 4 of Bob have been run; 5, of Cy, copies Ada's, and 6, of Dan, is void. Only read it."""
    contest = founded(tmp_path_factory.mktemp("ran")).contest
    for name, program in {"Ada": "local", "Bob": "one-line", "Cy": "local", "Dan": "one-line"}.items():
        accept(contest, newcomer(contest, name), starter(program).raw)
    acts.void(contest, "6", "sent twice")
    carry_on(contest, quiet, until_idle=True)
    return contest


@pytest.fixture(scope="session")
def ended(ran: Contest, tmp_path_factory: pytest.TempPathFactory) -> Contest:
    """The same contest, closed early and decided. Only read it."""
    contest = copied(ran, tmp_path_factory.mktemp("ended"))
    contest.ask_close("it rains")
    carry_on(contest, quiet)
    return contest


@pytest.fixture
def ran_copy(ran: Contest, tmp_path: Path) -> Contest:
    return copied(ran, tmp_path)


@pytest.fixture
def ended_copy(ended: Contest, tmp_path: Path) -> Contest:
    return copied(ended, tmp_path)

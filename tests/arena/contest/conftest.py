"""What the tests of a contest share: how long this machine takes changes nothing of what its pages show."""

from __future__ import annotations

from pathlib import Path

import pytest

from arena.contest.contest import Contest
from tests.arena.contest.hosting import founded


@pytest.fixture(autouse=True)
def the_order_of_the_queue_is_never_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that pauses while it is computed, its readers get the old one for as long as twenty such pauses."""
    monkeypatch.setattr("arena.serving.throttled_cache.PATIENCE", 0.0)
    monkeypatch.setattr("arena.contest.ranking.standing.SNAPSHOT_SECONDS", 1e-9)


@pytest.fixture
def contest(tmp_path: Path) -> Contest:
    return founded(tmp_path).contest

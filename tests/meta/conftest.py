"""A command as it is typed, and studies to look at."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from tests.conftest import shared
from tests.meta.cli_study import Call, metaloop


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """The command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return metaloop


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two studies, which the tests only read: made once for all processes of this run of the tests."""
    from tests.meta.opened_window import made_studies

    folder = shared(tmp_path_factory) / "window"
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return folder if folder.exists() else made_studies(folder)

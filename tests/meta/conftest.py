"""A command as it is typed, and studies to look at."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from meta.cli.main import run
from tests.conftest import shared
from tests.meta.cli_study import Call


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """The command in this process, in an empty folder: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def carry_out(*args: str) -> tuple[int, str, str]:
        code = run(args)
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return carry_out


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two studies, which the tests only read: made once for all processes of this run of the tests."""
    from tests.meta.opened_window import made_studies

    folder = shared(tmp_path_factory) / "window"
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return folder if folder.exists() else made_studies(folder)

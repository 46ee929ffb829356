"""A command as it is typed, and studies to look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gallery import Gallery
from tests.meta.cli_study import Call, metaloop


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """The command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return metaloop


@pytest.fixture(scope="session")
def root(gallery: Gallery) -> Path:
    """A folder with two studies, which the tests only read."""
    return gallery("window")

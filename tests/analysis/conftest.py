"""A small study that tests read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.analysis import synthetic


@pytest.fixture(scope="session")
def small_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two programs with four runs each; tests only read it."""
    return synthetic.study(tmp_path_factory.mktemp("small"), synthetic.SMALL, runs=4, tries=6, programs=("stock", "p2"))

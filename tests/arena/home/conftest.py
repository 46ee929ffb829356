"""A small project whose trainings are fast and the same each time."""

from __future__ import annotations

from pathlib import Path

import pytest

from arena.home.host import ProjectHost
from arena.home.project import Project
from tests.arena.home.clients import new_project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return new_project(tmp_path / "p")


@pytest.fixture(autouse=True)
def fresh_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """No page shows an earlier state."""
    monkeypatch.setattr("arena.serving.throttled_cache.PATIENCE", 0.0)


@pytest.fixture
def host(project: Project) -> ProjectHost:
    return ProjectHost(project)

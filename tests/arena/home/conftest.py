"""A small project whose trainings are fast and the same each time."""

from __future__ import annotations

from pathlib import Path

import pytest

from arena.home.messages import MessageHost
from arena.home.project import KEY, Project
from arena.home.signing import Signer
from arena.setup import StudySetup
from programs.shelf import starter
from tests.inner_loop.play import BLOBS
from trainer.task import Task


@pytest.fixture
def project(tmp_path: Path, session_cache: Path) -> Project:
    setup = StudySetup("home", Task.load(BLOBS), 1.2, seed=1, fixed_steps=True, programs=[starter("stock")])
    return Project.create(tmp_path / "p", setup, "Blobs", [(starter("stock"), 1.0)])


@pytest.fixture
def host(project: Project) -> MessageHost:
    return MessageHost(project, Signer.at(project.folder / KEY))

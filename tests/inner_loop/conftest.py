"""A real trainer on a real, tiny task, started once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import shared
from tests.inner_loop.play import BLOBS, STREAMS_OF_TESTS
from trainer.data import DataStore
from trainer.experiment import Trainer
from trainer.outcome import Cache
from trainer.task import Task

#: It installs an agent over the network: for a new version of the agent or its recipe, not for each change.
collect_ignore = [] if "METALOOP_MONTHLY" in os.environ else ["test_command_mini.py"]


@pytest.fixture(scope="session")
def task() -> Task:
    return Task.load(BLOBS)


@pytest.fixture(scope="session")
def data(task: Task, tmp_path_factory: pytest.TempPathFactory) -> DataStore:
    return DataStore(task, STREAMS_OF_TESTS, tmp_path_factory.mktemp("splits"))


@pytest.fixture(scope="session")
def uncached(task: Task, data: DataStore) -> Iterator[Trainer]:
    """Fixed steps: a full experiment is charged 0.2 s, and the same source gives the same metric bit for bit."""
    with Trainer(task, data, fixed_steps=True) as started:
        yield started


@pytest.fixture(scope="session")
def trainer(uncached: Trainer) -> Trainer:
    return uncached


@pytest.fixture(scope="session")
def cached(uncached: Trainer, data: DataStore, tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    """What was trained once is not trained again by the many runs that begin alike; the processes of pytest-xdist
    share what they trained."""
    cache = Cache(shared(tmp_path_factory) / "outcomes")
    return Trainer(uncached.task, data, launcher=uncached.launcher, cache=cache, fixed_steps=True)


@pytest.fixture
def metered(trainer: Trainer, data: DataStore) -> Trainer:
    """Charged by measured CPU-seconds, on the same warm launcher, with a hard line that no slow start reaches."""
    return Trainer(replace(trainer.task, hard_extra=1.0), data, launcher=trainer.launcher)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run"

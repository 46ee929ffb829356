"""One warm launcher and one small task for all tests of the trainer: torch is imported once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from trainer import variants
from trainer.data import DataStore
from trainer.experiment import Spec, Trainer
from trainer.outcome import Outcome
from trainer.sandbox.local import LocalLauncher
from trainer.source import Source
from trainer.streams import Streams
from trainer.task import Task


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is found there: neither texts nor the records of checks."""
    monkeypatch.setenv("METALOOP_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    """With a hard line that no slow start reaches."""
    return replace(Task.load(variants.init(tmp_path_factory.mktemp("tasks") / "spiral")), hard_extra=0.5)


@pytest.fixture(scope="session")
def data(task: Task, session_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> DataStore:
    return DataStore(task, Streams.from_seed(1), tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def launcher() -> Iterator[LocalLauncher]:
    launcher = LocalLauncher()
    yield launcher
    launcher.close()


@pytest.fixture(scope="session")
def bare_launcher() -> Iterator[LocalLauncher]:
    """Without a sandbox."""
    launcher = LocalLauncher(sandbox=False)
    yield launcher
    launcher.close()


@pytest.fixture
def trainer(task: Task, data: DataStore, launcher: LocalLauncher) -> Trainer:
    return Trainer(task, data, launcher=launcher)


@pytest.fixture
def with_main(task: Task) -> Callable[[str], Source]:
    """The baseline with other code at the start of main()."""

    def change(code: str) -> Source:
        source = task.baseline()
        body = "".join(f"    {line}\n" for line in code.splitlines())
        return source.with_text("train.py", source.text().replace("def main():\n", f"def main():\n{body}", 1))

    return change


@pytest.fixture
def outcome_of(trainer: Trainer, with_main: Callable[[str], Source]) -> Callable[[str], Outcome]:
    """Run the baseline with some code at the start of main()."""
    return lambda code: trainer.run(Spec(with_main(code), seed=1))

"""Executors by name: the same figures wherever jobs are carried out, and resumed to the same bits."""

from __future__ import annotations

from pathlib import Path

import pytest

from arena.work.choice import VARIABLE, chosen, on_cluster, require_chosen
from arena.work.executors import executor_of
from arena.work.executors.in_process import InProcessExecutor
from arena.work.executors.local import LocalExecutor
from programs.common.errors import NotFound
from tests.conformance import ExecutorConformance
from tests.conformance.studies import MakeExecutor, silent, simulated


@pytest.mark.parametrize("name", ["local", "in-process"])
class TestHere(ExecutorConformance):
    pass


class TestWorkerProcesses(ExecutorConformance):
    @pytest.fixture
    def make(self) -> MakeExecutor:
        return lambda study, progress, tasks: LocalExecutor(study.folder, 2, progress)


@pytest.mark.slow
class TestRay(ExecutorConformance):
    part = "ray"


def test_the_environment_names_the_executor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")
    assert chosen() == "local" and not on_cluster()
    monkeypatch.setenv(VARIABLE, "in-process")
    require_chosen()
    assert chosen() == "in-process" and not on_cluster()
    study = simulated(tmp_path / "s")
    with study, executor_of(study, silent) as executor:
        assert isinstance(executor, InProcessExecutor)
    monkeypatch.setenv(VARIABLE, "slurm")
    with pytest.raises(NotFound, match="no executor 'slurm'") as caught:
        require_chosen()
    assert caught.value.hint == "known are local, ray, in-process"
    monkeypatch.setenv(VARIABLE, "ray")
    assert on_cluster()

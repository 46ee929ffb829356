"""What a study expects of an executor: one result per job, figures that depend on no executor, a stop that drains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from pydantic import JsonValue

from analysis.study import query
from arena.arms import Entry, enter
from arena.choice import EXECUTORS
from arena.drain import Drained
from arena.executor import ClosingExecutor, Progress
from arena.jobs import BaselineJob
from arena.match import play
from arena.race import Allocation
from arena.setup import StudySetup
from arena.study import Study
from arena.task_study import TaskStudy, tasks_of
from meta.conformance.base import LAW, Conformance
from programs.shelf import starter
from trainer.laws.planted import simulated_task
from trainer.task import Task

MakeExecutor = Callable[[Study, Progress, Sequence[TaskStudy]], ClosingExecutor]
FIGURES = """
SELECT 'experiment', experiment_id AS id, number, source_id, status, metric, decision, device_seconds_charged AS spent
FROM experiments
UNION ALL
SELECT 'verification', run_id, seed, trust, status, metric, stream, device_seconds_spent FROM verifications
ORDER BY ALL
"""


class ExecutorConformance(Conformance):
    """On a simulated task, whose runs take milliseconds wherever they are."""

    @pytest.fixture
    def make(self, name: str) -> MakeExecutor:
        return EXECUTORS.get(name)

    @pytest.fixture(scope="session")
    @classmethod
    def here(cls, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, JsonValue]]:
        """The figures of that match played in this process."""
        return played(simulated(tmp_path_factory.mktemp("here") / "s"), EXECUTORS.get("in-process"))

    def test_each_job_has_one_result(self, tmp_path: Path, make: MakeExecutor) -> None:
        study, jobs = simulated(tmp_path / "s"), [BaselineJob("selection", seed) for seed in range(4)]
        with study, make(study, silent, tasks_of(study)) as executor:
            results = list(executor.run(iter(jobs)))
            assert sorted(result.job_id for result in results) == sorted(job.job_id for job in jobs)
            assert {result.state for result in results} == {"finished"}
            assert list(executor.run([])) == []

    def test_figures_are_those_of_this_process(
        self, tmp_path: Path, make: MakeExecutor, here: list[dict[str, JsonValue]]
    ) -> None:
        assert played(simulated(tmp_path / "there"), make) == here
        assert len(here) > 3 * 3 * 8

    def test_a_study_that_was_stopped_is_resumed_to_the_same_bits(
        self, tmp_path: Path, make: MakeExecutor, here: list[dict[str, JsonValue]]
    ) -> None:
        study, seen = simulated(tmp_path / "cut"), []

        def stop_soon(event: Mapping[str, JsonValue]) -> None:
            seen.append(event)
            if len(seen) == 40:
                study.request_stop()

        with pytest.raises(Drained):
            played(study, make, stop_soon)
        assert 0 < len(query(study.folder, FIGURES)) < len(here)
        assert played(Study.open(study.folder), make) == here


def silent(_: Mapping[str, JsonValue]) -> None:
    """Discards the progress."""


def simulated(folder: Path) -> Study:
    task = Task.load(simulated_task(LAW, folder.parent / "task", experiments=8))
    return Study.create(folder, StudySetup("match", task, task.run_budget, seed=4))


def played(study: Study, make: MakeExecutor, progress: Progress = silent) -> list[dict[str, JsonValue]]:
    """The figures of a match of three arms, three runs each."""
    entries = [Entry(starter("stock"), "control"), Entry(starter("local-screen")), Entry(starter("stock"), "a/a")]
    with study, make(study, progress, tasks_of(study)) as executor:
        match = enter(TaskStudy(study), "race", entries, purpose="race", stream="selection")
        play(TaskStudy(study), executor, match, Allocation({arm.arm_id: 3 for arm in match.arms}), progress)
    return query(study.folder, FIGURES)

"""One study, one executor, one queue: jobs of several tasks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analysis.study import query
from arena.arms import Entry, Match, enter
from arena.match import play
from arena.measuring import baseline_metric, measure_baseline, run_job, settle
from arena.race import Allocation
from arena.study.settings import FurtherTask
from arena.study.setup import reference
from arena.study.study import Study
from arena.study.task_study import TaskStudy, tasks_of
from arena.work.executors import executor_of
from arena.work.executors.in_process import InProcessExecutor
from arena.work.executors.local import LocalExecutor
from arena.work.jobs import BaselineJob, from_json, to_json
from arena.work.trainers import MOST_OPEN, Trainers
from programs.common.errors import NotComparable, NotFound
from programs.shelf import starter
from tests.inner_loop.play import BLOBS
from tests.studies import drawn_law, make_study, silent, study_on
from trainer.task import Task

NAMES = ("red", "green", "blue", "white", "black")


def simulated(folder: Path, *names: str) -> Study:
    """A study on the first of these tasks and on the others; each has a law of its own."""
    home, *others = (Task.load(str(drawn_law(folder / name, NAMES.index(name)))) for name in names)
    further = [
        FurtherTask(task=reference(t), task_id=t.task_id, run_budget=(n + 2) * t.cost_seconds)
        for n, t in enumerate(others)
    ]
    return study_on(folder / "study", home, 6 * home.cost_seconds, seed=3, further=further)


def on(study: Study) -> Match:
    return enter(
        TaskStudy(study), f"match-{study.task.name}", [Entry(starter("stock"))], purpose="run", stream="selection"
    )


def test_one_queue_carries_runs_of_every_task(tmp_path: Path) -> None:
    with simulated(tmp_path, "red", "green", "blue") as study, executor_of(study, silent) as executor:
        assert isinstance(executor, InProcessExecutor)
        places = {each.task.name: each for each in tasks_of(study)}
        for each in places.values():
            measure_baseline(each, executor, "selection", on(each).match_id)
        baselines = {name: baseline_metric(study.state, name, "selection", None) for name in places}
        jobs = {
            job.run_id: (name, job)
            for index in range(2)
            for name, each in places.items()
            for job in [run_job(each, on(each), on(each).arms[0], index)]
        }
        for result in executor.run(job for _, job in jobs.values()):
            name, job = jobs[result.job_id]
            settle(places[name], job, on(places[name]).arms[0], result)
        told = query(study.folder, "SELECT task, count(*) n, count(DISTINCT baseline_metric) b FROM verifications "
                     "GROUP BY ALL ORDER BY task")  # fmt: skip
        assert told == [{"task": name, "n": 4, "b": 1} for name in ("blue", "green", "red")]
        budgets = query(study.folder, "SELECT DISTINCT task, device_seconds_budget b FROM runs ORDER BY task")
        assert [row["b"] for row in budgets] == [places[row["task"]].config.run_budget for row in budgets]
        assert len(set(baselines.values())) == 3


def test_a_task_of_a_study_gives_what_it_gives_alone(tmp_path: Path) -> None:
    """The same match on the same task: with another task beside it or as a study's second, the figures are its own."""
    with simulated(tmp_path, "red", "green") as study, executor_of(study, silent) as executor:
        second = tasks_of(study)[1]
        match = on(second)
        (both,) = play(second, executor, match, Allocation({match.arms[0].arm_id: 2}), silent)
        green = second.task
    alone = study_on(tmp_path / "alone", green, 2 * green.cost_seconds, seed=3)
    with alone, executor_of(alone, silent) as executor:
        match = on(alone)
        (single,) = play(TaskStudy(alone), executor, match, Allocation({match.arms[0].arm_id: 2}), silent)
    assert both.gains == single.gains and len(both.gains) == 2


def test_a_job_that_names_no_task_is_for_the_first(tmp_path: Path) -> None:
    study = simulated(tmp_path, "red", "green")
    config = tasks_of(study)[1].config
    assert to_json(BaselineJob("selection", 1))["task"] == ""
    assert from_json({"kind": "baseline", "stream": "selection", "seed": 1}) == BaselineJob("selection", 1)
    assert BaselineJob("selection", 1, task=config.task_id).job_id != BaselineJob("selection", 1).job_id
    assert study.config.at("") is study.config and study.config.at(config.task_id).run_budget == config.run_budget
    with pytest.raises(NotFound, match="no task"):
        study.config.at("t-unknown")


def test_a_few_trainers_are_kept_open(tmp_path: Path) -> None:
    study = simulated(tmp_path, *NAMES)
    with Trainers(study.folder, study.config, cached=False) as trainers:
        ids = [each.config.task_id for each in tasks_of(study)]
        first = trainers.at("")
        assert trainers.at(ids[0]) is first
        for task_id in ids[1:]:
            assert trainers.at(task_id).trainer.task.task_id == task_id
            assert trainers.at(ids[0]) is first  # in use again and again, it stays
        assert len(trainers._open) == MOST_OPEN


def test_a_further_task_that_has_changed_is_refused(tmp_path: Path) -> None:
    study = simulated(tmp_path, "red", "green")
    place = tmp_path / "green" / "task.toml"
    place.write_text(place.read_text() + "\n# another\n")
    with pytest.raises(NotComparable, match="green"):
        tasks_of(study)[1]


def test_all_tasks_see_what_is_read_anew(tmp_path: Path) -> None:
    with simulated(tmp_path, "red", "green") as study:
        away = tasks_of(study)[1]
        study.admit(starter("stock"), generation=0, operator="entry")
        study.look()
        assert away.state is study.state and away.state.programs


@pytest.mark.slow
def test_workers_take_what_trains_and_what_is_told_by_a_law(tmp_path: Path) -> None:
    law = Task.load(str(drawn_law(tmp_path / "law", 2)))
    real = make_study(tmp_path / "s", workers=1)
    config = real.config.model_copy(update={
        "further": [FurtherTask(task=reference(law), task_id=law.task_id, run_budget=law.run_budget)],
    })  # fmt: skip
    config.dump(real.folder / "study.toml")
    study = Study.open(real.folder)
    jobs = [BaselineJob("selection", seed, task=task) for seed in (1, 2) for task in ("", law.task_id)]
    with study, executor_of(study, silent) as executor:
        assert isinstance(executor, LocalExecutor)
        metrics = {result.job_id: result.measurements[0].metric for result in executor.run(jobs)}
    assert set(metrics) == {job.job_id for job in jobs} and len(set(metrics.values())) == 4
    assert json.dumps(metrics) and Task.load(BLOBS).task_id == study.config.task_id

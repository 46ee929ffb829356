"""What the queue makes of runs that fail."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import FunctionType, ModuleType

import pytest

from analysis import ledger
from analysis.ledger.events import BaselineEvent
from analysis.ledger.run_state import StudyState
from analysis.study import query
from arena.arms import Arm, TaskMatch
from arena.contest.contest import Contest
from arena.contest.entering import acts
from arena.contest.entering.entries import accept, change, quota_used
from arena.contest.ranking import standing
from arena.contest.ranking.decision import begin, entered, figures, leaders, taking_part
from arena.contest.ranking.history import progress_of
from arena.contest.ranking.standing import snapshot
from arena.contest.ranking.views import board_view, queue_view
from arena.contest.running import closing, work
from arena.contest.running.arms import CONFIRMATION
from arena.contest.running.contest_executor import ContestExecutor
from arena.contest.running.contest_queue import MOST_ATTEMPTS, ContestQueue, RunInProgress
from arena.contest.settings import REPORT
from arena.contest.web.render import doing
from arena.match import announce
from arena.measuring import run_job, settle
from arena.study.study import Study
from arena.study.task_study import TaskStudy, tasks_of
from arena.work.executors import executor_of
from arena.work.jobs import JobResult, Measurement, RunJob
from inner_loop.events import Event, Experiment, RunEndedEvent, RunStartedEvent
from programs.shelf import starter
from tests.arena.contest.hosting import founded, newcomer, numbered
from tests.events import example


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[ContestQueue]:
    contest = founded(tmp_path).contest
    for name in ("local", "one-line"):
        person = newcomer(contest, f"P {name}")
        accept(contest, person, starter(name).raw)
    with Study.open(contest.folder) as study:
        yield ContestQueue(contest, study, lambda text: None)


def state(contest: Contest, number: int) -> tuple[str, str]:
    entry = numbered(contest, number)
    return entry.state, entry.reason


def begun(queue: ContestQueue, number: int | None = None) -> RunInProgress:
    """The next run, or the next one of that entry, which a worker has taken."""
    while True:
        job = next(queue)
        queue.start(job)
        run = queue.in_progress[job.run_id]
        if number in (None, run.number):
            return run


def loses(queue: ContestQueue, number: int) -> None:
    """The run of this entry, which was alone, is lost."""
    run = begun(queue, number)
    queue.in_progress = {run.job.run_id: run}
    queue.end_runs("the worker died")


def alone(queue: ContestQueue, number: int) -> None:
    """Nobody else waits any more."""
    for other in {1, 2, 3, 4} - {number}:
        change(queue.contest, other, state="verified")


def test_nothing_of_an_entry_is_run_beside_its_screening(queue: ContestQueue) -> None:
    for job in queue:
        queue.start(job)
    runs = queue.in_progress.values()
    assert [run.is_screening for run in runs] == [True] * 4  # both controls and both entries
    assert len({run.number for run in runs}) == 4


def test_a_screening_run_without_a_result_fails_the_entry_alone(queue: ContestQueue) -> None:
    run = begun(queue, 3)
    del queue.in_progress[run.job.run_id]
    queue._screened(run.number, example(RunEndedEvent))
    told, why = state(queue.contest, 3)
    assert told == "failed" and "no experiment of the screening run" in why
    assert {waiting.number for waiting in queue.waiting()[0]} == {1, 2, 4}
    with queue.contest.database.read() as connection:
        assert quota_used(connection, 1) == 1  # its author's entry, and it counts


def test_what_this_host_loses_again_and_again_is_void_and_free(queue: ContestQueue) -> None:
    alone(queue, 3)
    for attempt in range(MOST_ATTEMPTS):
        begun(queue, 3)
        queue.end_runs("the worker died")
        assert (state(queue.contest, 3)[0] == "void") == (attempt == MOST_ATTEMPTS - 1)
    assert "the worker died" in state(queue.contest, 3)[1]
    with queue.contest.database.read() as connection:
        assert quota_used(connection, 1) == 0


def test_a_suspect_goes_last_and_alone(queue: ContestQueue) -> None:
    loses(queue, 3)
    assert 3 not in [begun(queue).number for _ in range(3)]
    assert list(queue) == []  # their runs are in progress: the suspect waits until there is nobody beside it
    queue.in_progress.clear()
    alone(queue, 3)
    assert begun(queue).number == 3 and list(queue) == []


def test_entry_that_was_void_at_a_kill_is_not_run_again(queue: ContestQueue) -> None:
    """Its runs had reached the ledger and not the database; taken back, it must not keep the queue from others."""
    queue.take_over()
    change(queue.contest, 3, state="running")
    measured(queue, 3)
    acts.void(queue.contest, "3", "looks copied")
    queue.take_over()
    acts.unvoid(queue.contest, "3")
    assert state(queue.contest, 3)[0] == "verified"
    assert next(queue)


def test_screening_that_only_the_ledger_has_is_not_run_again(contest: Contest) -> None:
    """As after a kill between the two writes; the runs of others store it meanwhile, and drop it from memory."""
    with Study.open(contest.folder) as study, executor_of(study, lambda _: None) as executor:
        queue = ContestQueue(contest, study, lambda text: None)
        next(ContestExecutor(executor, queue).run(queue))  # then the kill
    work.carry_on(contest, lambda text: None, until_idle=True)
    assert state(contest, 1)[0] == state(contest, 2)[0] == "verified"
    sql = "SELECT record ->> 'run_id' r, record ->> 'number' k FROM events WHERE kind = 'experiment' GROUP BY ALL"
    assert query(contest.folder, f"{sql} HAVING count(*) > 1") == [] != query(contest.folder, sql)


def test_the_queue_keeps_one_state_of_its_ledger(queue: ContestQueue) -> None:
    begun(queue, 3)
    waiting, seen, states = [queue], set[int](), 0
    while waiting:  # all that the queue holds
        one = waiting.pop()
        if id(one) not in seen and not isinstance(one, type | ModuleType | FunctionType):
            seen.add(id(one))
            states += isinstance(one, StudyState)
            waiting += gc.get_referents(one)
    assert states == 1


def measured(queue: ContestQueue, number: int, metric: float | None = None) -> None:
    """The ledger has all runs of the entry; ``metric``: of its scripts, about that (the untouched one: 1)."""
    for index in range(queue.wanted):
        run_there(queue.board, queue.arms_of(number)[1], index, metric)


def run_there(board: TaskMatch, arm: Arm, nth: int, metric: float | None = None) -> None:
    job = run_job(board.on, board.match, arm, nth)
    started = {key: getattr(job, key) for key in ("run_id", "match_id", "arm_id", "program_id", "stream")}
    board.on.record(example(RunStartedEvent, task=board.on.task.name, **started))
    ended = example(RunEndedEvent, run_id=job.run_id, state="finished")
    board.on.record(ended)
    found = () if metric is None else tuple(
        Measurement(seed, "ok", metric + nth / 1000, "", "", 0.0, 0.0) for seed in job.verify_seeds
    )  # fmt: skip
    result = JobResult(job.job_id, "finished", final_is_baseline=metric is None, run=ended, measurements=found)
    untouched_is_one(board.on, job)
    settle(board.on, job, arm, result)


def untouched_is_one(on: TaskStudy, job: RunJob) -> None:
    """The ledger has the untouched script's metric 1 where the run is verified."""
    about = {"task": on.task.name, "stream": job.stream, "seed": 1, "status": "ok", "metric": 1.0}
    for split in job.verify_splits:
        on.record(example(BaselineEvent, **about, splits={split: 1.0} if split else None))


@pytest.mark.parametrize("second", [0.801, 0.9])
def test_difference_of_stocks_arms_is_stated_and_decides_nothing(queue: ContestQueue, second: float) -> None:
    on = tasks_of(queue.study)[0]
    entries = taking_part(queue.contest, [3])
    match = entered(on, entries, CONFIRMATION)
    announce(on, match, lambda _: None)
    for arm, metric in zip(match.arms, (0.5, 0.8, second), strict=True):
        for nth in range(3):
            run_there(TaskMatch(on, match), arm, nth, metric)
    told = figures(queue.contest.config, on, entries, ())
    assert told["outcome"] == "won" and told["gain"] == pytest.approx(0.5, abs=0.01) and "race" in told
    assert f"(A/A) minus stock (control) in these runs: {0.8 - second:+.3f}".replace("-", "−") in told["aa_difference"]


def test_an_entry_that_was_given_up_takes_no_leaders_place(queue: ContestQueue) -> None:
    """Some of its runs are measured, which is not enough to lead on."""
    for number in (3, 4):
        queue.arms_of(number)
        measured(queue, number)
    assert sorted(leaders(queue.contest, queue.study)) == [3, 4]
    alone(queue, 3)
    for _ in range(MOST_ATTEMPTS):
        loses(queue, 3)
    assert leaders(queue.contest, queue.study) == [4]
    assert [row["rank_high"] for row in snapshot(queue.contest).rows] == [1]
    acts.unvoid(queue.contest, "3", "the host is mended")
    queue.record_acts()
    assert sorted(leaders(queue.contest, queue.study)) == [3, 4]


def test_stock_above_every_entry_leaves_the_best_entry_decided(queue: ContestQueue) -> None:
    for number, metric in ((1, 0.5), (2, 0.5), (3, 0.8), (4, 0.7)):
        queue.arms_of(number)
        measured(queue, number, metric)
    assert leaders(queue.contest, queue.study) == [4]


def begins(queue: ContestQueue, run: RunInProgress, *events: Event) -> str:
    """A worker has begun the run and has recorded these events; returns the id of the entry."""
    started = {key: getattr(run.job, key) for key in ("run_id", "match_id", "arm_id", "program_id", "stream")}
    announce(queue.on, queue.screening.match, lambda _: None)
    with ledger.Ledger(queue.study.folder / "ledger", "worker-0") as worker:
        for one in (example(RunStartedEvent, **started), *events):
            worker.append(one.to_record())
    queue.contest.history.follow()
    return numbered(queue.contest, run.number).entry_id


def test_run_in_progress_shows_what_the_ledger_has_of_it(queue: ContestQueue) -> None:
    started = begun(queue)
    about = {"run_id": started.job.run_id, "status": "ok"}
    tried = [
        example(Experiment, experiment_id=str(n), number=n, device_seconds_charged=0.25 * (1 + n), **about)
        for n in range(2)
    ]
    entry_id = begins(queue, started, *tried)
    (run,) = queue.contest.history.progress(entry_id)
    assert (run["experiments"], run["charged"]) == (2, 0.75)
    later = datetime.fromisoformat(run["at"]) + timedelta(seconds=40)
    assert progress_of(run, later) == "Screening run: 2 experiments, 0.75 s charged; latest, 40 s ago: ok"
    measuring = progress_of({**run, "measuring": True}, later)
    assert "2 experiments done; for 40 s, its final script" in measuring
    begins(queue, started, example(RunEndedEvent, run_id=started.job.run_id, state="finished"))
    assert queue.contest.history.progress(entry_id) == []


def test_the_estimate_counts_down_while_nothing_changes(queue: ContestQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    contest, started = queue.contest, begun(queue)
    contest.database.set_fact("pace", seconds=[100.0])
    (run,) = contest.history.progress(begins(queue, started))
    estimates, now = [], datetime.fromisoformat(run["began"])
    for seconds in (0.0, 30.4, 1000.0):
        monkeypatch.setattr(standing, "utc_now", lambda seconds=seconds: now + timedelta(seconds=seconds))
        estimates.append(standing.snapshot(contest).positions[started.number][1])
    assert estimates[0] - estimates[1] == 30.0  # whole seconds
    assert estimates[0] - estimates[2] == pytest.approx(90.0, abs=1.0)  # how much longer than usual is not known
    queue.study.__exit__()  # the queue's process ends
    assert standing.snapshot(contest).positions[started.number][1] == pytest.approx(estimates[0], abs=1.0)


def test_full_disk_after_the_announcement_records_it_once(queue: ContestQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("the disk is full")

    race = begin(queue.contest, queue.study)  # in which nobody runs here
    with monkeypatch.context() as broken, pytest.raises(OSError, match="full"):
        broken.setattr(closing, "compact", full)
        closing.close(queue, race)
    partial = queue.contest.folder / f"{REPORT}.partial"
    partial.mkdir()
    with pytest.raises(IsADirectoryError):
        closing.close(queue, race)
    assert queue.contest.phase() == "decided"  # a report that cannot be written holds nothing up
    partial.rmdir()
    queue.study.__exit__()
    work.carry_on(queue.contest, lambda _: None)
    records = [record for record in ledger.read(queue.study.folder / "ledger") if record["kind"] == "announcement"]
    assert len(records) == 1 and queue.contest.phase() == "decided"
    assert (queue.contest.folder / REPORT).is_file()


def test_the_pages_see_how_many_runs_are_at_work_while_they_are(queue: ContestQueue) -> None:
    number, other = begun(queue).number, 4
    assert number != other
    change(queue.contest, other, state="running")  # between two of its runs
    shown_queue = queue_view(queue.contest)
    assert shown_queue["in_hand"] == 1 and queue.contest.database.fact("pulse")["pid"] == os.getpid()
    shown = {row["number"]: doing(row) for row in shown_queue["rows"]}
    assert (shown[number], shown[other]) == ("screening", "waiting for its next run")


def test_a_void_leaves_the_board_while_runs_are_in_progress(queue: ContestQueue) -> None:
    contest = queue.contest
    for number in (1, 2, 3):
        queue.arms_of(number)
        measured(queue, number, 0.5)
    begun(queue, 4)
    assert [row["rank_high"] for row in board_view(contest)["rows"]] == [3, 3, 3]
    acts.void(contest, "3", "a copy")
    assert [row["rank_high"] for row in board_view(contest)["rows"]] == [2, 2]

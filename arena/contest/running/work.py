"""``python -m arena.contest.running.work FOLDER [PARENT]``: the process that runs a contest's queue.

It holds the study's lock, so only one runs at a time. If runs are lost and a plain experiment fails too, the fault is
the host's: it counts against no entry, and the process tries again later. Otherwise the fault is the entry's: it runs
last and alone from then on, and is given up after a few attempts.
"""

from __future__ import annotations

import time

from analysis.ledger.events import ContestEvent
from arena.contest.contest import Contest
from arena.contest.running.closing import decide, publish
from arena.contest.running.contest_executor import ContestExecutor
from arena.contest.running.contest_queue import ContestQueue, Say
from arena.contest.running.pause import HOSTS, answers
from arena.serving.process import as_process
from arena.study.stop import Drained
from arena.study.study import Study
from arena.work.executors import executor_of
from arena.work.jobs import MeasureJob
from programs.common.errors import MetaloopError

IDLE_SECONDS = 0.3


def carry_on(contest: Contest, say: Say, until_idle: bool = False, count: Say | None = None) -> None:
    """Work until a stop is requested (file `stop`), the contest is decided or, with ``until_idle``, no run is left.
    ``count``: for lines that only say how far the work is; by default ``say``."""
    study = Study.open(contest.folder)
    study.agree()
    with study:
        if contest.phase() == "decided":
            publish(contest)
            return
        if not study.state.entries:
            config = contest.config.model_dump(mode="json", by_alias=True)
            study.record(ContestEvent(body={key: value for key, value in config.items() if key != "schema"}))
        queue = ContestQueue(contest, study, say, count)
        queue.look_around()
        while True:
            queue.take_over()
            try:
                with executor_of(study, queue.progress) as executor:
                    _work(queue, ContestExecutor(executor, queue), until_idle)
                return
            except Drained:
                if (study.folder / "stop").exists():
                    return  # else an entry of the race became void: it goes on without
            except MetaloopError as error:
                study.look()
                _attribute(error, queue)
            if queue.pause.problem is not None:
                if until_idle:
                    return
                queue.pause.wait(study, queue.look_around)


def _work(queue: ContestQueue, executor: ContestExecutor, until_idle: bool) -> None:
    """Run the queue; once it is closed and empty, the race of the leaders. Raises what ends a run."""
    contest, stop = queue.contest, queue.study.folder / "stop"
    while not stop.exists():
        if contest.phase() != "deciding":  # else it is resumed: what was reinstated meanwhile changes nothing any more
            queue.run_entries(executor)
        if stop.exists():
            return
        is_empty = not queue.waiting()[0]
        if contest.phase() == "deciding" or (
            is_empty and contest.phase() == "closing" and contest.state().get("close_asked")
        ):
            decide(queue, executor)
            return
        if is_empty and until_idle:
            return
        queue.look_around()
        time.sleep(IDLE_SECONDS)


def _attribute(error: MetaloopError, queue: ContestQueue) -> None:
    """Pause the queue for an error that every entry would meet; any other counts as a lost run of each entry whose run
    it ended."""
    is_ours = error.kind in HOSTS or not queue.in_progress or not healthy(queue) or not answers(queue.study)
    if is_ours:
        queue.in_progress.clear()
        queue.pause.begin({"kind": error.kind, "message": error.message, "hint": error.hint})
    else:
        queue.end_runs(error.message)


def healthy(queue: ContestQueue) -> bool:
    """Whether a plain experiment succeeds on this host now."""
    study = queue.study
    job = MeasureJob("health", study.task.baseline().files, "search", study.streams.seed("search", "health"))
    try:
        with executor_of(study, queue.progress) as executor:
            (result,) = executor.run([job])
    except (MetaloopError, ValueError) as error:
        queue.say(f"the host cannot run experiments now: {error}")
        return False
    return result.measurements[0].status == "ok"


if __name__ == "__main__":
    as_process(Contest.open, carry_on, "runs this contest's queue", "entry")

"""``python -m arena.contest.work FOLDER [PARENT]``: the process that runs a contest's queue.

It holds the study's lock, so only one runs at a time. If a plain experiment fails too, the fault is the host's: it
counts against no entry, and the process tries again later. Otherwise the fault is the entry's: it runs last and alone
from then on, and is given up after a few attempts.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar, cast

from pydantic import JsonValue
from sqlalchemy.exc import SQLAlchemyError

from analysis.ledger.events import AnnouncementEvent, ContestEvent
from arena.contest.contest import Contest
from arena.contest.decision import FinalRace, decided
from arena.contest.health import LOG
from arena.contest.pause import HOSTS, answers, unstop
from arena.contest.settings import utc_now
from arena.contest.steward import Say, Steward, end
from arena.drain import Drained
from arena.executor import Executor
from arena.executors import executor_of
from arena.jobs import ErrorRecord, MeasureJob
from arena.run_archive import compact
from arena.study import Study
from programs.errors import Busy, MetaloopError
from programs.text import one_line, wrapped

IDLE_SECONDS = 0.3
MOST_BACK_OFF = 60.0
BUSY_SECONDS = 2.0
Opened = TypeVar("Opened")
NICE = 5  # the pages have priority over the runs, which are charged CPU time, not wall time


def carry_on(contest: Contest, say: Say, until_idle: bool = False, count: Say | None = None) -> None:
    """Work until a stop is requested (file `stop`), the contest is decided or, with ``until_idle``, no run is left.
    ``count``: for lines that only say how far the work is; by default ``say``."""
    study = Study.open(contest.folder)
    study.agree()
    with study:
        if not study.state.entries:
            config = contest.config.model_dump(mode="json", by_alias=True)
            study.record(ContestEvent(body={key: value for key, value in config.items() if key != "schema"}))
        _work(Steward(contest, study, say, count), study, say, until_idle)


def _work(steward: Steward, study: Study, say: Say, until_idle: bool) -> None:
    steward.beat()
    steward.put_right()
    wait = 1.0
    while True:
        try:
            with executor_of(study, steward.progress) as executor:
                if _at_work(steward, executor, until_idle):
                    return
            steward.pause.wait(study, lambda: _meanwhile(steward))
        except Drained:
            return
        except MetaloopError as error:
            unstop(study)
            study.look()
            wait = _after(error, steward, say, wait)


def _after(error: MetaloopError, steward: Steward, say: Say, wait: float) -> float:
    """Attribute an error to the host or to entries; returns how long to wait after the host's next error."""
    study = steward.study
    problem: ErrorRecord = {"kind": error.kind, "message": error.message, "hint": error.hint}
    if error.kind in HOSTS:
        steward.abandon()
        steward.pause.begin(problem)
        steward.pause.wait(study, lambda: _meanwhile(steward))
        return 1.0
    say(f"the workers stopped: {error.message}")
    hands = steward.abandon()
    if not healthy(study, steward, say) or not answers(study):
        steward.pause.begin(problem)
        time.sleep(wait)
        return min(2 * wait, MOST_BACK_OFF)
    for hand in {hand.number: hand for hand in hands}.values():  # one loss of each entry
        steward.lost(hand, error.message)
    return 1.0


def _at_work(steward: Steward, executor: Executor, until_idle: bool) -> bool:
    """Run the queue, then, once it is closed, the race of the leaders, until the end (True) or a pause (False)."""
    contest, study = steward.contest, steward.study
    while not (study.folder / "stop").exists():
        if contest.phase() == "deciding" and steward.final is None:
            steward.decide()  # resumed: what was reinstated meanwhile changes nothing any more
        steward.tend(executor)
        if steward.pause.problem is not None:
            return until_idle
        left = steward.final.wanted() if steward.final else steward.waiting()[0]
        if not left and not (study.folder / "stop").exists():
            if steward.final is not None:
                close(steward, steward.final)
                return True
            if contest.phase() == "closing" and contest.state().get("close_asked"):
                steward.decide()
                continue
            if until_idle:
                steward.shown.refresh(force=True)
                steward.courses.follow()
                return True
        _meanwhile(steward)
        time.sleep(IDLE_SECONDS)
    return True


def _meanwhile(steward: Steward) -> None:
    """The periodic work between two polls of the queue."""
    steward.beat()
    steward.record_acts()
    steward.shown.refresh(force=False)
    steward.courses.follow()


def close(steward: Steward, race: FinalRace) -> None:
    """The race is over: record the decision in the ledger, then publish it."""
    contest, study = steward.contest, steward.study
    end(study, race.match.match.match_id)
    announcement = contest.announcement()  # made before an error that came after it
    if not announcement:
        steward.record_acts()
        announcement = decided(race)
        body = {"contest_id": contest.config.contest_id, **announcement}
        study.record(AnnouncementEvent(body=cast("dict[str, JsonValue]", body)))
        contest.database.set_fact("announcement", **announcement)
    steward.pause.over()
    steward.courses.follow()
    contest.state(decided=utc_now().isoformat())
    compact(study.folder)
    steward.count(str(announcement["headline"]))


def healthy(study: Study, steward: Steward, say: Say) -> bool:
    """Whether a plain experiment succeeds on this host now."""
    task = study.task
    job = MeasureJob("health", task.baseline().files, "search", study.streams.seed("search", "health"))
    try:
        with executor_of(study, steward.progress) as executor:
            (result,) = executor.run([job])
    except (MetaloopError, ValueError) as error:
        say(f"the host cannot run experiments now: {error}")
        return False
    return result.measurements[0].status == "ok"


def say_to_log(folder: Path, text: str) -> None:
    """Write a line to stderr and to the log, the end of which is on the host page."""
    print(wrapped(f"{datetime.now(UTC):%H:%M:%S} {one_line(text)}"), file=sys.stderr, flush=True)
    with contextlib.suppress(OSError):  # the other writes report a full disk
        (folder / LOG).parent.mkdir(exist_ok=True)
        with open(folder / LOG, "a", encoding="utf-8") as log:
            log.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {text}\n")


def as_process(
    opened: Callable[[Path], Opened], carry_on: Callable[[Opened, Say], None], waits: str, kept: str
) -> None:
    """The whole of a process that works on the folder ``sys.argv[1]``, after any other that does so has ended.

    ``waits``: said while another one works. ``kept``: what an accident does not lose. It ends with the process whose
    id is ``sys.argv[2]``, if there is one.
    """
    from trainer.inside.metering import die_with_parent

    if sys.argv[2:]:
        die_with_parent()
        if os.getppid() != int(sys.argv[2]):
            return
    os.nice(NICE)
    say = partial(say_to_log, Path(sys.argv[1]))
    try:
        _in_turn(opened(Path(sys.argv[1])), carry_on, say, waits)
    except MetaloopError as error:  # process boundary: the host's log has the reason
        say(f"stopped: {error.message}" + (f" ({error.hint})" if error.hint else ""))
        raise SystemExit(error.exit_code) from None
    except (OSError, SQLAlchemyError) as error:  # the disk is full, or the folder is gone
        say(f"stopped: {in_words(error)} (repair the folder or free the disk; no accepted {kept} is lost)")
        raise SystemExit(1) from None


def _in_turn(project: Opened, carry_on: Callable[[Opened, Say], None], say: Say, waits: str) -> None:
    waited = False
    while True:
        try:
            carry_on(project, say)
            return
        except Busy:
            if not waited:
                say(f"another process {waits}; this server shows the pages and waits for it")
            waited = True
            time.sleep(BUSY_SECONDS)


def in_words(error: Exception) -> str:
    """An error of the operating system or the database in one line."""
    if isinstance(error, OSError):
        return f"{error.filename or 'a file'}: {error.strerror or error}"
    return one_line(str(getattr(error, "orig", error)))


if __name__ == "__main__":
    as_process(Contest.open, carry_on, "runs this contest's queue", "entry")

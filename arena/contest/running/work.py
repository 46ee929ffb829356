"""``python -m arena.contest.running.work FOLDER [PARENT]``: the process that runs a contest's queue.

It holds the study's lock, so only one runs at a time. If a plain experiment fails too, the fault is the host's: it
counts against no entry, and the process tries again later. Otherwise the fault is the entry's: it runs last and alone
from then on, and is given up after a few attempts.
"""

from __future__ import annotations

import time
from typing import cast

from pydantic import JsonValue

from analysis.ledger import read
from analysis.ledger.events import AnnouncementEvent, ContestEvent
from analysis.report.page import report
from analysis.study import read_study
from arena.contest.contest import Contest, without_names
from arena.contest.listing import name_entries
from arena.contest.ranking.decision import FinalRace, decided
from arena.contest.ranking.views import signed_entries
from arena.contest.running.pause import HOSTS, answers
from arena.contest.running.steward import Say, Steward, end
from arena.contest.settings import REPORT
from arena.contest.stored import Announcement
from arena.serving.clock import utc_now
from arena.serving.process import as_process
from arena.study.run_archive import compact
from arena.study.stop import Drained
from arena.study.study import Study
from arena.work.executor import Executor
from arena.work.executors import executor_of
from arena.work.jobs import ErrorRecord, MeasureJob
from programs.common.errors import MetaloopError

IDLE_SECONDS = 0.3
MOST_BACK_OFF = 60.0


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
        _work(Steward(contest, study, say, count), study, say, until_idle)


def _work(steward: Steward, study: Study, say: Say, until_idle: bool) -> None:
    steward.beat()
    wait = 1.0
    while True:
        steward.take_over()
        try:
            with executor_of(study, steward.progress) as executor:
                if _at_work(steward, executor, until_idle):
                    return
            steward.pause.wait(study, lambda: _meanwhile(steward))
        except Drained:
            return
        except MetaloopError as error:
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
                return True
        _meanwhile(steward)
        time.sleep(IDLE_SECONDS)
    return True


def _meanwhile(steward: Steward) -> None:
    """The periodic work between two polls of the queue."""
    steward.beat()
    steward.record_acts()


def close(steward: Steward, race: FinalRace) -> None:
    """The race is over: record the decision in the ledger and publish it, then the report, which may fail."""
    contest, study = steward.contest, steward.study
    end(study, race.match.match.match_id)
    announcement = contest.announcement()  # made before an error that came after it
    if not announcement:
        announcement = announced(steward, race)
        contest.database.set_fact("announcement", **announcement)
    steward.pause.over()
    compact(study.folder)
    contest.publish_head(study)
    contest.state(decided=utc_now().isoformat())
    steward.count(str(announcement["headline"]))
    publish(contest)


def announced(steward: Steward, race: FinalRace) -> Announcement:
    """The announcement as the ledger has it: recorded now, with all entries, unless it was before a kill."""
    contest, study = steward.contest, steward.study
    for record in read(study.folder / "ledger"):
        if record["kind"] == "announcement":
            return cast(Announcement, {key: record[key] for key in Announcement.__annotations__ if key in record})
    steward.record_acts()
    announcement = decided(race)
    while steward.record_acts():  # the host has acted meanwhile
        announcement = decided(race)
    announcement = without_names(announcement)
    announcement["ledger_head"] = contest.publish_head(study)
    about = {"contest_id": contest.config.contest_id, "closed_early": contest.state().get("early", "")}
    body = {**about, **announcement, "entries": signed_entries(contest)}
    study.record(AnnouncementEvent(body=cast("dict[str, JsonValue]", body)))
    return announcement


def publish(contest: Contest) -> None:
    """Write the report of the folder, which the pages show from then on."""
    with read_study(contest.folder) as con:
        name_entries(con, contest.folder)
        html = report(con, contest.folder.name, contest.config.title)
    partial = contest.folder / f"{REPORT}.partial"
    partial.write_bytes(html.encode("utf-8", "replace"))
    partial.replace(contest.folder / REPORT)


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


if __name__ == "__main__":
    as_process(Contest.open, carry_on, "runs this contest's queue", "entry")

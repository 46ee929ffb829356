"""The end of a contest: the race of the leaders is played, and its decision recorded and published."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import cast

from pydantic import JsonValue

from analysis.ledger import read
from analysis.ledger.events import AnnouncementEvent
from analysis.report.page import report
from analysis.study import read_study
from arena.contest.contest import Contest, without_names
from arena.contest.listing import name_entries
from arena.contest.ranking.decision import LeadersRace, begin, decided
from arena.contest.ranking.views import signed_entries
from arena.contest.running.contest_queue import ContestQueue
from arena.contest.running.pace import deciding, progress_line
from arena.contest.settings import REPORT
from arena.contest.stored import Announcement
from arena.match import end, play
from arena.serving.clock import utc_now
from arena.study.run_archive import compact
from arena.work.executor import Executor

LINE_SECONDS = 60.0  # between two lines of progress in a log, at least


def decide(queue: ContestQueue, executor: Executor) -> None:
    """Begin or resume the race of the leaders, and announce what it decides; the other matches are over."""
    for match in (queue.screening, queue.board):
        if match.match.match_id in queue.study.state.matches:
            end(match.on, match.match, lambda _: None)
    queue.count("deciding: the leaders run on fresh seeds and data")
    race = begin(queue.contest, queue.study)
    queue.numbers |= race.numbers
    play(race.match.on, executor, race.match.match, race, RaceLog(queue, race).progress)
    close(queue, race)


class RaceLog:
    """Stores how a race stands, and logs each look, else a line a minute."""

    def __init__(self, queue: ContestQueue, race: LeadersRace) -> None:
        self.queue, self.race = queue, race
        self.looks, self.last_line = 0, time.monotonic()

    def progress(self, event: Mapping[str, JsonValue]) -> None:
        """An event of the match."""
        standings = self.race.standings()
        self.queue.contest.database.set_fact("deciding", **standings)
        looks = standings["looks"]
        if event["kind"] == "match_started":  # looks of before are in the log
            self.looks = len(looks)
        elif len(looks) > self.looks or time.monotonic() - self.last_line > LINE_SECONDS:
            for line in (*looks[self.looks :], progress_line(deciding(self.queue.contest))):
                self.queue.count(line)
            self.looks, self.last_line = len(looks), time.monotonic()


def close(queue: ContestQueue, race: LeadersRace) -> None:
    """The race is over: record the decision in the ledger and publish it, then the report, which may fail."""
    contest, study = queue.contest, queue.study
    announcement = contest.announcement()  # made before an error that came after it
    if not announcement:
        announcement = announced(queue, race)
        contest.database.set_fact("announcement", **announcement)
    queue.pause.over()
    compact(study.folder)
    contest.publish_head(study)
    contest.state(decided=utc_now().isoformat())
    queue.count(str(announcement["headline"]))
    publish(contest)


def announced(queue: ContestQueue, race: LeadersRace) -> Announcement:
    """The announcement as the ledger has it: recorded now, with all entries, unless it was before a kill."""
    contest, study = queue.contest, queue.study
    for record in read(study.folder / "ledger"):
        if record["kind"] == "announcement":
            return cast(Announcement, {key: record[key] for key in Announcement.__annotations__ if key in record})
    queue.record_acts()
    announcement = decided(race)
    while queue.record_acts():  # the host has acted meanwhile
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

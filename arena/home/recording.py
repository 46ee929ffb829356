"""The volunteers' runs as rows of the ledger: for each block a match, its programs as arms, each lease a run.

What a volunteer reports about its experiments is self-reported: each record is checked, renamed to the lease's run and
marked so, or the run is entered without experiments.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue
from sqlalchemy import func, select
from sqlalchemy.orm import Session as Connection

from analysis.ledger.events import MatchEndedEvent
from arena.arms import Entry, Match, enter
from arena.home import policy
from arena.home.checks import files_id
from arena.home.project import Project
from arena.home.tables import BlockRow, Pair, ProposalRow, RunLease, Volunteer
from arena.match import announcement
from arena.serving.clock import utc_now
from arena.study.study import Study
from arena.study.task_study import TaskStudy
from inner_loop.events import (
    DecisionEvent,
    Event,
    Experiment,
    FindingEvent,
    RunEndedEvent,
    RunStartedEvent,
    experiment_id,
)
from programs.common.bounded import json_value
from programs.common.text import one_line
from programs.program import Program
from trainer.data import DataStore
from trainer.streams import Stream
from trainer.task import Task

STREAM: Stream = "selection"
TRUST = "self-reported"
DECISIONS = ("baseline", "keep", "discard", "undecided", "rerun", "crash")
CHEAPEST = 20  # experiments that fail at once, for the cost of one
MOST_TEXT = 64 << 10
MOST_VALUE = 1e15
MOST_KIND = 40  # characters
AT_ONCE = 20  # runs entered before the next look at the proposals


class RunRecorder:
    """Writes to a project's ledger. All of it may be repeated after a kill: the first record of an id counts."""

    def __init__(self, project: Project, study: Study) -> None:
        self.project, self.study, self.on = project, study, TaskStudy(study)
        self.hidden = DataStore(project.task, study.config.streams, study.folder / "data")
        self._ended: set[int] = set()
        self._programs = [Program.parse(text, name) for name, text in project.study.programs]

    def match(self, block: int) -> Match:
        """The match of the runs that started from a block; announced with its first run."""
        for program in self._programs:
            self.study.admit(program, generation=0, operator="entry")
        entries = [Entry(program) for program in self._programs]
        match = enter(self.on, f"block-{block}", entries, purpose="race", stream=STREAM)
        if match.match_id not in self.on.state.matches:
            self.on.record(announcement(self.on, match))
        return match

    def end(self, block: int) -> None:
        """No run of the block is missing any more."""
        match = self.match(block)
        if match.match_id not in self.on.state.ended_matches:
            self.on.record(MatchEndedEvent(match_id=match.match_id, state="finished"))

    def run(self, lease: RunLease, proposal: ProposalRow | None, events: bytes) -> None:
        """Enter a run that was handed in. ``events``: what its volunteer sent, compressed."""
        match = self.match(lease.base)
        if self.on.state.run(lease.lease_id).ended is not None:
            return
        text = gzip.decompress(events).decode() if events else ""
        sent = checked(lease.lease_id, text, most_experiments(self.project.task, lease.budget)) if text else None
        spent = reported(text)
        started = RunStartedEvent(
            task=self.project.task.name,
            device_seconds_budget=lease.budget,
            run_id=lease.lease_id,
            match_id=match.match_id,
            arm_id=_arm_id(match, lease),
            program_id=lease.program_id,
            run_seed=lease.run_seed,
            stream=STREAM,
            researcher=spent.researcher,
        )
        if sent is None:
            said = "the volunteer sent no usable record of this run"
            sent = [FindingEvent(finding="other", text=said, run_id=lease.lease_id)]
        experiments = [event for event in sent if isinstance(event, Experiment)]
        self.study.record(started, *sent, _end(lease, proposal, experiments, spent))

    def pair_seconds(self, connection: Connection) -> float:
        """Device-seconds of two trainings: as the host has measured them so far."""
        measured = connection.scalar(select(func.avg(Pair.device_seconds)))
        return policy.pair_seconds(2 * self.project.task.cost_seconds, measured or 0.0)

    def step(self) -> bool:
        """Enter what was handed in; False if there is nothing to do."""
        with self.project.database.read() as connection:
            due = select(RunLease).where(RunLease.returned_at.is_not(None), RunLease.recorded.is_(False))
            rows = [
                (lease, lease.proposal, lease.events)
                for lease in connection.scalars(due.order_by(RunLease.returned_at).limit(AT_ONCE))
            ]
        for lease, proposal, events in rows:
            self.run(lease, proposal, events)
        if rows:
            with self.project.database.write() as connection:
                for lease, _, _ in rows:
                    row = connection.get_one(RunLease, lease.lease_id)
                    row.recorded, row.events = True, b""  # the ledger has them
        else:
            self._end_matches()
        return bool(rows)

    def _end_matches(self) -> None:
        """End the match of each block that is not main any more and has no run out."""
        with self.project.database.read() as connection:
            unfinished = RunLease.returned_at.is_(None) & (RunLease.expires_at > utc_now())
            open_blocks = set(connection.scalars(select(RunLease.base).where(unfinished).distinct()))
            last = connection.scalar(select(func.max(BlockRow.number))) or 0
            recorded = select(RunLease.base).where(RunLease.base < last, RunLease.recorded).distinct()
            past = set(connection.scalars(recorded))
        for block in sorted(past - open_blocks - self._ended):
            self.end(block)
            self._ended.add(block)


def _arm_id(match: Match, lease: RunLease) -> str:
    return next(arm.arm_id for arm in match.arms if arm.program.program_id == lease.program_id)


def totals(connection: Connection) -> policy.Totals:
    """What all verification has cost so far, and what was contributed. Device-seconds."""
    known = Volunteer.confirmed > 0
    sums = select(known, func.sum(Volunteer.checking), func.sum(Volunteer.contributed)).group_by(known)
    by_known = {bool(is_known): (spent, searched) for is_known, spent, searched in connection.execute(sums)}
    spent_on_known, contributed = by_known.get(True, (0.0, 0.0))
    spent_on_new, claimed = by_known.get(False, (0.0, 0.0))
    return policy.Totals(
        spent=spent_on_known + spent_on_new,
        spent_on_new=spent_on_new,
        contributed=contributed,
        claimed=claimed,
    )


def _end(
    lease: RunLease, proposal: ProposalRow | None, experiments: Iterable[Experiment], spent: Reported
) -> RunEndedEvent:
    """The seconds are those that the host counts; the difference to the reported experiments is entered as such."""
    rows = list(experiments)
    reported = math.fsum(row.device_seconds_charged for row in rows)
    return RunEndedEvent(
        run_id=lease.lease_id,
        state="finished",
        experiments=len(rows),
        charged=lease.device_seconds,
        spent=min(math.fsum(row.device_seconds_spent for row in rows), lease.device_seconds),
        forfeited=max(0.0, lease.device_seconds - reported),
        overshoot=max(0.0, reported - lease.device_seconds),
        final_source_id=files_id(proposal.files) if proposal and proposal.files else "",
        calls=spent.calls,
        tokens=spent.tokens,
        usd=spent.usd,
        claimed_best=None,
        claimed_gain=proposal.claimed if proposal else 0.0,
    )


class Reported(BaseModel):
    """Who followed the program, and what its models cost, in the volunteer's words. It decides nothing."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)

    researcher: Annotated[str, AfterValidator(lambda text: one_line(text)[:MOST_KIND] or "unknown")] = "unknown"
    calls: Annotated[int, Field(ge=0, lt=MOST_VALUE)] = 0
    tokens: Annotated[int, Field(ge=0, lt=MOST_VALUE)] | None = None
    usd: Annotated[float, Field(ge=0, lt=MOST_VALUE)] | None = None


def reported(text: str) -> Reported:
    """Those of a volunteer's record; unknown if it cannot be read, or a value is wild."""
    said: dict[str, JsonValue] = {}
    try:
        for line in text.split("\n"):
            if line.startswith("{") and (record := json_value(line)).get("kind") in ("run_started", "run_ended"):
                said |= record
        return Reported.model_validate(said)
    except ValueError:
        return Reported()


def most_experiments(task: Task, budget: float) -> int:
    """How many experiments a run can have, also if nearly all of them fail at once."""
    return 1 + int(CHEAPEST * budget / task.cost_seconds)


def checked(run_id: str, text: str, most: int) -> list[Event] | None:
    """The experiments and decisions of a volunteer's record, as those of this run and marked as self-reported.

    None if a line is not what it should be, or there are more than ``most`` experiments, or two decisions about one:
    then nothing of the record is used.
    """
    out: list[Event] = []
    numbers: dict[str, str] = {}
    named, decided = set[str](), set[str]()
    try:
        for line in text.split("\n") if text else ():
            record = json_value(line)
            kind = record["kind"]
            if kind == "experiment":
                _refuse_wild(record)
                event = Experiment.parse(record)
                if min(event.device_seconds_charged, event.device_seconds_spent, event.wall_seconds) < 0:
                    return None
                own = experiment_id(run_id, event.number)
                if not 0 <= event.number < most or event.experiment_id in numbers or own in named:
                    return None
                numbers[event.experiment_id] = own
                named.add(own)
                out.append(replace(event, run_id=run_id, experiment_id=own, trust=TRUST, findings=(), cached=False))
            elif kind == "decision":
                decision = DecisionEvent.parse(record)
                known = decision.experiment_id in numbers and decision.experiment_id not in decided
                if not known or decision.decision not in DECISIONS:
                    return None
                decided.add(decision.experiment_id)
                out.append(replace(decision, run_id=run_id, experiment_id=numbers[decision.experiment_id]))
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError):
        return None
    return out


def _refuse_wild(record: Mapping[str, JsonValue]) -> None:
    """Raises ValueError for a number that is not finite or is beyond all measure, and for a text that is too long."""
    values = list(record.values())
    while values:
        value = values.pop()
        if isinstance(value, str) and len(value) > MOST_TEXT:
            raise ValueError("long")
        if isinstance(value, int | float) and not abs(value) < MOST_VALUE:
            raise ValueError("wild")
        values += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()

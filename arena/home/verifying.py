"""Verification: a proposal and the main of that moment are trained in pairs until the test has decided; then the merge.

``python -m arena.home.verifying FOLDER [PARENT]`` is the process that does it. Each pair has a fresh seed and a fresh
hidden split, so that no number of proposals can be fitted to one split. Pairs are in the ledger and blocks in main;
what the database says of proposals follows from both, so that a kill at any point loses nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from pydantic import JsonValue
from sqlalchemy import case, func, select
from sqlalchemy.orm import Session as Connection

from analysis.ledger import read, state_of
from analysis.ledger.events import BlockEvent, PairEvent
from arena.home.chain import Trailers, Voided
from arena.home.checks import rebased, source_of
from arena.home.e_values import SequentialOutcome, judge, level
from arena.home.host import tested_before
from arena.home.policy import NEW_SHARE, WaitingProposal, next_proposal
from arena.home.project import Project, ProposalRow
from arena.serving.clock import utc_now
from arena.serving.process import Say, as_process
from arena.study.stop import Drained
from arena.study.study import Study
from arena.work.executor import Executor
from arena.work.executors import executor_of
from arena.work.jobs import MeasureJob, Measurement
from trainer.data import DataStore
from trainer.streams import Stream

STREAM: Stream = "confirmation"
SIDES = ("main", "proposal")
BATCH = 2  # pairs that are measured before the test looks again
MOST_FAILED = 4  # pairs in which main failed, until the proposal waits no longer
IDLE_SECONDS = 0.3
OK = "ok ok"  # the status of a pair that counts


class Verifier:
    """Tests the proposals of a project, and merges them. It holds the study's lock."""

    def __init__(self, project: Project, study: Study, say: Say) -> None:
        self.project, self.study, self.say = project, study, say
        self.database, self.chain = project.database, project.chain
        self.hidden = DataStore(project.task, study.config.streams, study.folder / "data")
        self.pairs: dict[int, list[PairEvent]] = {}  # of each proposal, in order
        self.recorded = set[str]()  # commits of the blocks that the ledger has
        for record in read(study.folder / "ledger"):
            if record.get("kind") == "pair":
                event = PairEvent.parse(record)
                self.pairs.setdefault(event.proposal, []).append(event)
            elif record.get("kind") == "block":
                self.recorded.add(str(record["commit"]))
        self.settle()

    def step(self, executor: Executor) -> bool:
        """Decide the tests under way, begin others, and train a batch of pairs of each; False if there is nothing to do
        now."""
        if order := self.database.fact("void"):
            self.void(cast("int", order["block"]), str(order["because"]))
            self.database.set_fact("void")
        rows = select(ProposalRow).where(ProposalRow.state == "testing").order_by(ProposalRow.test)
        with self.database.read() as connection:
            testing = list(connection.scalars(rows))
        if any(map(self.decide, testing)):
            return True
        while len(testing) < self.slots(executor) and (chosen := self.next()) is not None:
            if proposal := self.begin(chosen):
                testing.append(proposal)
        return self.measure(executor, testing)

    def slots(self, executor: Executor) -> int:
        """Tests at once: as many as workers, or the devices that a cluster has now, can train batches of."""
        capacity = getattr(executor, "capacity", None)
        workers: int = capacity() if capacity else self.study.config.workers
        return max(1, workers // (2 * BATCH))

    def next(self) -> int | None:
        """The proposal whose test begins now. Only this process changes what that depends on; others add proposals."""
        left, left_for_new = self.pairs_left()
        if left < BATCH:
            return None
        with self.database.read() as connection:
            waiting = waiting_proposals(connection)
            tests = connection.scalar(select(func.max(ProposalRow.test))) or 0
        drawn = self.study.streams.seed("selection", "next", tests, len(waiting)) / 2**31
        gains = (block.merge.gain for block in self.chain.blocks() if block.merge and not block.void)
        largest = max(gains, default=math.inf)
        chosen = next_proposal(waiting, drawn, 2 * largest, left_for_new >= BATCH or largest == math.inf)
        return chosen.proposal_id if chosen else None

    def pairs_left(self) -> tuple[float, float]:
        """How many pairs may still be trained today, and of them for volunteers without a merged proposal."""
        most, day = cast("float", self.database.fact("limits").get("max_pairs_a_day", math.inf)), self.day()
        return most - day["pairs"], NEW_SHARE * most - day["new"]

    def day(self) -> dict[str, Any]:
        """The pairs trained today, in UTC; ``new``: of them for volunteers without a merged proposal."""
        date, known = datetime.now(UTC).date().isoformat(), self.database.fact("day")
        return known if known.get("date") == date else {"date": date, "pairs": 0, "new": 0}

    def begin(self, number: int) -> ProposalRow | None:
        """Merge the change into main and fix the level of the test; None where it no longer applies, or another one has
        the same source. The merge of the texts takes time, and volunteers wait for the lock, so it is done without
        it."""
        main = self.chain.head
        with self.database.read() as connection:
            proposal = connection.get_one(ProposalRow, number)
            same = tested_before(connection, proposal.normal, number)
            tests = connection.scalar(select(func.max(ProposalRow.test))) or 0
        files, merges = self.chain.files(main), sum(block.merge is not None for block in self.chain.blocks())
        source = None if same else rebased(proposal.files, self.chain.files(proposal.base), files)
        with self.database.write() as connection:
            proposal = connection.get_one(ProposalRow, number)
            proposal.changed_at = utc_now()
            if same:
                proposal.state, proposal.reason = "rejected", same
            elif source is None:
                proposal.state, proposal.reason = "outdated", "its change does not apply to main any more"
            elif source == files:
                proposal.state, proposal.reason = "outdated", "its change is in main already"
            else:
                proposal.state, proposal.reason, proposal.main, proposal.source = "testing", "", main, source
                proposal.test, proposal.level = tests + 1, level(tests + 1, merges)
                proposal.first_pair = len(self.pairs.get(number, ()))
        return proposal if proposal.state == "testing" else None

    def measure(self, executor: Executor, testing: Iterable[ProposalRow]) -> bool:
        """Train a batch of pairs of each test, and record them; whether any was to be trained."""
        left, jobs, wanted = self.pairs_left()[0], list[MeasureJob](), dict[str, tuple[int, int]]()
        for proposal in testing:
            number, known = proposal.proposal_id, len(self.pairs.get(proposal.proposal_id, ()))
            sources = source_of(self.chain.files(proposal.main)).files, source_of(proposal.source).files
            for k in range(known, known + BATCH if len(wanted) + BATCH <= left else known):
                split, seed = f"{number}-{k}", self.study.streams.seed(STREAM, "pair", number, k)
                wanted[split] = number, k
                jobs += [
                    MeasureJob(f"{split}-{side}", files, STREAM, seed, split=split)
                    for side, files in zip(SIDES, sources, strict=True)
                ]
        measured = {result.job_id: result.measurements[0] for result in executor.run(jobs)} if jobs else {}
        for split, (number, k) in wanted.items():
            main, changed = (measured.get(f"{split}-{side}") for side in SIDES)
            if main and changed and k == len(self.pairs.get(number, ())):  # else a stop was requested
                self.record(number, k, split, main, changed)
                self.hidden.labelled(split).discard(STREAM)
        return bool(jobs)

    def record(self, number: int, k: int, split: str, main: Measurement, changed: Measurement) -> None:
        """Record a pair with the gain of the proposal over main, in the task's unit (0 where one of them failed), then
        count it."""
        status, difference = f"{status_of(main)} {status_of(changed)}", 0.0
        if status == OK and main.metric is not None and changed.metric is not None:
            difference = self.project.task.sign * (main.metric - changed.metric)
        seconds = main.device_seconds_spent + changed.device_seconds_spent
        pair = PairEvent(
            proposal=number, number=k, seed=main.seed, split=split, base_metric=main.metric, metric=changed.metric,
            difference=difference, status=status, device_seconds_spent=seconds,
        )  # fmt: skip
        self.study.record(pair)
        self.pairs.setdefault(number, []).append(pair)
        day = self.day()
        with self.database.write() as connection:
            proposal = connection.get_one(ProposalRow, number)
            proposal.pairs, proposal.device_seconds = k + 1, proposal.device_seconds + seconds
            merged = (ProposalRow.volunteer_id == proposal.volunteer_id) & (ProposalRow.state == "merged")
            is_new = not connection.scalar(select(func.count()).where(merged))
            self.database.put(connection, "day", date=day["date"], pairs=day["pairs"] + 1, new=day["new"] + is_new)

    def decide(self, proposal: ProposalRow) -> bool:
        """Merge or end a test that is not open any more; whether it did."""
        trained = self.pairs.get(proposal.proposal_id, [])[proposal.first_pair :]
        pairs = [pair for pair in trained if pair.status == OK]
        outcome = judge([pair.difference for pair in pairs], proposal.level)
        failure = next((status for pair in trained if (status := pair.status.split(" ")[1]) != "ok"), None)
        if failure is not None:
            self.end(proposal.proposal_id, f"a training of it failed: {failure}")
        elif outcome.state == "crossed":
            self.merge(proposal, outcome, pairs)
        elif outcome.state == "hopeless" or len(trained) - len(pairs) >= MOST_FAILED:
            self.end(proposal.proposal_id, f"no gain shown in {len(pairs)} pairs")
        else:
            return False
        return True

    def end(self, number: int, reason: str) -> None:
        with self.database.write() as connection:
            proposal = connection.get_one(ProposalRow, number)
            proposal.state, proposal.reason, proposal.changed_at = "rejected", reason, utc_now()
        self.say(f"proposal {number}: {reason}")

    def merge(self, proposal: ProposalRow, outcome: SequentialOutcome, pairs: Sequence[PairEvent]) -> None:
        """A new block."""
        label = proposal.volunteer.label
        trailers = Trailers(
            block=len(self.chain.blocks()),
            proposal=proposal.proposal_id,
            proposer=proposal.volunteer_id,
            base=proposal.main,
            gain=outcome.mean,
            low=outcome.low,
            high=outcome.high,
            unit=self.project.task.unit,
            test=proposal.test,
            level=proposal.level,
            log_e=outcome.log_e,
            seeds=tuple(pair.seed for pair in pairs),
            splits=tuple(pair.split for pair in pairs),
            differences=tuple(pair.difference for pair in pairs),
            ledger=state_of(self.study.folder / "ledger"),
        )
        subject = f"Block {trailers.block}: {outcome.mean:.4g} {trailers.unit} by {label}"
        self.chain.append(proposal.source, subject, trailers.lines(), label, proposal.main)
        self.settle()
        self.say(subject)

    def void(self, number: int, because: str) -> None:
        """Take a block back: main becomes what it was before it, in a new commit, and the proposals of the blocks after
        it are tested again. Nothing for a block that is void already."""
        blocks = self.chain.blocks()
        if not 0 < number < len(blocks) or blocks[number].void or not blocks[number].merge:
            return
        trailers = Voided(
            block=len(blocks),
            void=tuple(block.number for block in blocks[number:] if not block.void),
            because=because,
            base=blocks[-1].commit,
            ledger=state_of(self.study.folder / "ledger"),
        )
        subject = f"Block {trailers.block}: block {number} is void"
        before = self.chain.files(blocks[number - 1].commit)
        self.chain.append(before, subject, trailers.lines(), "host", trailers.base)
        self.settle()
        self.say(f"{subject}: {because}")

    def settle(self) -> None:
        """Bring ledger, clones and proposals in line with main, also after a kill."""
        blocks = self.chain.blocks()
        if missing := [block for block in blocks[1:] if block.commit not in self.recorded]:
            self.chain.publish()
            for unrecorded in missing:
                self.study.record(BlockEvent(body={"commit": unrecorded.commit, **vars(unrecorded.trailers)}))
                self.recorded.add(unrecorded.commit)
        last = {block.merge.proposal: block for block in blocks if block.merge}
        first = {min(block.trailers.void) for block in blocks if isinstance(block.trailers, Voided)}
        with self.database.write() as connection:
            for proposal in connection.scalars(select(ProposalRow).where(ProposalRow.state.in_(("merged", "testing")))):
                block, before = last.get(proposal.proposal_id), proposal.state
                if block and not block.void:
                    proposal.state, proposal.reason = "merged", ""
                elif block and proposal.state == "merged":
                    proposal.state = "void" if block.number in first else "waiting"
                    proposal.reason = block.void
                elif proposal.state == "testing" and proposal.main != blocks[-1].commit:
                    proposal.state, proposal.reason = "waiting", f"main moved on to block {blocks[-1].number}"
                if proposal.state != before:
                    proposal.changed_at = utc_now()


def waiting_proposals(connection: Connection) -> list[WaitingProposal]:
    """The proposals among which the next one is chosen, with the record of their volunteers."""
    merged = func.sum(case((ProposalRow.state == "merged", 1), else_=0))
    refuted = func.sum(case((ProposalRow.state.in_(("rejected", "void")), 1), else_=0))
    records = select(ProposalRow.volunteer_id, merged, refuted).group_by(ProposalRow.volunteer_id)
    known = {volunteer: counts for volunteer, *counts in connection.execute(records)}
    rows = connection.scalars(select(ProposalRow).where(ProposalRow.state == "waiting"))
    return [WaitingProposal(r.proposal_id, r.volunteer_id, r.claimed, *known[r.volunteer_id]) for r in rows]


def status_of(measured: Measurement) -> str:
    """ok for a verified metric alone: what a script says of itself merges nothing."""
    if measured.status != "ok" or measured.metric is None:
        return measured.status if measured.status != "ok" else "unknown"
    return "ok" if measured.trust == "verified" else measured.trust or "unverified"


def carry_on(project: Project, say: Say) -> None:
    """Verify until a stop is requested (file `stop`)."""

    def note(event: Mapping[str, JsonValue]) -> None:
        if event["kind"] == "note":  # such as a node that is not used
            say(str(event["text"]))

    study = Study.open(project.folder)
    study.agree()
    with study, executor_of(study, note) as executor:
        verifier = Verifier(project, study, say)
        while not (study.folder / "stop").exists():
            project.database.heartbeat()
            try:
                is_at_work = verifier.step(executor)
            except Drained:
                return
            if not is_at_work:
                time.sleep(IDLE_SECONDS)


if __name__ == "__main__":
    as_process(Project.open, carry_on, "verifies this project's proposals", "proposal")

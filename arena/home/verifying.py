"""Verification: a proposal and the main of that moment, trained in pairs until the test has decided; then the merge.

Each pair has a fresh seed and a fresh hidden split, so that no number of proposals can be fitted to one split.
A proposal whose training fails in a pair is refused; a pair in which main itself fails says nothing and is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import cast

from sqlalchemy import func, select
from sqlalchemy.orm import Session as Connection

from analysis.ledger import state_of
from analysis.ledger.events import BlockEvent, PairEvent
from arena.home import policy
from arena.home.chain import Trailers, Voided
from arena.home.checks import rebased, source_of
from arena.home.e_values import LEAST_PAIRS, SequentialOutcome, judge, level
from arena.home.project import Project
from arena.home.recording import RunRecorder, totals
from arena.home.tables import BlockRow, Pair, ProposalRow, RunLease, Volunteer, main_block, standing, tested_before
from arena.home.voiding import again, enter_void, trained_pairs, void
from arena.serving.clock import utc_now
from arena.study.study import Study
from arena.work.executor import Executor
from arena.work.jobs import MeasureJob, Measurement
from trainer.streams import Stream

STREAM: Stream = "confirmation"
SIDES = ("main", "proposal")
MEASURED = ("number", "seed", "split", "base_metric", "metric", "difference", "status")  # of a pair
TYPICAL_PAIRS = 2 * LEAST_PAIRS  # of a test about which nothing is known
MOST_OF_ONE = 3  # proposals of one volunteer among which the next one is chosen, those from the newest blocks
MOST_FAILED = 4  # pairs in which main failed, until the proposal waits no longer
Say = Callable[[str], None]


class Verifier:
    """The process that holds the study's lock. It goes on where a killed one stopped: pairs are kept one by one."""

    def __init__(self, project: Project, study: Study, say: Say) -> None:
        self.project, self.study, self.say = project, study, say
        self.database = project.database
        self.recorder = RunRecorder(project, study)

    def put_right(self) -> None:
        """A commit that was made just before a kill gets its row, and clones over HTTP get it."""
        self.project.chain.publish()
        head = self.project.chain.head
        with self.database.write() as connection:
            if connection.scalar(select(BlockRow).where(BlockRow.commit == head)):
                return
            entry = self.project.chain.entry(head)
            if isinstance(entry, Voided):
                enter_void(connection, self.study, entry, head)
            elif entry and (proposal := connection.get(ProposalRow, entry.proposal)):
                self._enter(connection, proposal, entry, head)

    def step(self, executor: Executor) -> bool:
        """Enter runs, and measure a batch of pairs of each test under way; False if there is nothing to do now."""
        if order := self.database.fact("void"):
            if done := void(self.project, self.study, cast("int", order["block"]), str(order["because"])):
                self.say(done)
            self.database.set_fact("void")
        worked = self.recorder.step()
        chosen = self._chosen(self.slots(executor))
        wanted = {number: self._wanted(number) for number in chosen}
        jobs: list[MeasureJob] = []
        for number, numbers in wanted.items():
            with self.database.read() as connection:
                proposal = connection.get_one(ProposalRow, number)
                base = self.project.chain.files(connection.get_one(BlockRow, proposal.base).commit)
            jobs += self._jobs(proposal, base, numbers)
        measured = {each.job_id: each.measurements[0] for each in executor.run(jobs)} if jobs else {}
        for number, numbers in wanted.items():
            trained: dict[int, list[Measurement]] = {}
            for k in numbers:
                names = [_job(number, k, side) for side in SIDES]
                if measured.keys() >= set(names):  # else a stop was requested
                    trained[k] = [measured[name] for name in names]
            self._keep(number, trained)
            for k in trained:
                self.recorder.hidden.labelled(_split(number, k)).discard(STREAM)
        return sum(map(self._decide, chosen)) > 0 or any(wanted.values()) or worked

    def _wanted(self, number: int) -> range:
        """The next pairs of a test; none where it is not open."""
        with self.database.read() as connection:
            proposal = connection.get_one(ProposalRow, number)
            if judge([pair.difference for pair in _pairs(connection, proposal)], proposal.level).state != "open":
                return range(0)
            trained = trained_pairs(connection, number)
            return range(trained, trained + policy.batch(standing(proposal.proposer)))

    def slots(self, executor: Executor) -> int:
        """Tests at once: as many as workers, or the devices that a cluster has now, can train batches of."""
        capacity = getattr(executor, "capacity", None)
        workers: int = capacity() if capacity else self.study.config.workers
        return max(1, workers // (2 * policy.BATCH))

    def _chosen(self, slots: int) -> list[int]:
        """The proposals whose tests are under way, and others, whose tests begin, as far as there are workers."""
        with self.database.read() as connection:
            verifying = select(ProposalRow.proposal_id).where(ProposalRow.state == "verifying")
            out = list(connection.scalars(verifying.order_by(ProposalRow.test)))
        while len(out) < slots and (chosen := self._next(len(out))) is not None:
            if self._begin(chosen):
                out.append(chosen)
        return out

    def _next(self, under_way: int) -> int | None:
        """The proposal whose test begins now. Only this process changes what that depends on; others add proposals."""
        with self.database.read() as connection:
            waiting = _waiting(connection)
            pair_seconds, taken = self.recorder.pair_seconds(connection), totals(connection)
            tests = connection.scalar(select(func.max(ProposalRow.test))) or 0
        drawn = self.study.streams.seed("selection", "next", tests, len(waiting)) / 2**31
        taken = replace(taken, spent=taken.spent + under_way * TYPICAL_PAIRS * pair_seconds)
        chosen = policy.next_proposal(waiting, taken, pair_seconds, TYPICAL_PAIRS, drawn)
        return chosen.proposal_id if chosen else None

    def _begin(self, number: int) -> bool:
        """Rebase on main and fix the level of the test; False where it no longer applies, or another one has the same
        source. The merge of the texts takes time, and volunteers wait for the lock, so it is done without it."""
        with self.database.read() as connection:
            proposal, main = connection.get_one(ProposalRow, number), main_block(connection)
            base = connection.get_one(BlockRow, proposal.lease.base)
            same = tested_before(connection, proposal.normal, number)
            tests = connection.scalar(select(func.max(ProposalRow.test))) or 0
            merged = connection.scalar(select(func.count()).where(BlockRow.proposal_id.is_not(None))) or 0
        files = self.project.chain.files(main.commit)
        whole = None if same else rebased(proposal.files, self.project.chain.files(base.commit), files)
        with self.database.write() as connection:
            proposal = connection.get_one(ProposalRow, number)
            proposal.changed_at = utc_now()
            if same:
                proposal.state, proposal.reason = "refused", same
            elif whole is None:
                proposal.state, proposal.reason = "stale", "its change does not apply to main any more"
            elif whole == files:
                proposal.state, proposal.reason = "stale", "its change is in main already"
            else:
                proposal.state, proposal.base, proposal.source = "verifying", main.number, whole
                proposal.test, proposal.level = tests + 1, level(tests + 1, merged)
            return proposal.state == "verifying"

    def _jobs(self, proposal: ProposalRow, base: Mapping[str, str], numbers: Iterable[int]) -> list[MeasureJob]:
        sources, number = (source_of(base).files, source_of(proposal.source).files), proposal.proposal_id
        return [
            MeasureJob(_job(number, k, side), files, STREAM, self._seed(number, k), split=_split(number, k))
            for k in numbers
            for side, files in zip(SIDES, sources, strict=True)
        ]

    def _seed(self, number: int, k: int) -> int:
        return self.study.streams.seed(STREAM, "pair", number, k)

    def _keep(self, number: int, trained: Mapping[int, Sequence[Measurement]]) -> None:
        """Store pairs of trainings, main and the proposal, by their numbers."""
        events = []
        with self.database.write() as connection:
            proposal = connection.get_one(ProposalRow, number)
            proposer = proposal.proposer
            for k, (main, own) in trained.items():
                event = self._pair(number, k, main, own)
                row = {name: getattr(event, name) for name in MEASURED}
                connection.add(Pair(proposal_id=number, device_seconds=event.device_seconds_spent, **row))
                proposer.checking += event.device_seconds_spent
                if _status(own) != "ok" and proposal.state == "verifying":
                    proposal.state, proposal.reason = "refused", f"a training of it failed: {own.reason or own.status}"
                    proposer.refuted, proposer.streak = proposer.refuted + 1, 0
                events.append(event)
            self.study.record(*events)

    def _pair(self, number: int, k: int, main: Measurement, own: Measurement) -> PairEvent:
        """The gain of the proposal over main, in the task's unit; 0 where one of them failed."""
        statuses, difference = [_status(main), _status(own)], 0.0
        if statuses == ["ok", "ok"] and main.metric is not None and own.metric is not None:
            difference = self.project.task.sign * (main.metric - own.metric)
        return PairEvent(
            proposal=number,
            number=k,
            seed=self._seed(number, k),
            split=_split(number, k),
            base_metric=main.metric,
            metric=own.metric,
            difference=difference,
            status=" ".join(statuses),
            device_seconds_spent=main.device_seconds_spent + own.device_seconds_spent,
        )

    def _decide(self, number: int) -> bool:
        """Merge or end a test that is not open any more; whether it did."""
        with self.database.read() as connection:
            proposal = connection.get_one(ProposalRow, number)
            pairs = _pairs(connection, proposal)
            trained = trained_pairs(connection, number) - proposal.first_pair
        if proposal.state != "verifying":
            return False
        outcome = judge([pair.difference for pair in pairs], proposal.level)
        if outcome.state == "crossed":
            self._merge(number, outcome, pairs)
        elif outcome.state == "hopeless" or trained - len(pairs) >= MOST_FAILED:
            with self.database.write() as connection:
                proposal = connection.get_one(ProposalRow, number)
                proposer = proposal.proposer
                proposal.state, proposal.log_e, proposal.changed_at = "hopeless", outcome.log_e, utc_now()
                proposal.reason = f"no gain shown in {len(pairs)} pairs"
                proposer.refuted, proposer.streak = proposer.refuted + 1, 0
            self.say(f"proposal {number}: {proposal.reason}")
        else:
            return False
        return True

    def _merge(self, number: int, outcome: SequentialOutcome, pairs: list[Pair]) -> None:
        with self.database.read() as connection:
            proposal = connection.get_one(ProposalRow, number)
            proposer, base = proposal.proposer, connection.get_one(BlockRow, proposal.base)
            block = (connection.scalar(select(func.max(BlockRow.number))) or 0) + 1
        trailers = Trailers(
            block=block,
            proposal=number,
            proposer=proposer.volunteer_id,
            base=base.commit,
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
        subject = f"Block {block}: {outcome.mean:.4g} {trailers.unit} by {proposer.label}"
        commit = self.project.chain.append(proposal.source, subject, trailers.lines(), proposer.label, base.commit)
        with self.database.write() as connection:
            self._enter(connection, connection.get_one(ProposalRow, number), trailers, commit)
        self.say(subject)

    def _enter(self, connection: Connection, proposal: ProposalRow, trailers: Trailers, commit: str) -> None:
        proposer = proposal.proposer
        base = connection.scalar(select(BlockRow).where(BlockRow.commit == trailers.base))
        connection.add(
            BlockRow(
                number=trailers.block,
                proposal_id=proposal.proposal_id,
                parent=base.number if base else None,
                commit=commit,
                source_id=source_of(proposal.source).source_id,
                gain=trailers.gain,
                low=trailers.low,
                high=trailers.high,
            )
        )
        proposal.state, proposal.log_e, proposal.changed_at = "merged", trailers.log_e, utc_now()
        proposer.confirmed, proposer.streak = proposer.confirmed + 1, proposer.streak + 1
        for other in connection.scalars(select(ProposalRow).where(ProposalRow.state == "verifying")).all():
            again(connection, other, f"main moved on to block {trailers.block}")
        self.study.record(BlockEvent(body={"commit": commit, **asdict(trailers)}))


def _waiting(connection: Connection) -> list[policy.WaitingProposal]:
    """The proposals among which the next one is chosen."""
    position = func.row_number().over(
        partition_by=ProposalRow.volunteer_id, order_by=(RunLease.base.desc(), ProposalRow.claimed.desc())
    )
    recent = (
        select(ProposalRow.proposal_id, RunLease.base, position.label("position"))
        .join(RunLease, RunLease.lease_id == ProposalRow.lease_id)
        .where(ProposalRow.state == "waiting")
        .subquery()
    )
    rows = connection.execute(
        select(ProposalRow.proposal_id, ProposalRow.claimed, Volunteer, recent.c.base)
        .join(recent, recent.c.proposal_id == ProposalRow.proposal_id)
        .join(Volunteer, Volunteer.volunteer_id == ProposalRow.volunteer_id)
        .where(recent.c.position <= MOST_OF_ONE)
    ).all()
    gains = connection.execute(select(BlockRow.number, BlockRow.gain).where(BlockRow.void == "")).all()
    plausible = 2 * max((gain for block, gain in gains if block), default=math.inf)
    since = {base: sum(gain for block, gain in gains if block > base) for base in {row.base for row in rows}}
    return [
        policy.WaitingProposal(number, standing(who), claimed, who.volunteer_id, since[base], plausible)
        for number, claimed, who, base in rows
    ]


def _pairs(connection: Connection, proposal: ProposalRow) -> list[Pair]:
    """The pairs of the test under way that say something, in order."""
    own = (Pair.proposal_id == proposal.proposal_id) & (Pair.number >= proposal.first_pair)
    rows = connection.scalars(select(Pair).where(own).order_by(Pair.number))
    return [pair for pair in rows if pair.status == "ok ok"]


def _status(measured: Measurement) -> str:
    """ok for a verified metric alone: what a script says of itself merges nothing."""
    if measured.status != "ok" or measured.metric is None:
        return measured.status if measured.status != "ok" else "unknown"
    return "ok" if measured.trust == "verified" else measured.trust or "unverified"


def _job(number: int, k: int, side: str) -> str:
    return f"{number}-{k}-{side}"


def _split(number: int, k: int) -> str:
    return f"{number}-{k}"

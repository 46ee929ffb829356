"""What the host does for volunteers: each request in one transaction, and one that is sent again changes nothing."""

from __future__ import annotations

import gzip
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session as Connection

from arena.home import policy, protocol
from arena.home.checks import bare_texts, checked_files, files_id
from arena.home.project import Project
from arena.home.tables import UNNAMED, BlockRow, ProposalRow, RunLease, Volunteer, main_block, standing, tested_before
from arena.serving.clock import utc_now
from arena.serving.names import checked_name
from arena.serving.tokens import hashed
from programs.common.errors import Busy, CredentialMissing, NotFound, UsageError
from programs.common.ids import content_id

LEASE_FACTOR, LEASE_LEAST = 20, 3600.0  # a lease is out for as many budgets, and at least as long, in seconds
LATE_SECONDS = 7 * 86400.0  # after its end, a lease that is handed in late is still honoured, once


@dataclass(frozen=True)
class GrantedLease:
    """A lease, the block from which its run starts, and how many leases its volunteer may have at once."""

    lease: RunLease
    block: BlockRow
    quota: int


@dataclass(frozen=True)
class CheckedResult:
    """What a result proposes: its files and their normal form, or the fault for which they are refused. ``events``:
    those of the run, compressed."""

    files: dict[str, str]
    normal: str = ""
    fault: str = ""
    events: bytes = b""


@dataclass(frozen=True)
class ProjectHost:
    """Answers the volunteers of a project, who are named by their ids."""

    project: Project

    def volunteer_of(self, token: str) -> int:
        """Whose token it is. Raises CredentialMissing."""
        with self.project.database.read() as connection:
            return _volunteer_of(connection, token)

    def own_lease(self, token: str, lease_id: str) -> RunLease:
        """A lease of the volunteer with this token. Raises CredentialMissing, NotFound, or UsageError where it is too
        late to hand it in."""
        with self.project.database.read() as connection:
            return _own(connection, _volunteer_of(connection, token), lease_id, utc_now())

    def join(self, connection: Connection, volunteer_id: int | None, who: protocol.Introduction) -> protocol.Welcome:
        """A new volunteer with its token, or (``volunteer_id``) what has changed of one."""
        token = "" if volunteer_id else secrets.token_urlsafe(32)
        known = connection.get_one(Volunteer, volunteer_id) if volunteer_id else Volunteer(token_hash=hashed(token))
        name = checked_name(who.name, (UNNAMED,)) if who.name not in ("", known.name) else known.name or ""
        known.name, known.hardware, known.devices = name, who.hardware, who.devices
        connection.add(known)
        connection.flush()
        known.name = known.name or f"{UNNAMED} {known.volunteer_id}"
        return protocol.Welcome(
            volunteer=known.volunteer_id, token=token, leases_at_once=policy.leases_at_once(standing(known))
        )

    def lease(self, connection: Connection, volunteer_id: int, asked: protocol.LeaseRequest) -> GrantedLease:
        """A run to make. A lease that is out and that the volunteer does not have is given again, because its reply was
        lost. A lease that has expired without a return frees its place, and is still honoured later."""
        now, volunteer = utc_now(), connection.get_one(Volunteer, volunteer_id)
        mine = RunLease.volunteer_id == volunteer_id
        out = connection.scalars(
            select(RunLease).where(mine, RunLease.returned_at.is_(None), RunLease.expires_at > now)
        ).all()
        quota = policy.leases_at_once(standing(volunteer))
        if (lost := next((each for each in out if each.lease_id not in asked.have), None)) is not None:
            return GrantedLease(lost, connection.get_one(BlockRow, lost.base), quota)
        if len(out) >= quota:  # not final: a volunteer whose block became void may have more out than it may now
            raise Busy(f"{len(out)} leases are out already", hint="hand one in, or wait until it ends")
        count = connection.scalar(select(func.count()).select_from(RunLease)) or 0
        lease_id = content_id("r", self.project.project_id, str(count))
        streams, config, main = self.project.study.streams, self.project.study, main_block(connection)
        drawn = streams.seed("selection", "program", lease_id) / 2**31
        lease = RunLease(
            lease_id=lease_id,
            volunteer_id=volunteer_id,
            base=main.number,
            program_id=policy.program_for(self.project.shares, drawn),
            run_seed=streams.seed("selection", "run", lease_id),
            budget=config.run_budget,
            issued_at=now,
            expires_at=now + timedelta(seconds=max(LEASE_LEAST, LEASE_FACTOR * config.run_budget)),
            returned_at=None,
        )
        connection.add(lease)
        return GrantedLease(lease, main, quota)

    def work(self, granted: GrantedLease) -> protocol.RunWork:
        """A lease as its volunteer gets it, outside the transaction: git reads the files of a new block."""
        lease, block = granted.lease, granted.block
        name, document = self.project.programs[lease.program_id]
        files = self.project.chain.files(block.commit)
        return protocol.RunWork(
            lease=lease.lease_id,
            task=self.project.bundle.digest,
            base=protocol.RunBase(block=block.number, commit=block.commit, files=files),
            program=protocol.GivenProgram(id=lease.program_id, name=name, text=document),
            run_seed=lease.run_seed,
            budget=lease.budget,
            expires_at=lease.expires_at.isoformat(),
            leases_at_once=granted.quota,
        )

    def check(self, lease: RunLease, result: protocol.RunResult) -> CheckedResult:
        """What of a result takes time, before and outside the transaction of `take`: its files are parsed, its events
        compressed. Nothing for a lease that was handed in before."""
        if lease.returned_at is not None:
            return CheckedResult({})
        events = gzip.compress(result.events.encode(), mtime=0)
        if not result.files:
            return CheckedResult({}, events=events)
        with self.project.database.read() as connection:
            commit = connection.get_one(BlockRow, lease.base).commit
        try:
            base = self.project.chain.files(commit)
            files = checked_files(result.files, self.project.task, base)
            return CheckedResult(files, files_id(bare_texts({**base, **files})), events=events)
        except UsageError as fault:
            return CheckedResult({}, fault=fault.message, events=events)

    def take(
        self,
        connection: Connection,
        volunteer_id: int,
        lease_id: str,
        result: protocol.RunResult,
        checked: CheckedResult,
    ) -> protocol.ResultAnswer:
        """A run's end: its segment of the ledger, and its proposal. A second time, what became of the first.
        ``checked``: what `check` found."""
        now = utc_now()
        lease = _own(connection, volunteer_id, lease_id, now)
        if lease.returned_at is not None:
            return _answer(lease)
        counted = policy.credited(result.device_seconds, lease.budget, (now - lease.issued_at).total_seconds())
        lease.returned_at, lease.device_seconds, lease.experiments = now, counted, result.experiments
        lease.events = checked.events
        connection.get_one(Volunteer, volunteer_id).contributed += counted
        if result.files:
            state, reason = _first_state(connection, result, checked)
            connection.add(
                ProposalRow(
                    lease_id=lease_id,
                    volunteer_id=volunteer_id,
                    state=state,
                    reason=reason,
                    changed_at=now,
                    files=checked.files,
                    normal=checked.normal,
                    claimed=result.claimed_gain,
                )
            )
            connection.flush()
        return _answer(lease)


def _volunteer_of(connection: Connection, token: str) -> int:
    known = connection.scalar(select(Volunteer.volunteer_id).where(Volunteer.token_hash == hashed(token)))
    if known is None:
        hint = "metaloop home join with a new folder (--set folder=DIR) gets one"
        raise CredentialMissing("this needs the token of a volunteer of this project", hint=hint)
    return known


def _own(connection: Connection, volunteer_id: int, lease_id: str, now: datetime) -> RunLease:
    lease = connection.get(RunLease, lease_id)
    if lease is None or lease.volunteer_id != volunteer_id:
        raise NotFound("this volunteer has no such lease")
    if lease.returned_at is None and (now - lease.expires_at).total_seconds() > LATE_SECONDS:
        raise UsageError("this lease ended more than seven days ago", hint="ask for new work")
    return lease


def _first_state(connection: Connection, result: protocol.RunResult, checked: CheckedResult) -> tuple[str, str]:
    """The state of a new proposal, and the reason where it is refused."""
    if fault := checked.fault or tested_before(connection, checked.normal):
        return "refused", fault
    return ("waiting", "") if result.claimed_gain > 0 else ("refused", "it claims no gain")


def _answer(lease: RunLease) -> protocol.ResultAnswer:
    row = lease.proposal
    if row is None:
        return protocol.ResultAnswer(counted_seconds=lease.device_seconds)
    return protocol.ResultAnswer(
        counted_seconds=lease.device_seconds, proposal=row.proposal_id, state=row.state, reason=row.reason
    )

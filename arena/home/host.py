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
from arena.home.tables import OPEN, BlockRow, ProposalRow, RunLease, Volunteer, main_block, standing
from arena.serving.clock import utc_now
from arena.serving.tokens import hashed
from programs.errors import CredentialMissing, NotFound, UsageError
from programs.ids import content_id

LEASE_FACTOR, LEASE_LEAST = 20, 3600.0  # a lease is out for as many budgets, and at least as long, in seconds
LATE_SECONDS = 7 * 86400.0  # after its end, a lease that is handed in late is still honoured, once
MOST_SHOWN = 50  # proposals of a volunteer


@dataclass(frozen=True)
class CheckedFiles:
    """What a result proposes: its files and their normal form, or the fault for which they are refused."""

    files: dict[str, str]
    normal: str = ""
    fault: str = ""


@dataclass(frozen=True)
class ProjectHost:
    """Answers the volunteers of a project, who are named by their ids."""

    project: Project

    def volunteer_of(self, token: str) -> int:
        """Whose token it is. Raises CredentialMissing."""
        with self.project.database.read() as connection:
            known = connection.scalar(select(Volunteer.volunteer_id).where(Volunteer.token_hash == hashed(token)))
        if known is None:
            hint = "metaloop home join with a new folder (--set folder=DIR) gets one"
            raise CredentialMissing("this needs the token of a volunteer of this project", hint=hint)
        return known

    def join(self, connection: Connection, volunteer_id: int | None, who: protocol.Introduction) -> protocol.Welcome:
        """A new volunteer with its token, or (``volunteer_id``) what has changed of one."""
        token = "" if volunteer_id else secrets.token_urlsafe(32)
        known = connection.get_one(Volunteer, volunteer_id) if volunteer_id else Volunteer(token_hash=hashed(token))
        known.name, known.hardware, known.devices = who.name, who.hardware, who.devices
        connection.add(known)
        connection.flush()
        known.name = known.name or f"volunteer {known.volunteer_id}"
        return protocol.Welcome(
            volunteer=known.volunteer_id, token=token, leases_at_once=policy.leases_at_once(standing(known))
        )

    def lease(
        self, connection: Connection, volunteer_id: int, asked: protocol.LeaseRequest, now: datetime | None = None
    ) -> protocol.RunWork:
        """A run to make. A lease that is out and that the volunteer does not have is given again, because its reply was
        lost. A lease that has expired without a return frees its place, and is still honoured later."""
        now, volunteer = now or utc_now(), connection.get_one(Volunteer, volunteer_id)
        mine = RunLease.volunteer_id == volunteer_id
        out = connection.scalars(
            select(RunLease).where(mine, RunLease.returned_at.is_(None), RunLease.expires_at > now)
        ).all()
        quota = policy.leases_at_once(standing(volunteer))
        if (lost := next((each for each in out if each.lease_id not in asked.have), None)) is not None:
            return self._work(connection, lost, quota)
        if len(out) >= quota:
            raise UsageError(f"{len(out)} leases are out already", hint="hand one in, or wait until it ends")
        count = connection.scalar(select(func.count()).select_from(RunLease)) or 0
        lease_id = content_id("r", self.project.project_id, str(count))
        streams, config = self.project.study.streams, self.project.study
        drawn = streams.seed("selection", "program", lease_id) / 2**31
        lease = RunLease(
            lease_id=lease_id,
            volunteer_id=volunteer_id,
            base=main_block(connection).number,
            program_id=policy.program_for(self.project.shares, drawn),
            run_seed=streams.seed("selection", "run", lease_id),
            budget=config.run_budget,
            issued_at=now,
            expires_at=now + timedelta(seconds=max(LEASE_LEAST, LEASE_FACTOR * config.run_budget)),
            returned_at=None,
            sampled=streams.seed("selection", "sampled", lease_id) / 2**31 < policy.SAMPLE_SHARE,
        )
        connection.add(lease)
        return self._work(connection, lease, quota)

    def _work(self, connection: Connection, lease: RunLease, quota: int) -> protocol.RunWork:
        """A lease as its volunteer gets it."""
        name, document = self.project.programs[lease.program_id]
        block = connection.get_one(BlockRow, lease.base)
        return protocol.RunWork(
            lease=lease.lease_id,
            task=self.project.bundle.digest,
            base=protocol.RunBase(
                block=block.number, commit=block.commit, files=self.project.chain.files(block.commit)
            ),
            program=protocol.GivenProgram(id=lease.program_id, name=name, text=document),
            run_seed=lease.run_seed,
            budget=lease.budget,
            expires_at=lease.expires_at.isoformat(),
            leases_at_once=quota,
        )

    def check(self, volunteer_id: int, lease_id: str, result: protocol.RunResult) -> CheckedFiles | None:
        """What of a result takes time: its files are parsed, before and outside the transaction of `take`. None for a
        lease that was handed in before."""
        with self.project.database.read() as connection:
            lease = _own(connection, volunteer_id, lease_id)
            if lease.returned_at is not None:
                return None
            commit = connection.get_one(BlockRow, lease.base).commit
        if not result.files:
            return CheckedFiles({})
        try:
            base = self.project.chain.files(commit)
            files = checked_files(result.files, self.project.task, base)
            return CheckedFiles(files, files_id(bare_texts({**base, **files})))
        except UsageError as fault:
            return CheckedFiles({}, fault=fault.message)

    def take(
        self,
        connection: Connection,
        volunteer_id: int,
        lease_id: str,
        result: protocol.RunResult,
        checked: CheckedFiles | None,
        now: datetime | None = None,
    ) -> protocol.ResultAnswer:
        """A run's end: its segment of the ledger, and its proposal. A second time, what became of the first.
        ``checked``: what `check` found."""
        now, lease = now or utc_now(), _own(connection, volunteer_id, lease_id)
        if lease.returned_at is not None:
            return _answer(lease)
        if (now - lease.expires_at).total_seconds() > LATE_SECONDS:
            raise UsageError("this lease ended more than seven days ago", hint="ask for new work")
        if checked is None:
            raise UsageError("the files of this result were not checked")
        counted = policy.credited(result.device_seconds, lease.budget, (now - lease.issued_at).total_seconds())
        lease.returned_at, lease.device_seconds, lease.experiments = now, counted, result.experiments
        lease.events = gzip.compress(result.events.encode(), mtime=0)
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

    def proposals(self, volunteer_id: int) -> protocol.OwnProposals:
        """The volunteer's own proposals that are open, and the last ones that are not."""
        columns = (ProposalRow.proposal_id, ProposalRow.state, ProposalRow.reason)
        own = select(*columns).where(ProposalRow.volunteer_id == volunteer_id)
        order = (ProposalRow.state.in_(OPEN).desc(), ProposalRow.proposal_id.desc())
        with self.project.database.read() as connection:
            rows = connection.execute(own.order_by(*order).limit(MOST_SHOWN))
            listed = [
                protocol.OwnProposal(proposal=row.proposal_id, state=row.state, reason=row.reason) for row in rows
            ]
            return protocol.OwnProposals(proposals=listed, block=main_block(connection).number)


def _own(connection: Connection, volunteer_id: int, lease_id: str) -> RunLease:
    lease = connection.get(RunLease, lease_id)
    if lease is None or lease.volunteer_id != volunteer_id:
        raise NotFound("this volunteer has no such lease")
    return lease


def _first_state(connection: Connection, result: protocol.RunResult, checked: CheckedFiles) -> tuple[str, str]:
    """The state of a new proposal, and the reason where it is refused."""
    if checked.fault:
        return "refused", checked.fault
    same = select(ProposalRow.proposal_id).where(ProposalRow.normal == checked.normal)
    earlier = connection.scalar(same.order_by(ProposalRow.proposal_id).limit(1))
    if earlier is not None:
        return "refused", f"the same source as proposal {earlier}"
    return ("waiting", "") if result.claimed_gain > 0 else ("refused", "it claims no gain")


def _answer(lease: RunLease) -> protocol.ResultAnswer:
    row = lease.proposal
    if row is None:
        return protocol.ResultAnswer(counted_seconds=lease.device_seconds)
    return protocol.ResultAnswer(
        counted_seconds=lease.device_seconds, proposal=row.proposal_id, state=row.state, reason=row.reason
    )

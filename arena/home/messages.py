"""What the host answers: each message in one transaction, a repeated one with the reply that it had.

A message's number is higher than all before it from its key. The last one again, bit by bit, gets the stored reply, so
that a volunteer whose connection broke can send it once more; any other old number is a replay and refused.
"""

from __future__ import annotations

import gzip
import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import JsonValue
from sqlalchemy import func, select
from sqlalchemy.orm import Session as Connection

from arena.home import policy
from arena.home.checks import bare_texts, checked_files, normal_form
from arena.home.project import Project
from arena.home.signing import Body, SignedMessage, Signer, read_message, sealed
from arena.home.tables import OPEN, BlockRow, ProposalRow, RunLease, Volunteer
from arena.serving.clock import utc_now
from programs.errors import NotFound, UsageError
from programs.ids import content_id
from programs.text import one_line
from trainer.values.constants import is_number

MOST_NAME = 40
MOST_DEVICES = 1024
MOST_EVENTS = 512 << 10  # characters of the ledger segment of a run
LEASE_FACTOR, LEASE_LEAST = 20, 3600.0  # a lease is out for as many budgets, and at least as long, in seconds
LATE_SECONDS = 7 * 86400.0  # after its end, a lease that is handed in late is still honoured, once


@dataclass(frozen=True)
class CheckedProposal:
    """What a sealed proposal holds: its files and their normal form, or the fault for which it is refused."""

    seal: str
    files: dict[str, str]
    normal: str = ""
    fault: str = ""


@dataclass(frozen=True)
class MessageHost:
    """Answers messages; ``signer`` is the host's key."""

    project: Project
    signer: Signer

    def check(self, raw: bytes) -> CheckedProposal | None:
        """What of a message takes time: the files of a proposal are parsed, before and outside the transaction of
        `answer`. None for any other message. Raises UsageError for one that does not fit its seal."""
        message = read_message(raw, self.project.project_id)
        body = message.content() if message.kind == "propose" else {}
        with self.project.database.read() as connection:
            lease = connection.get(RunLease, body.get("lease")) if isinstance(body.get("lease"), str) else None
            sender = connection.scalar(select(Volunteer.volunteer_id).where(Volunteer.key == message.key))
            if lease is None or lease.volunteer_id != sender or lease.returned_at is not None:
                return None
            seal = connection.scalar(select(ProposalRow.seal).where(ProposalRow.lease_id == lease.lease_id))
            commit = connection.get_one(BlockRow, lease.base).commit
        if seal is None:
            return None
        try:
            salt = bytes.fromhex(_text(body, "salt", 64))
        except ValueError:
            raise UsageError("salt: not hexadecimal") from None
        sent = body.get("files")
        files = {name: text for name, text in sent.items() if isinstance(text, str)} if isinstance(sent, dict) else {}
        if files != sent:
            raise UsageError("files: not a mapping of names to texts")
        try:
            fits = sealed(salt, files) == seal
        except UnicodeEncodeError:  # lone surrogates
            raise UsageError("files: not UTF-8") from None
        if not fits:
            raise UsageError("files and salt do not fit the seal")
        base = self.project.chain.files(commit)
        try:
            files = checked_files(files, self.project.task, base)
            return CheckedProposal(seal, files, normal_form(bare_texts({**base, **files})))
        except UsageError as fault:
            return CheckedProposal(seal, files, fault=fault.message)

    def answer(
        self,
        connection: Connection,
        raw: bytes,
        now: datetime | None = None,
        checked: CheckedProposal | None = None,
    ) -> bytes:
        """The signed reply to a message. ``checked``: what `check` found in it. Raises UsageError, and stores nothing,
        for one that is refused."""
        now = now or utc_now()
        message = read_message(raw, self.project.project_id)
        digest = hashlib.sha256(raw).hexdigest()
        volunteer = connection.scalar(select(Volunteer).where(Volunteer.key == message.key))
        if volunteer is not None and message.number == volunteer.number and digest == volunteer.digest:
            return volunteer.reply
        if volunteer is not None and message.number <= volunteer.number:
            raise UsageError(
                f"number {message.number} was used before; the next one is {volunteer.number + 1} or higher",
                hint="a message that was answered must not be sent again",
            )
        body = message.content()
        if message.kind == "hello":
            volunteer = self._hello(connection, message, body, volunteer)
        if volunteer is None:
            raise NotFound("this key has not said hello", hint="send a hello message first")
        if message.kind == "propose":
            reply_body = self.take(connection, volunteer, body, now, checked)
        else:
            reply_body = ANSWERS[message.kind](self, connection, volunteer, body, now)
        reply = (
            self.signer.sign(self.project.project_id, message.number, "reply", reply_body).model_dump_json().encode()
        )
        volunteer.number, volunteer.digest, volunteer.reply = message.number, digest, reply
        return reply

    def _hello(self, connection: Connection, message: SignedMessage, body: Body, known: Volunteer | None) -> Volunteer:
        name = one_line(_text(body, "name", MOST_NAME)).strip() or message.key[:8]
        hardware, devices = one_line(_text(body, "hardware", 120)), _count(body, "devices", 1, MOST_DEVICES)
        volunteer = known or Volunteer(key=message.key, number=0)
        volunteer.name, volunteer.hardware, volunteer.devices = name, hardware, devices
        if known is None:
            connection.add(volunteer)
            connection.flush()
        return volunteer

    def welcome(self, connection: Connection, volunteer: Volunteer, body: Body, now: datetime) -> Body:
        return {"volunteer": volunteer.volunteer_id, "leases_at_once": policy.leases_at_once(standing(volunteer))}

    def lease(self, connection: Connection, volunteer: Volunteer, body: Body, now: datetime) -> Body:
        """A run to make. ``have``: the leases that the volunteer knows of; another that is out is given again, because
        its reply was lost. A lease that has expired without a return frees its place, and is still honoured later."""
        have = body.get("have", [])
        if not isinstance(have, list) or len(have) > MOST_DEVICES:
            raise UsageError(f"have: not a list of at most {MOST_DEVICES} leases")
        mine = RunLease.volunteer_id == volunteer.volunteer_id
        out = connection.scalars(
            select(RunLease).where(mine, RunLease.returned_at.is_(None), RunLease.expires_at > now)
        ).all()
        quota = policy.leases_at_once(standing(volunteer))
        if (lost := next((each for each in out if each.lease_id not in have), None)) is not None:
            return {**self._described(connection, lost), "leases_at_once": quota}
        if len(out) >= quota:
            raise UsageError(f"{len(out)} leases are out already", hint="hand one in, or wait until it ends")
        count = connection.scalar(select(func.count()).select_from(RunLease)) or 0
        lease_id = content_id("r", self.project.project_id, str(count))
        streams, config = self.project.study.streams, self.project.study
        drawn = streams.seed("selection", "program", lease_id) / 2**31
        program_id = policy.program_for(self.project.shares(), drawn)
        block = main_block(connection)
        lease = RunLease(
            lease_id=lease_id,
            volunteer_id=volunteer.volunteer_id,
            base=block.number,
            program_id=program_id,
            run_seed=streams.seed("selection", "run", lease_id),
            budget=config.run_budget,
            issued_at=now,
            expires_at=now + timedelta(seconds=max(LEASE_LEAST, LEASE_FACTOR * config.run_budget)),
            returned_at=None,
            sampled=streams.seed("selection", "sampled", lease_id) / 2**31 < policy.SAMPLE_SHARE,
        )
        connection.add(lease)
        return {**self._described(connection, lease), "leases_at_once": quota}

    def _described(self, connection: Connection, lease: RunLease) -> Body:
        """A lease as its volunteer gets it."""
        name, document = self.project.programs[lease.program_id]
        block = connection.get_one(BlockRow, lease.base)
        return {
            "lease": lease.lease_id,
            "task": self.project.bundle.digest,
            "base": {
                "block": block.number,
                "commit": block.commit,
                "files": {**self.project.chain.files(block.commit)},
            },
            "program": {"id": lease.program_id, "name": name, "text": document},
            "run_seed": lease.run_seed,
            "budget": lease.budget,
            "expires_at": lease.expires_at.isoformat(),
        }

    def seal(self, connection: Connection, volunteer: Volunteer, body: Body, now: datetime) -> Body:
        """The hash of a proposal, before it is shown: who was first is known before others can copy it."""
        lease = self._own(connection, volunteer, body, now)
        if lease.returned_at is not None:
            raise UsageError("this lease was handed in before")
        seal = _text(body, "seal", 64)
        if len(seal) != 64 or set(seal) - set("0123456789abcdef"):
            raise UsageError("seal: not 64 hexadecimal digits")
        known = connection.scalar(
            select(ProposalRow).where((ProposalRow.lease_id == lease.lease_id) | (ProposalRow.seal == seal))
        )
        if known is not None and (known.lease_id, known.seal) == (lease.lease_id, seal):
            return {"proposal": known.proposal_id}
        if known is not None:
            raise UsageError("this lease, or this seal, has a proposal already")
        proposal = ProposalRow(
            lease_id=lease.lease_id,
            volunteer_id=volunteer.volunteer_id,
            seal=seal,
            sealed_at=now,
            state="sealed",
            changed_at=now,
        )
        connection.add(proposal)
        connection.flush()
        return {"proposal": proposal.proposal_id}

    def take(
        self,
        connection: Connection,
        volunteer: Volunteer,
        body: Body,
        now: datetime,
        checked: CheckedProposal | None,
    ) -> Body:
        """A run's end: its segment of the ledger and, if one was sealed, the proposal itself. A second time, the first
        one's result."""
        lease = self._own(connection, volunteer, body, now)
        if lease.returned_at is not None:
            return self._returned(connection, lease)
        spent = _number(body, "device_seconds")
        elapsed = (now - lease.issued_at).total_seconds()
        counted = policy.credited(spent, lease.budget, elapsed)
        proposal = connection.scalar(select(ProposalRow).where(ProposalRow.lease_id == lease.lease_id))
        if proposal is not None:
            if checked is None or checked.seal != proposal.seal:
                raise UsageError("the proposal was sealed meanwhile", hint="send it again")
            self._show(connection, proposal, checked, body, now)
        lease.returned_at, lease.device_seconds = now, counted
        lease.experiments = _count(body, "experiments", 0, 10**6)
        lease.events = gzip.compress(_text(body, "events", MOST_EVENTS).encode(), mtime=0)
        volunteer.contributed += counted
        return self._returned(connection, lease)

    def _returned(self, connection: Connection, lease: RunLease) -> Body:
        proposal = connection.scalar(select(ProposalRow).where(ProposalRow.lease_id == lease.lease_id))
        counted = {"counted_seconds": lease.device_seconds}
        if proposal is None:
            return counted
        return {**counted, "proposal": proposal.proposal_id, "state": proposal.state, "reason": proposal.reason}

    def _show(
        self, connection: Connection, proposal: ProposalRow, checked: CheckedProposal, body: Body, now: datetime
    ) -> None:
        proposal.claimed, proposal.changed_at = _number(body, "claimed_gain", least=-math.inf), now
        if checked.fault:
            proposal.state, proposal.reason = "refused", checked.fault
            return
        proposal.files, proposal.normal = checked.files, checked.normal
        earlier = connection.scalar(
            select(ProposalRow.proposal_id).where(
                ProposalRow.normal == proposal.normal, ProposalRow.proposal_id < proposal.proposal_id
            )
        )
        if earlier is not None:
            proposal.state, proposal.reason = "refused", f"the same source as proposal {earlier}"
        elif proposal.claimed <= 0:
            proposal.state, proposal.reason = "refused", "it claims no gain"
        else:
            proposal.state = "waiting"

    def progress(self, connection: Connection, volunteer: Volunteer, body: Body, now: datetime) -> Body:
        """The state of the volunteer's own proposals that are open, and of the last ones that are not."""
        rows = connection.scalars(
            select(ProposalRow)
            .where(ProposalRow.volunteer_id == volunteer.volunteer_id)
            .order_by(ProposalRow.state.in_(OPEN).desc(), ProposalRow.proposal_id.desc())
            .limit(50)
        )
        own: list[JsonValue] = [{"proposal": row.proposal_id, "state": row.state, "reason": row.reason} for row in rows]
        return {"proposals": own, "block": main_block(connection).number}

    def _own(self, connection: Connection, volunteer: Volunteer, body: Body, now: datetime) -> RunLease:
        lease = connection.get(RunLease, _text(body, "lease", 13))
        if lease is None or lease.volunteer_id != volunteer.volunteer_id:
            raise NotFound("this key has no such lease")
        if (now - lease.expires_at).total_seconds() > LATE_SECONDS:
            raise UsageError("this lease ended more than seven days ago", hint="ask for new work")
        return lease


Answer = Callable[[MessageHost, Connection, Volunteer, Body, datetime], Body]
ANSWERS: Mapping[str, Answer] = {
    "hello": MessageHost.welcome,
    "work": MessageHost.lease,
    "commit": MessageHost.seal,
    "progress": MessageHost.progress,
}


def standing(volunteer: Volunteer) -> policy.KeyRecord:
    return policy.KeyRecord(
        volunteer.contributed,
        volunteer.checking,
        volunteer.confirmed,
        volunteer.refuted,
        volunteer.streak,
        volunteer.devices,
    )


def main_block(connection: Connection) -> BlockRow:
    """The last block of main that is not void."""
    block = connection.scalar(select(BlockRow).where(BlockRow.void == "").order_by(BlockRow.number.desc()).limit(1))
    assert block is not None  # number 0 is made with the project, and never void
    return block


def _text(body: Body, name: str, most: int) -> str:
    value = body.get(name, "")
    if not isinstance(value, str) or len(value) > most:
        raise UsageError(f"{name}: not a text of at most {most} characters")
    return value


def _count(body: Body, name: str, least: int, most: int) -> int:
    value = body.get(name)
    if type(value) is not int or not least <= value <= most:
        raise UsageError(f"{name}: not a whole number from {least} to {most}")
    return value


def _number(body: Body, name: str, least: float = 0.0) -> float:
    value = body.get(name)
    if not is_number(value) or not math.isfinite(value) or value < least:
        raise UsageError(f"{name}: not a finite number" + (f" of {least:g} or more" if least > -math.inf else ""))
    return float(value)

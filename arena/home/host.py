"""What the host does for volunteers: each request is one transaction, and one that is sent again changes nothing."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from sqlalchemy import func, select
from sqlalchemy.orm import Session as Connection

from arena.home.checks import checked_files, files_id, normal_texts
from arena.home.project import UNNAMED, Project, ProposalRow, Volunteer
from arena.home.protocol import Introduction, Proposal, ProposalAnswer, Welcome
from arena.serving.clock import utc_now
from arena.serving.names import checked_name
from arena.serving.tokens import hashed
from programs.common.errors import CredentialMissing, UsageError
from programs.common.ids import content_id

MOST_WAITING = 8  # proposals of a volunteer


@dataclass(frozen=True)
class ProjectHost:
    """Answers the volunteers of a project, who are named by their ids."""

    project: Project
    normal_of: dict[str, str] = field(default_factory=dict)  # of each block's files, by commit

    def volunteer_of(self, token: str) -> int:
        """Whose token it is. Raises CredentialMissing."""
        with self.project.database.read() as connection:
            known = connection.scalar(select(Volunteer.volunteer_id).where(Volunteer.token_hash == hashed(token)))
        if not token or known is None:
            hint = "metaloop home join with a new folder (--set folder=DIR) gets one"
            raise CredentialMissing("this needs the token of a volunteer of this project", hint=hint)
        return known

    def join(self, volunteer_id: int | None, introduction: Introduction) -> Welcome:
        """A new volunteer with its token, or the new name of a known one. Raises UsageError for a name."""
        token = "" if volunteer_id else secrets.token_urlsafe(32)
        name = checked_name(introduction.name, (UNNAMED,)) if introduction.name else ""
        with self.project.database.write() as connection:
            row = connection.get_one(Volunteer, volunteer_id) if volunteer_id else Volunteer(token_hash=hashed(token))
            row.name = name or row.name or ""
            connection.add(row)
            connection.flush()
            return Welcome(volunteer=row.volunteer_id, token=token)

    def propose(self, volunteer_id: int, proposal: Proposal) -> ProposalAnswer:
        """Check a proposal and store it, or answer what became of it. The same base and files are the same proposal."""
        parts = (part for name in sorted(proposal.files) for part in (name, proposal.files[name]))
        content = content_id("p", proposal.base, *parts)
        with self.project.database.read() as connection:
            if known := stored(connection, volunteer_id, content):
                return self.answer(known)
        try:
            normal = self.checked(proposal)
        except UsageError as fault:  # not stored: the same proposal is refused again
            return ProposalAnswer(state="refused", reason=fault.message)
        with self.project.database.write() as connection:
            if known := stored(connection, volunteer_id, content):
                return self.answer(known)
            if earlier := tested_before(connection, normal):
                return ProposalAnswer(state="refused", reason=earlier)
            waiting = (ProposalRow.volunteer_id == volunteer_id) & (ProposalRow.state == "waiting")
            count = connection.scalar(select(func.count()).where(waiting)) or 0
            if count >= MOST_WAITING:
                return ProposalAnswer(state="later", reason=f"{count} of your proposals wait for their tests")
            row = ProposalRow(
                volunteer_id=volunteer_id,
                content=content,
                base=proposal.base,
                files=dict(proposal.files),
                normal=normal,
                claimed=proposal.gain,
                claimed_error=proposal.error,
                changed_at=utc_now(),
            )
            connection.add(row)
            connection.flush()
            return self.answer(row)

    def checked(self, proposal: Proposal) -> str:
        """The hash of the whole source without layout and comments. Raises UsageError with the first fault."""
        if proposal.base not in {block.commit for block in self.project.chain.blocks()}:
            raise UsageError("its base is no block of main")
        if proposal.gain <= 0:
            raise UsageError("it claims no gain")
        base = self.project.chain.files(proposal.base)
        files = checked_files(proposal.files, self.project.task, base)
        normal = files_id(normal_texts({**base, **files}))
        if proposal.base not in self.normal_of:
            self.normal_of[proposal.base] = files_id(normal_texts(base))
        if normal == self.normal_of[proposal.base]:
            raise UsageError("the proposal changes nothing but layout and comments")
        return normal

    def answer(self, row: ProposalRow) -> ProposalAnswer:
        block = self.project.chain.block_of(row.proposal_id)
        return ProposalAnswer(state=row.state, reason=row.reason, proposal=row.proposal_id, block=block)


def stored(connection: Connection, volunteer_id: int, content: str) -> ProposalRow | None:
    same = (ProposalRow.volunteer_id == volunteer_id) & (ProposalRow.content == content)
    return connection.scalar(select(ProposalRow).where(same))


def tested_before(connection: Connection, normal: str, proposal_id: int = 0) -> str:
    """Why a proposal with this normal form is not tested: the test of another one has begun. Else empty. One that only
    waits blocks nothing, because it may wait for ever: its volunteer may claim next to no gain."""
    tested = (ProposalRow.normal == normal) & (ProposalRow.test > 0) & (ProposalRow.proposal_id != proposal_id)
    earlier = connection.scalar(select(func.min(ProposalRow.proposal_id)).where(tested))
    return f"the same source as proposal {earlier}" if earlier else ""

"""A block is taken back: main is rebuilt without it, and what was built on it is verified again."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import func, select
from sqlalchemy.orm import Session as Connection

from analysis.ledger import state_of
from analysis.ledger.events import BlockEvent
from arena.home.chain import Voided
from arena.home.project import Project
from arena.home.tables import BlockRow, Pair, ProposalRow, main_block
from arena.serving.clock import utc_now
from arena.study.study import Study


def void(project: Project, study: Study, number: int, because: str) -> str:
    """Take a block back. Main becomes what it was before it, in a new commit; the proposals of the blocks after it
    are verified again. Returns what was done: nothing for a block that is void already."""
    with project.database.write() as connection:
        block = connection.get(BlockRow, number)
        if block is None or block.void or block.proposal_id is None:
            return ""
        later = connection.scalars(
            select(BlockRow).where(BlockRow.number >= number, BlockRow.void == "").order_by(BlockRow.number)
        ).all()
        main = main_block(connection)
        entry = Voided(
            block=(connection.scalar(select(func.max(BlockRow.number))) or 0) + 1,
            void=tuple(each.number for each in later),
            because=because,
            base=main.commit,
            ledger=state_of(study.folder / "ledger"),
        )
        before = connection.scalar(select(BlockRow.commit).where(BlockRow.number == block.parent)) or ""
        files = project.chain.files(before)
        subject = f"Block {entry.block}: block {number} is void"
        commit = project.chain.append(files, subject, entry.lines(), "host", main.commit)
        enter_void(connection, study, entry, commit)
    return f"{subject}: {because}"


def enter_void(connection: Connection, study: Study, entry: Voided, commit: str) -> None:
    """Enter a commit that takes blocks back into the tables and the ledger."""
    first, main = min(entry.void), connection.scalar(select(BlockRow).where(BlockRow.commit == entry.base))
    for block in connection.scalars(select(BlockRow).where(BlockRow.number.in_(entry.void))).all():
        block.void = entry.because if block.number == first else f"it was built on block {first}"
        if (proposal := block.proposal) is None:
            continue
        proposer = proposal.proposer
        proposer.confirmed -= 1
        proposal.changed_at = utc_now()
        if block.number == first:
            proposal.state, proposal.reason = "void", entry.because
            proposer.refuted, proposer.streak = proposer.refuted + 1, 0
        else:
            again(connection, proposal, f"block {first} is void")
    for proposal in connection.scalars(select(ProposalRow).where(ProposalRow.state == "verifying")).all():
        again(connection, proposal, f"block {first} is void")
    restored = connection.scalar(
        select(BlockRow).where(BlockRow.number < first, BlockRow.void == "").order_by(BlockRow.number.desc()).limit(1)
    )
    source_id, parent = restored.source_id if restored else "", main.number if main else None
    connection.add(BlockRow(number=entry.block, parent=parent, commit=commit, source_id=source_id))
    study.record(BlockEvent(body={"commit": commit, **asdict(entry)}))


def again(connection: Connection, proposal: ProposalRow, reason: str) -> None:
    """Verify a proposal from the start: what was measured beside a main that is void does not count."""
    trained = trained_pairs(connection, proposal.proposal_id)
    proposal.state, proposal.reason, proposal.first_pair = "waiting", reason, trained
    proposal.changed_at = utc_now()


def trained_pairs(connection: Connection, number: int) -> int:
    """How many pairs of a proposal were trained, in all its tests."""
    return connection.scalar(select(func.count()).where(Pair.proposal_id == number)) or 0

"""Disputes: objections of participants to an entry, and the host's answers. Nothing is deleted."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from arena.contest.settings import utc_now
from arena.contest.tables import Dispute, DisputeRow, Person
from programs.errors import NotFound, UsageError

if TYPE_CHECKING:
    from arena.contest.contest import Contest

LEAST_REASON, MOST_REASON, MOST_ANSWER = 10, 1000, 4000  # characters
MOST_OPEN, MOST_EVER = 5, 50  # disputes of one person
MOST_LISTED = 500


def raise_dispute(contest: Contest, number: int, person: Person, reason: str) -> Dispute:
    """Store a dispute of ``person`` about entry ``number``; repeated while it is open, it stays one dispute.

    Raises UsageError for a reason of the wrong length or too many disputes of this person.
    """
    reason = checked_text(reason, "a dispute", LEAST_REASON, MOST_REASON)
    with contest.database.write() as connection:
        mine = select(Dispute).where(Dispute.person_id == person.person_id)
        same = connection.scalar(mine.where(Dispute.number == number, Dispute.reason == reason))
        if same is not None and same.answered_at is None:
            return same
        counted = select(func.count()).select_from(Dispute).where(Dispute.person_id == person.person_id)
        ever, still = connection.scalar(counted), connection.scalar(counted.where(Dispute.answered_at.is_(None)))
        if (still or 0) >= MOST_OPEN or (ever or 0) >= MOST_EVER:
            hint = f"at most {MOST_OPEN} open at once and {MOST_EVER} in all; wait for the host's answers"
            raise UsageError(f"{person.name} has raised {ever} disputes, {still} of them open", hint=hint)
        made = Dispute(number=number, person_id=person.person_id, reason=reason, raised_at=utc_now(), answer="")
        connection.add(made)
        connection.flush()
        connection.refresh(made, ["person", "entry"])  # read after this transaction
    return made


def answer(contest: Contest, dispute_id: int, text: str) -> Dispute:
    """Store the host's answer, which is public. Raises NotFound, or UsageError if it is empty or too long."""
    text = checked_text(text, "an answer", 1, MOST_ANSWER)
    with contest.database.write() as connection:
        dispute = connection.get(Dispute, dispute_id) if 0 < dispute_id < 1 << 63 else None  # the range of SQLite
        if dispute is None:
            raise NotFound(f"no dispute {dispute_id}", hint="the host page lists them")
        dispute.answer, dispute.answered_at = text, utc_now()
    return dispute


def disputes_of(contest: Contest, *numbers: int) -> list[DisputeRow]:
    """The disputes about these entries, oldest first."""
    return _rows(contest, select(Dispute).where(Dispute.number.in_(numbers)).order_by(Dispute.dispute_id))


def disputes(contest: Contest, open_only: bool = False, most: int | None = MOST_LISTED) -> list[DisputeRow]:
    """The disputes: open ones first, oldest first; then answered ones, latest first; at most ``most``."""
    query = select(Dispute).order_by(Dispute.answered_at.is_not(None), Dispute.answered_at.desc(), Dispute.dispute_id)
    return _rows(contest, query.where(Dispute.answered_at.is_(None)) if open_only else query, most)


def _rows(contest: Contest, query: Any, most: int | None = MOST_LISTED) -> list[DisputeRow]:
    with contest.database.read() as connection:
        matches: Sequence[Dispute] = connection.scalars(query.limit(most)).all()
        return [dispute.row() for dispute in matches]


def checked_text(text: str, what: str, least: int, most: int) -> str:
    """The text without invisible characters, with Unix line ends. Raises UsageError for its length."""
    seen = "".join(c for c in text.replace("\r\n", "\n") if c == "\n" or unicodedata.category(c)[0] != "C").strip()
    if not least <= len(seen) <= most:
        raise UsageError(
            f"{what} must have {least} to {most} characters, not {len(seen)}", hint="say what is wrong and where"
        )
    return seen

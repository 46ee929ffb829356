"""Disputes: what a participant holds against an entry, own or other, and what the host answers. Nothing is deleted."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from arena.contest.settings import utc_now
from arena.contest.tables import Dispute, Person
from programs.errors import NotFound, UsageError

if TYPE_CHECKING:
    from arena.contest.contest import Contest

LEAST_REASON, MOST_REASON, MOST_ANSWER = 10, 1000, 4000  # characters
MOST_OPEN, MOST_EVER = 5, 50  # disputes of one person
MOST_LISTED = 500


def raise_dispute(contest: Contest, number: int, person: Person, reason: str) -> Dispute:
    """Write a dispute of ``person`` about entry ``number`` down; told twice while it is open, it is the same one.

    Raises UsageError for a reason that is too short or too long, or where this person has too many.
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
        connection.refresh(made, ["person", "entry"])  # they are read when this transaction has ended
    return made


def answer(contest: Contest, dispute_id: int, text: str) -> Dispute:
    """The host's answer, which everybody reads. Raises NotFound, or UsageError for an empty or too long one."""
    text = checked_text(text, "an answer", 1, MOST_ANSWER)
    with contest.database.write() as connection:
        dispute = connection.get(Dispute, dispute_id) if 0 < dispute_id < 1 << 63 else None  # SQLite has no more
        if dispute is None:
            raise NotFound(f"no dispute {dispute_id}", hint="the host's page lists them")
        dispute.answer, dispute.answered_at = text, utc_now()
    return dispute


def disputes_of(contest: Contest, number: int) -> list[dict[str, Any]]:
    """Those about one entry, the oldest first."""
    return _rows(contest, select(Dispute).where(Dispute.number == number).order_by(Dispute.dispute_id))


def disputes(contest: Contest, open_only: bool = False) -> list[dict[str, Any]]:
    """All of them: open ones first, of those the oldest, of the answered the latest; at most MOST_LISTED."""
    query = select(Dispute).order_by(
        Dispute.answered_at.is_not(None), Dispute.answered_at.desc(), Dispute.dispute_id
    )  # fmt: skip
    return _rows(contest, query.where(Dispute.answered_at.is_(None)) if open_only else query)


def _rows(contest: Contest, query: Any) -> list[dict[str, Any]]:
    with contest.database.read() as connection:
        matches: Sequence[Dispute] = connection.scalars(query.limit(MOST_LISTED)).all()
        return [dispute.row() for dispute in matches]


def checked_text(text: str, what: str, least: int, most: int) -> str:
    """The text without characters that nobody sees, line ends made one kind. Raises UsageError for its length."""
    seen = "".join(c for c in text.replace("\r\n", "\n") if c == "\n" or unicodedata.category(c)[0] != "C").strip()
    if not least <= len(seen) <= most:
        raise UsageError(f"{what} has {least} to {most} characters, not {len(seen)}", hint="say what and where")
    return seen

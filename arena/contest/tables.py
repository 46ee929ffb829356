"""The tables of contest.sqlite: people, sessions, entries, acts. Results are in the ledger."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

from pydantic import JsonValue
from sqlalchemy import ColumnElement, ForeignKey, LargeBinary, UniqueConstraint, case
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import JSON

from arena.contest.settings import DATABASE
from arena.contest.stored import STOCK, NamedEntry, entry_label
from arena.serving.clock import utc_now
from arena.serving.database import Database, Moment
from arena.serving.names import name_key

#: States of an entry. `queued`: lint passed, stored. `screening`: a short run that is not scored. `waiting`: screened.
#: `running`: runs at full budget. `verified`: all of them measured. `failed`: no experiment of its screening succeeded.
#: `void` (`ContestEntry.void`): the host could not run it, or declared it void; it does not count against the quota.
ENDED = ("verified", "failed", "void")


def state_label(state: str) -> str:
    """The state in words for readers: the gains on the board choose the leaders, so they are `measured`."""
    return "measured" if state == "verified" else state


class ContestTable(DeclarativeBase):
    """The tables of contest.sqlite."""

    type_annotation_map = {datetime: Moment, list[Any]: JSON}  # noqa: RUF012 - SQLAlchemy's own


class Person(ContestTable):
    """A person with a token, of which only the hash is stored. Names are here alone: in the ledger a person is the
    ``mark``, a hash of ``salt`` and name. Without the salt, deleted with the account, the name is secret."""

    __tablename__ = "people"

    person_id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    name_key: Mapped[str] = mapped_column(unique=True)
    token_hash: Mapped[str] = mapped_column(unique=True)
    joined_at: Mapped[datetime]
    salt: Mapped[str]
    mark: Mapped[str]

    @classmethod
    def joining(cls, name: str, token_hash: str, salt: str) -> Person:
        key = name_key(name)
        mark = person_mark(salt, name)
        return cls(name=name, name_key=key, token_hash=token_hash, joined_at=utc_now(), salt=salt, mark=mark)


def person_mark(salt: str, name: str) -> str:
    """A person in the ledger."""
    return hashlib.sha256(f"{salt}\0{name}".encode()).hexdigest()[:32]


class Session(ContestTable):
    """A browser that logged in, as the host without a person; the cookie's hash."""

    __tablename__ = "sessions"

    cookie_hash: Mapped[str] = mapped_column(primary_key=True)
    person_id: Mapped[int | None] = mapped_column(ForeignKey("people.person_id"))
    expires_at: Mapped[datetime]


class JoinCode(ContestTable):
    """A join code for one person, of which only the hash is stored."""

    __tablename__ = "join_codes"

    code_hash: Mapped[str] = mapped_column(primary_key=True)
    person_id: Mapped[int | None] = mapped_column(ForeignKey("people.person_id"), default=None)  # who has used it


class ContestEntry(ContestTable):
    """One accepted program.md. ``number`` is the order of arrival and never given twice. Controls have no person."""

    __tablename__ = "entries"
    __table_args__ = (UniqueConstraint("person_id", "program_id"), {"sqlite_autoincrement": True})

    number: Mapped[int] = mapped_column(primary_key=True)
    entry_id: Mapped[str] = mapped_column(unique=True)
    person_id: Mapped[int | None] = mapped_column(ForeignKey("people.person_id"), index=True)
    role: Mapped[str]
    name: Mapped[str]
    program_id: Mapped[str] = mapped_column(index=True)
    behaviour: Mapped[str] = mapped_column(index=True)  # of the researcher under it on the task: `inner_loop.behaviour`
    sha256: Mapped[str]
    raw: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    words: Mapped[int]
    lint: Mapped[list[Any]]
    received_at: Mapped[datetime]
    reached: Mapped[str] = mapped_column("state", index=True)  # by its runs, also of a void entry
    failure: Mapped[str] = mapped_column("reason", default="")  # why it has reached no more
    void: Mapped[str] = mapped_column(default="")  # why it is void; empty if it is not
    changed_at: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(default=0)
    person: Mapped[Person | None] = relationship(lazy="joined")

    @hybrid_property
    def state(self) -> str:
        return "void" if self.void else self.reached

    @state.inplace.setter
    def _set_state(self, state: str) -> None:
        self.reached = state

    @state.inplace.expression
    @classmethod
    def _state_in_sql(cls) -> ColumnElement[str]:
        return case((cls.void != "", "void"), else_=cls.reached)

    @property
    def reason(self) -> str:
        """Why it has this state; empty if nothing went wrong."""
        return self.void or self.failure

    @property
    def entrant(self) -> str:
        return self.person.name if self.person else "host"

    @property
    def mark(self) -> str:
        """Its entrant in the ledger."""
        return self.person.mark if self.person else "host"

    @property
    def label(self) -> str:
        """Its name for readers: `Ada 2`, or which arm of stock it is."""
        return STOCK.get(self.role) or entry_label(self.entrant, self.name)

    @property
    def named(self) -> NamedEntry:
        return {"entry_id": self.entry_id, "number": self.number, "entrant": self.entrant, "name": self.name}


class Act(ContestTable):
    """A host action on an entry: `void` or `unvoid`."""

    __tablename__ = "acts"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012 - SQLAlchemy's own

    act_id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(ForeignKey("entries.number"), index=True)
    what: Mapped[str]
    because: Mapped[str]
    at: Mapped[datetime]
    phase: Mapped[str]
    in_ledger: Mapped[bool] = mapped_column(default=False)
    entry: Mapped[ContestEntry] = relationship(lazy="joined")


class ContestFact(ContestTable):
    """A named value of the contest itself: the announcement, hashes of the host's tokens."""

    __tablename__ = "facts"

    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[dict[str, JsonValue]] = mapped_column(JSON)
    changed_at: Mapped[datetime]


class ContestDatabase(Database):
    """The database of a contest."""

    name = DATABASE
    tables = ContestTable
    facts = ContestFact

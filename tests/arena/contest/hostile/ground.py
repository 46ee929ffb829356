"""What the attacks are tried on: a contest with somebody who plays by the rules, and somebody who does not."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from arena.contest.create import NewContest
from arena.contest.tables import ContestEntry, Person
from arena.contest.web.host import RateLimits
from arena.serving.limits import Rate
from tests.arena.contest.hosting import Answer, Browser, founded, joined, served

MANY = 100_000
HONEST = b"# Honest\n\nTry one thing at a time.\n"


def unlimited() -> RateLimits:
    """No limit is in the way of what is tried; the limits have tests of their own."""
    return RateLimits(**{each.name: Rate(MANY, 1.0) for each in fields(RateLimits)})


class Errors(logging.Handler):
    """What the server says of itself where it has failed."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


@dataclass
class Ground:
    """A contest that is being served. ``entry``: the honest entrant's."""

    made: NewContest
    port: int
    honest: Browser
    mallory: Browser
    browser: Browser  # Mallory's, logged in
    proof: str
    entry: dict[str, Any]
    errors: list[str] = field(default_factory=list)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def count(self) -> tuple[int, int]:
        """How many people and entries there are."""
        with self.made.contest.database.read() as connection:
            people = connection.scalar(select(func.count()).select_from(Person)) or 0
            return people, connection.scalar(select(func.count()).select_from(ContestEntry)) or 0

    def untouched(self) -> str:
        """A hash of all that an attack might want to change: people, entries, facts of the contest."""
        with self.made.contest.database.read() as connection:
            people = connection.execute(select(Person.person_id, Person.name, Person.token_hash)).all()
            entries = connection.execute(
                select(ContestEntry.number, ContestEntry.person_id, ContestEntry.state, ContestEntry.sha256)
            ).all()
        state = self.made.contest.state()
        return hashlib.sha256(repr((people, entries, sorted(state.items()))).encode()).hexdigest()


def proof_in(page: str) -> str:
    return page.split('name="proof" value="')[1].split('"')[0]


@contextmanager
def ground_in(folder: Path, **changes: Any) -> Iterator[Ground]:
    errors = Errors()
    logging.getLogger("uvicorn.error").addHandler(errors)
    made = founded(folder, **({"entries_per_person": MANY} | changes))
    with served(made.contest, unlimited()) as port:
        honest, mallory = joined(port, "Ada"), joined(port, "Mallory")
        browser = Browser(port)
        browser.form("/login", token=mallory.token)
        entry = honest.enter(HONEST).json
        proof = proof_in(browser.get("/me").text)
        yield Ground(made, port, honest, mallory, browser, proof, entry, errors.said)
    logging.getLogger("uvicorn.error").removeHandler(errors)


def fine(answer: Answer) -> bool:
    """Neither an error of ours nor a page without its policy."""
    return answer.status < 500 and "default-src 'none'" in answer.headers["content-security-policy"]

"""Tokens and sessions of entrants and host."""

from __future__ import annotations

import secrets
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from arena.contest.settings import ContestConfig
from arena.contest.tables import Person, Session
from arena.serving.clock import utc_now
from arena.serving.database import Database
from arena.serving.names import checked_name, skeletons
from arena.serving.tokens import hashed
from programs.errors import UsageError

PERSON, ADMIN, CODE = "mlt_", "mla_", "mlj_"  # prefixes of the tokens of entrants and host, and of the join code
SESSION_DAYS = 14
HOST_SECONDS = 24 * 3600  # of a session of the host
MOST_PEOPLE = 10_000
JOIN = "join the contest to get one: metaloop contest join --to URL --name NAME"


class AccessRefused(UsageError):
    """The token or code is not valid. The message does not say why."""

    def __init__(self, message: str = "this token is not valid for this contest", hint: str = JOIN) -> None:
        super().__init__(message, hint=hint)


def fresh(prefix: str) -> str:
    return prefix + secrets.token_urlsafe(32)


def create_tokens(database: Database) -> tuple[str, str]:
    """Create the host token and the join code; they are returned once and never stored."""
    admin, code = fresh(ADMIN), CODE + secrets.token_urlsafe(9)
    database.set_fact("tokens", admin=hashed(admin), code=hashed(code), server=secrets.token_hex(32))
    return admin, code


def is_admin(database: Database, token: str) -> bool:
    known = str(database.fact("tokens").get("admin", ""))
    return token.startswith(ADMIN) and secrets.compare_digest(hashed(token), known)


def join(database: Database, config: ContestConfig, name: str, code: str) -> tuple[Person, str]:
    """A new person and the token, which is not stored. Raises AccessRefused, or UsageError for the name."""
    name = checked_name(name)
    if config.join == "code":
        known = str(database.fact("tokens").get("code", ""))
        if not secrets.compare_digest(hashed(code.strip()), known):
            raise AccessRefused("wrong join code", hint="ask the host of the contest for it")
    token = fresh(PERSON)
    person = Person(name=name, token_hash=hashed(token), joined_at=utc_now())
    try:
        with database.write() as connection:
            if connection.query(Person).count() >= MOST_PEOPLE:
                raise UsageError("this contest is full", hint="ask the host")
            if any(skeletons(other) & skeletons(name) for other in connection.scalars(select(Person.name))):
                raise taken(name)
            connection.add(person)
    except IntegrityError:
        raise taken(name) from None
    return person, token


def taken(name: str) -> UsageError:
    hint = (
        "if it is yours, log in with your token; a lost token cannot be shown again: join with another name "
        "(your entries keep this one)"
    )
    return UsageError(f"the name {name} is taken, or looks like a taken one", hint=hint)


def person_of(database: Database, token: str) -> Person:
    """The owner of the token. Raises AccessRefused."""
    if not token.startswith(PERSON):
        raise AccessRefused
    with database.read() as connection:
        person = connection.scalar(select(Person).where(Person.token_hash == hashed(token)))
    if person is None:
        raise AccessRefused
    return person


def log_in(database: Database, token: str) -> str:
    """A session cookie, in place of the token. Raises AccessRefused."""
    return _session(database, person_of(database, token.strip()).person_id, SESSION_DAYS * 24 * 3600)


def log_in_host(database: Database, token: str) -> str:
    """A session cookie for the host, in place of the host token. Raises AccessRefused."""
    if not is_admin(database, token.strip()):
        raise AccessRefused("this is not the host token")
    return _session(database, None, HOST_SECONDS)


def _session(database: Database, person_id: int | None, seconds: int) -> str:
    cookie, now = secrets.token_urlsafe(32), utc_now()
    with database.write() as connection:
        connection.query(Session).where(Session.expires_at < now).delete()
        expires = now + timedelta(seconds=seconds)
        connection.add(Session(cookie_hash=hashed(cookie), person_id=person_id, expires_at=expires))
    return cookie


def logged_in(database: Database, cookie: str) -> Person | None:
    """The person of a session cookie; None if it is unknown or expired."""
    session = _known(database, cookie)
    with database.read() as connection:
        return connection.get(Person, session.person_id) if session and session.person_id is not None else None


def host_logged_in(database: Database, cookie: str) -> bool:
    session = _known(database, cookie)
    return session is not None and session.person_id is None


def _known(database: Database, cookie: str) -> Session | None:
    if not cookie:
        return None
    with database.read() as connection:
        session = connection.get(Session, hashed(cookie))
    return session if session is not None and session.expires_at >= utc_now() else None


def log_out(database: Database, cookie: str) -> None:
    with database.write() as connection:
        connection.query(Session).where(Session.cookie_hash == hashed(cookie)).delete()

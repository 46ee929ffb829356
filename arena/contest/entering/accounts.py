"""Tokens and sessions of entrants and host."""

from __future__ import annotations

import secrets
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as Connection

from arena.contest.settings import ContestConfig
from arena.contest.tables import JoinCode, Person, Session
from arena.serving.clock import utc_now
from arena.serving.database import Database
from arena.serving.names import FORMER, checked_name
from arena.serving.tokens import hashed
from programs.common.errors import UsageError

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


def create_tokens(database: Database, single_use: int = 0) -> tuple[str, str, list[str]]:
    """Create the host token, and the join code, or so many codes for one person each (the code for all is then empty);
    they are returned once and never stored."""
    admin, code, *codes = fresh(ADMIN), *(CODE + secrets.token_urlsafe(9) for _ in range(single_use + 1))
    with database.write() as connection:
        known = "" if codes else hashed(code)
        database.put(connection, "tokens", admin=hashed(admin), code=known, server=secrets.token_hex(32))
        connection.add_all(JoinCode(code_hash=hashed(code)) for code in codes)
    return admin, "" if codes else code, codes


def is_admin(database: Database, token: str) -> bool:
    known = str(database.fact("tokens").get("admin", ""))
    return token.startswith(ADMIN) and secrets.compare_digest(hashed(token), known)


def join(database: Database, config: ContestConfig, name: str, code: str) -> tuple[Person, str]:
    """A new person and the token, which is not stored. Raises AccessRefused, or UsageError for the name."""
    name = checked_name(name)
    code_hash, known = hashed(code.strip()), str(database.fact("tokens").get("code", ""))
    needs_code = config.join == "code" and not secrets.compare_digest(code_hash, known)
    token = fresh(PERSON)
    person = Person.joining(name, hashed(token), secrets.token_hex(16))
    try:
        with database.write() as connection:
            if connection.query(Person).count() >= MOST_PEOPLE:
                raise UsageError("this contest is full", hint="ask the host")
            connection.add(person)
            if needs_code:
                _use_code(connection, code_hash, person)
    except IntegrityError:
        raise taken(name) from None
    return person, token


def _use_code(connection: Connection, code_hash: str, person: Person) -> None:
    """Use up a code for one person. Raises AccessRefused where there is no such code, or it has been used."""
    code = connection.get(JoinCode, code_hash)
    if code is None or code.person_id is not None:
        raise AccessRefused("wrong join code, or one that has been used", hint="ask the host of the contest for it")
    connection.flush()
    code.person_id = person.person_id


def taken(name: str) -> UsageError:
    hint = (
        "if it is yours, log in with your token; a lost token cannot be shown again: join with another name "
        "(your entries keep this one)"
    )
    return UsageError(f"the name {name} is taken", hint=hint)


def person_of(database: Database, token: str) -> Person:
    """The owner of the token. Raises AccessRefused."""
    if not token.startswith(PERSON):
        raise AccessRefused
    with database.read() as connection:
        person = connection.scalar(select(Person).where(Person.token_hash == hashed(token)))
    if person is None:
        raise AccessRefused
    return person


def require_account(connection: Connection, person_id: int) -> Person:
    """The person as they are now. Raises AccessRefused if the account has been removed since it was looked up."""
    person = connection.get_one(Person, person_id, populate_existing=True)
    if person.name.startswith(FORMER):
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
        if person_id is not None:
            require_account(connection, person_id)
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

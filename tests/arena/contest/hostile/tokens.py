"""Tokens that are none, made of those that are."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable

from arena.contest.create import NewContest
from arena.contest.entering.accounts import ADMIN, CODE, PERSON


def forged(make: str, token: str, made: NewContest, other: NewContest, others: str, cookie: str) -> str:
    """A header Authorization. ``token``: a real entrant's; ``others``: one of another contest."""
    admin, code = made.admin_token, made.join_code
    ways: dict[str, Callable[[], str]] = {
        "empty": lambda: "",
        "random": lambda: PERSON + secrets.token_urlsafe(32),
        "random_admin": lambda: ADMIN + secrets.token_urlsafe(32),
        "cut": lambda: token[:-1],
        "longer": lambda: token + "A",
        "case": lambda: PERSON + token.removeprefix(PERSON).swapcase(),
        "last": lambda: token[:-1] + ("A" if token[-1] != "A" else "B"),
        "first": lambda: PERSON + ("A" if token[4] != "A" else "B") + token[5:],
        "prefix": lambda: PERSON,
        "bare": lambda: token.removeprefix(PERSON),
        "promoted": lambda: ADMIN + token.removeprefix(PERSON),
        "demoted": lambda: PERSON + admin.removeprefix(ADMIN),
        "code": lambda: code,
        "code_admin": lambda: ADMIN + code.removeprefix(CODE),
        "hash": lambda: PERSON + hashlib.sha256(token.encode()).hexdigest(),
        "hash_admin": lambda: str(made.contest.database.fact("tokens")["admin"]),
        "server": lambda: ADMIN + str(made.contest.database.fact("tokens")["server"]),
        "secret_hash": lambda: made.contest.config.secret_hash,
        "other": lambda: others,
        "other_admin": lambda: other.admin_token,
        "cookie": lambda: PERSON + cookie,
        "digits": lambda: PERSON + "\u0661" * 43,
        "lookalike": lambda: token.replace("m", "\u043c", 1),
        "blank": lambda: token[:20] + " " + token[20:],
        "two": lambda: f"{PERSON}A, {token}",
        "quotes": lambda: f'"{token}"',
        "pattern": lambda: PERSON + "%",
        "statement": lambda: f"{PERSON}' OR '1'='1",
        "long": lambda: PERSON + "A" * 8000,
        "null": lambda: "null",
    }
    if make == "none":
        return ""
    if make == "basic":
        return f"Basic {token}"
    return f"Bearer {ways[make]()}"

"""What every answer draws on: the contest, the keys, the limits, and who is asking."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

from fastapi import HTTPException, Request

from arena.contest import accounts
from arena.contest.accounts import Refused
from arena.contest.contest import Contest
from arena.contest.tables import Person
from arena.contest.web.events import Changes
from arena.contest.web.limits import Rate
from arena.contest.web.security import SESSION
from trainer.task import Task


@dataclass(frozen=True)
class Limits:
    """How often one client may do what. Reading is not limited: the pages are cheap."""

    join: Rate = field(default_factory=lambda: Rate(10, 60.0))
    token: Rate = field(default_factory=lambda: Rate(30, 60.0))  # wrong ones
    entry: Rate = field(default_factory=lambda: Rate(30, 60.0))
    dispute: Rate = field(default_factory=lambda: Rate(5, 60.0))


@dataclass
class Host:
    """One server's view of one contest."""

    contest: Contest
    task: Task
    key: str
    changes: Changes
    limits: Limits

    @classmethod
    def of(cls, contest: Contest, limits: Limits) -> Host:
        key = str(contest.database.fact("tokens")["server"])
        return cls(contest, contest.task, key, Changes(contest), limits)

    def knows(self, term: str) -> bool:
        """Whether the task has the edit that a program names in backticks."""
        return bool(self.task.edits.parse_terms((term,)))

    def viewer(self, request: Request) -> Person | None:
        """Who is asking: by the browser's cookie, or by a token in the header. Raises 401 for a bad token."""
        token = bearer(request)
        if not token:
            return accounts.logged_in(self.contest.database, request.cookies.get(SESSION, ""))
        return None if self.is_admin(request) else self.person(request)

    def person(self, request: Request) -> Person:
        """Who sent the token in the header. Raises 401, and 429 for too many wrong ones."""
        try:
            return accounts.person_of(self.contest.database, bearer(request))
        except Refused as error:
            self.limited(self.limits.token, request)
            challenge = {"WWW-Authenticate": "Bearer"}
            raise HTTPException(401, detail={"message": error.message, "hint": error.hint}, headers=challenge) from None

    def is_admin(self, request: Request) -> bool:
        return accounts.is_admin(self.contest.database, bearer(request))

    def limited(self, rate: Rate, request: Request, who: str = "", weight: int = 1) -> None:
        """Count one more, or ``weight`` for what costs more; raises 429 where that is too many."""
        if not rate.allows(who or client_of(request), weight):
            told = {"message": "too many requests", "hint": f"again in {rate.wait} s"}
            raise HTTPException(429, detail=told, headers={"Retry-After": str(rate.wait)})


def bearer(request: Request) -> str:
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def client_of(request: Request) -> str:
    """Who counts as one client: an address, or the network that one customer of a provider has under IPv6."""
    told = request.client.host if request.client else "?"
    try:
        address = ip_address(told)
    except ValueError:
        return told
    return told if address.version == 4 else str(ip_network((address, 64), strict=False))

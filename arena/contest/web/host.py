"""What every request handler uses: the contest, the keys, the rate limits, the viewer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from fastapi import HTTPException, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from arena.contest.contest import Contest
from arena.contest.entering import accounts
from arena.contest.entering.accounts import AccessRefused
from arena.contest.entering.entries import ZIP, Accepted, checked, enter
from arena.contest.ranking.views import entry_of, may_read
from arena.contest.tables import ContestEntry, Person
from arena.contest.web.security import HOSTING, SESSION, form_is_ours
from arena.serving.intake import Intake
from arena.serving.limits import HEAVY, Rate, client_of
from arena.serving.tokens import bearer
from programs.folder import packed_bytes
from trainer.task import Task
from trainer.values.conditional import unread

FIELDS, FILES = 8, 1  # the most that a form of ours has


@dataclass(frozen=True)
class RateLimits:
    """Rate limits per client. Reading is not limited: the pages are cheap."""

    join: Rate = field(default_factory=lambda: Rate(60, 60.0))  # a room behind one address
    token: Rate = field(default_factory=lambda: Rate(30, 60.0))  # wrong tokens
    entry: Rate = field(default_factory=lambda: Rate(30, 60.0))
    lint: Rate = field(default_factory=lambda: Rate(90, 60.0))  # a text that is checked while its author types


@dataclass(frozen=True)
class Posted:
    """The content of a form: its fields, and the uploaded file if there is one."""

    fields: Mapping[str, str]
    file: bytes | None = None

    @property
    def program(self) -> bytes:
        """The file, else the typed text with Unix line ends."""
        if self.file is not None:
            return self.file
        return self.field("text").replace("\r\n", "\n").encode("utf-8", "surrogatepass")

    def field(self, name: str) -> str:
        return self.fields.get(name, "")


def weight_of(raw: bytes) -> int:
    """How many uploads one counts as, by the size of its texts; of a zip archive unpacked."""
    return 1 + (packed_bytes(raw) if raw.startswith(ZIP) else len(raw)) // HEAVY


@dataclass
class Host:
    """The state of one server: its contest, key, limits and background parts."""

    contest: Contest
    task: Task
    key: str
    limits: RateLimits
    intake: Intake

    @classmethod
    def of(cls, contest: Contest, limits: RateLimits) -> Host:
        key = str(contest.database.fact("tokens")["server"])
        return cls(contest, contest.task, key, limits, Intake(contest.database))

    def unread(self, term: str) -> str:
        """Why the task cannot read ``term``, named in backticks in a program; empty if it can."""
        return unread(self.task.edits, term)

    async def accept(self, person: Person, raw: bytes) -> Accepted:
        """Lint and store an upload; it is on the disk on return. Raises as `entries.accept` does. No thread waits for
        the disk: pages are rendered in the same ones."""
        read = await run_in_threadpool(checked, self.contest, person, raw, self.unread)
        store = partial(enter, contest=self.contest, person=person, read=read)
        return await asyncio.wrap_future(self.intake.take(store))

    async def posted(self, request: Request) -> Posted:
        """A dependency: the form, if our page sent it. Raises 403, and 400 for an encoding other than UTF-8."""
        kind = request.headers.get("content-type", "").lower()
        if "charset" in kind and not re.search(r"charset\s*=\s*\"?utf-?8\"?\s*(?:;|$)", kind):
            raise HTTPException(400, detail={"message": "forms must be sent as UTF-8", "hint": "reload the page"})
        async with request.form(max_files=FILES, max_fields=FIELDS) as form:
            fields = {name: value for name, value in form.items() if isinstance(value, str)}
            chosen = form.get("file")
            file = await chosen.read() if isinstance(chosen, UploadFile) and chosen.filename else None
        if not form_is_ours(request, self.key, fields.get("proof", "")):
            detail = {"message": "this form was not sent from this site, or has expired", "hint": "reload the page"}
            raise HTTPException(403, detail=detail)
        return Posted(fields, file)

    def viewer(self, request: Request) -> Person | None:
        """The person who sent the request, by cookie or token. Raises 401 for a bad token."""
        token = bearer(request)
        if not token:
            return accounts.logged_in(self.contest.database, request.cookies.get(SESSION, ""))
        return None if self.is_admin(request) else self.person(request)

    def person(self, request: Request) -> Person:
        """The owner of the token in the header. Raises 401, and 429 after too many wrong tokens."""
        try:
            return accounts.person_of(self.contest.database, bearer(request))
        except AccessRefused as error:
            self.limited(self.limits.token, request)
            challenge = {"WWW-Authenticate": "Bearer"}
            raise HTTPException(401, detail={"message": error.message, "hint": error.hint}, headers=challenge) from None

    def admin(self, request: Request) -> None:
        """A dependency of routes for the host alone. Raises 403, and 429 after too many wrong tokens."""
        if not self.is_admin(request):
            self.limited(self.limits.token, request)
            raise HTTPException(403, detail={"message": "this request needs the host token", "hint": ""})

    def readable(self, request: Request, entry_id: str) -> ContestEntry:
        """The entry, if the viewer may read its text. Raises NotFound, and 403 while it is hidden."""
        entry = entry_of(self.contest, entry_id)
        if not may_read(self.contest, entry, self.viewer(request), self.is_admin(request)):
            raise HTTPException(403, detail={"message": "hidden until the close", "hint": f"sha256 {entry.sha256}"})
        return entry

    def is_admin(self, request: Request) -> bool:
        return accounts.is_admin(self.contest.database, bearer(request))

    def is_host(self, request: Request) -> bool:
        """Whether the request has the host token or the cookie of a browser logged in as host."""
        cookie = request.cookies.get(HOSTING, "")
        return self.is_admin(request) or accounts.host_logged_in(self.contest.database, cookie)

    def limited(self, rate: Rate, request: Request, who: str = "", weight: int = 1) -> None:
        """Count ``weight`` requests; raises 429 above the limit."""
        if not rate.allows(who or client_of(request), weight):
            detail = {"message": "too many requests", "hint": f"retry in {rate.wait} s"}
            raise HTTPException(429, detail=detail, headers={"Retry-After": str(rate.wait)})


async def body(request: Request) -> bytes:
    """A dependency: the body as it is."""
    return await request.body()

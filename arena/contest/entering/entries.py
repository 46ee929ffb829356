"""Entries: checking and storing uploads, and changing an entry's state."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session as Connection

from analysis.wording import many
from arena.contest.entering.accounts import require_account
from arena.contest.settings import ContestConfig
from arena.contest.tables import ContestEntry, Person
from arena.serving.clock import utc_now
from inner_loop.behaviour import behaviour_id
from programs.common.errors import MetaloopError, UsageError
from programs.common.ids import content_id
from programs.common.text import one_line, split_lines
from programs.evolved_for import EvolvedFor
from programs.folder import from_zip
from programs.front_matter import locate
from programs.lint import LintMessage, check
from programs.program import Program, program_id

if TYPE_CHECKING:
    from arena.contest.contest import Contest

MOST_NAME = 60
MOST_LINT = 100  # stored messages
PROGRAM_FILE = "program.md"
LINT = "metaloop program lint FILE lists all mistakes of a text"
ZIP = b"PK\x03\x04"


class NotTaken(UsageError):
    """A rejected upload. ``lint``: messages by line if the text is at fault."""

    def __init__(self, message: str, *, hint: str = "", lint: tuple[LintMessage, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.lint = lint


class QuotaSpent(NotTaken):
    """This person has used up the quota, or all people together theirs."""


class NotOpen(NotTaken):
    """Too early or too late."""


@dataclass(frozen=True)
class Accepted:
    """A stored entry. ``new`` is False if the same person had sent the same text before."""

    entry: ContestEntry
    new: bool


def accept(contest: Contest, person: Person, raw: bytes, unread: Callable[[str], str] | None = None) -> Accepted:
    """Lint and store; on return it is durable. Raises NotOpen, QuotaSpent, NotTaken with the lint messages."""
    read = checked(contest, person, raw, unread)
    with contest.database.write() as connection:
        return enter(connection, contest, person, read)


@dataclass(frozen=True)
class Checked:
    """An upload that passed lint."""

    program: Program
    lint: tuple[LintMessage, ...]
    behaviour: str = ""  # of the researcher under it on the contest's task


def checked(contest: Contest, person: Person, raw: bytes, unread: Callable[[str], str] | None = None) -> Checked:
    """Lint an upload without holding the write lock; time and quota are checked before, because they are cheap.

    Raises NotOpen, QuotaSpent, NotTaken with the lint messages.
    """
    in_time(contest)
    raw, unused = unpacked(raw)
    with contest.database.read() as connection:
        if sent_before(connection, person, program_id(raw)) is None:
            require_quota(connection, contest, person)
    upload = linted(contest, raw, unread, unused)
    behaviour = behaviour_id(upload.program, contest.task, contest.study.researcher)
    return replace(upload, behaviour=behaviour)


def linted(
    contest: Contest,
    raw: bytes,
    unread: Callable[[str], str] | None = None,
    unused: Sequence[LintMessage] = (),
) -> Checked:
    """A text as an entry of this contest, with the messages of lint. Raises NotTaken with them."""
    remarks = check(raw, PROGRAM_FILE, *filter(None, [unread]))
    program = None if any(one.level == "error" for one in remarks) else Program.parse(raw, PROGRAM_FILE)
    code_messages = own_code(contest, program) if program else []
    every = (
        *(for_script(remarks, program) if contest.study.researcher == "scripted" else remarks),
        *code_messages,
        *unused,
    )
    messages = first(every)
    errors = sorted((m for m in every if m.level == "error"), key=lambda m: (m.file, m.line))
    if errors or program is None:
        lead = f"{errors[0].file + ', ' if errors[0].file else ''}line {errors[0].line}: {errors[0].message}"
        more = f" (and {many(len(errors) - 1, 'more error')})" if errors[1:] else ""
        every_one = LINT if len(every) > MOST_LINT else ""
        hint = "remove the patches and ideas that name them" if errors == code_messages else every_one
        raise NotTaken(lead + more, hint=hint, lint=messages)
    label, config = program.evolved_for, contest.study
    remark = label.remark("this program", EvolvedFor.of(config.researcher, config.llm.models)) if label else ""
    others = (LintMessage(1, "warning", "other-researcher", remark),) if remark else ()
    return Checked(program, (*messages, *others))


def for_script(messages: Sequence[LintMessage], program: Program | None) -> Iterator[LintMessage]:
    """Messages of lint, which knows no researcher, as they apply where it is a script."""
    is_ignored = any(message.code == "settings-ignored" for message in messages)
    for message in messages:
        if message.code == "no-edit":
            ignored = "no edit in backticks: the researcher of this contest is a script, and ignores this idea"
            yield replace(message, level="warning", message=ignored)
        elif message.code == "like-stock":
            ignored = "no settings and no ideas: it runs like stock, with the default settings (random edits)"
            yield replace(message, level="warning", message=ignored)
        elif program is not None and message.code == "ideas-not-queued":
            if not is_ignored:  # which is the cause
                yield unqueued(program)
        elif message.code != "no-prose":  # complete for a script
            yield message


def unqueued(program: Program) -> LintMessage:
    """A warning where a scripted researcher tries none of the ideas, because the queue has no share."""
    set_fields = program.settings.set_fields
    fix = "proposers: {queue: 0.5, local: 0.5}"
    how = fix if "proposers" in set_fields else f"{fix} below metaloop: in the settings at the top"
    if not locate(split_lines(program.text)).end:
        how = f"at the top:\n---\nmetaloop:\n  {fix}\n---"
    message = f"no idea will be tried, because queue has no share of the proposers; write {how}"
    return LintMessage(set_fields.get("proposers", program.ideas[0].line), "warning", "ideas-not-queued", message)


def own_code(contest: Contest, program: Program) -> list[LintMessage]:
    """Errors for the patches of a program that a contest does not take."""
    said = "is code; contests of the scripted researcher take programs without"
    patches = program.patches if contest.study.researcher == "scripted" else ()
    return [LintMessage(patch.line, "error", "own-code", f"patch:{patch.name} {said}") for patch in patches]


def unpacked(raw: bytes) -> tuple[bytes, list[LintMessage]]:
    """The text of an upload, and messages about files of a zip archive that are not part of the program.

    Raises NotTaken for an archive that is no program.
    """
    if not raw.startswith(ZIP):
        return raw, []
    try:
        program, unused = from_zip(raw, PROGRAM_FILE)
    except MetaloopError as error:
        why = error.message.removeprefix(f"{PROGRAM_FILE}:1: ").removeprefix(f"{PROGRAM_FILE}: ")
        lint = (LintMessage(1, "error", "unreadable", why),)
        raise NotTaken(error.message, hint=error.hint, lint=lint) from None
    said = "no file of the program links to it or names it, so it is left out"
    return program.labelled.document.encode(), [LintMessage(1, "info", "left-out", said, path) for path in unused]


def enter(connection: Connection, contest: Contest, person: Person, read: Checked) -> Accepted:
    """Store a checked upload, within the caller's transaction. Raises NotOpen, NotTaken, QuotaSpent."""
    program, person = read.program, require_account(connection, person.person_id)
    before = sent_before(connection, person, program.program_id)
    if before is not None:
        return Accepted(before, new=False)
    now = in_time(contest)  # waiting for the lock takes time
    used = require_quota(connection, contest, person)
    if program.name == PROGRAM_FILE:  # the text does not name itself
        program = replace(program, name=str(used + 1))
    program = replace(program, name=free_name(connection, person, one_line(program.name)))
    entry = store(
        connection, contest.config, program,
        role="program", behaviour=read.behaviour, person=person, lint=read.lint, now=now,
    )  # fmt: skip
    return Accepted(entry, new=True)


def free_name(connection: Connection, person: Person, name: str) -> str:
    """The name, with a number where another entry of this person has it: a label names one entry."""
    taken = set(connection.scalars(select(ContestEntry.name).where(ContestEntry.person_id == person.person_id)))
    ends = itertools.chain([""], (f" ({number})" for number in itertools.count(2)))
    return next(free for end in ends if (free := name[: MOST_NAME - len(end)] + end) not in taken)


def first(messages: tuple[LintMessage, ...]) -> tuple[LintMessage, ...]:
    """By line, at most MOST_LINT messages (errors before others) and a note on the rest: lists of entries contain
    them."""
    chosen = sorted(messages, key=lambda message: message.level != "error")[:MOST_LINT]
    by_line = sorted(chosen, key=lambda message: (message.file, message.line))
    more = f"and {len(messages) - MOST_LINT:,} more: {LINT}"
    note = [LintMessage(by_line[-1].line, "info", "more", more)] if len(messages) > MOST_LINT else []
    return (*by_line, *note)


def in_time(contest: Contest) -> datetime:
    """The current time, if entries are accepted now. Raises NotOpen."""
    now = utc_now()
    phase = contest.phase(now)
    if phase == "upcoming":
        raise NotOpen(f"entries are accepted from {contest.config.opens:%Y-%m-%d %H:%M} UTC", hint="submit it then")
    if phase != "open":
        raise NotOpen("this contest is closed for entries", hint="the board has all entries")
    return now


def obstacle(contest: Contest, person: Person | None, raw: bytes) -> str:
    """Why a text without errors would not become a new entry of this person now; empty if it would."""
    try:
        in_time(contest)
        if person is not None:
            with contest.database.read() as connection:
                if (before := sent_before(connection, person, program_id(raw))) is not None:
                    return f"you have already submitted this text (as {before.label})"
                require_quota(connection, contest, person)
    except NotTaken as problem:
        return problem.message
    return ""


def sent_before(connection: Connection, person: Person, identity: str) -> ContestEntry | None:
    """The entry of this person with the same program."""
    same = select(ContestEntry).where(ContestEntry.person_id == person.person_id, ContestEntry.program_id == identity)
    return connection.scalar(same)


def require_quota(connection: Connection, contest: Contest, person: Person) -> int:
    """How many entries of this person count. Raises QuotaSpent if the quota, or that of all together, is used up."""
    used, most = quota_used(connection, person.person_id), contest.config.entries_per_person
    if used >= most:
        hint = "sending the same text again, or an entry that the host cannot run, does not count"
        raise QuotaSpent(f"{person.name} has used {used} of {most} entries", hint=hint)
    everybody = select(func.count()).where(ContestEntry.person_id.is_not(None), ContestEntry.void == "")
    if int(connection.scalar(everybody) or 0) >= contest.config.most_entries:
        full = f"the contest has {many(contest.config.most_entries, 'entry')}, the most that its rules allow"
        raise QuotaSpent(full, hint="ask the host")
    return used


def quota_used(connection: Connection, person_id: int) -> int:
    """Entries that count towards the quota: all but the void ones."""
    counted = select(func.count()).where(ContestEntry.person_id == person_id, ContestEntry.void == "")
    return int(connection.scalar(counted) or 0)


def store(
    connection: Connection,
    config: ContestConfig,
    program: Program,
    *,
    role: str,
    behaviour: str,
    person: Person | None = None,
    lint: Sequence[LintMessage] = (),
    now: datetime | None = None,
) -> ContestEntry:
    """Store an entry as `queued`, within the caller's transaction."""
    number = int(connection.scalar(select(func.coalesce(func.max(ContestEntry.number), 0))) or 0) + 1
    now = now or utc_now()
    entry = ContestEntry(
        number=number,
        entry_id=content_id("n", config.contest_id, str(number)),
        person_id=person.person_id if person else None,
        role=role,
        name=program.name,
        program_id=program.program_id,
        behaviour=behaviour,
        sha256=hashlib.sha256(program.document.encode()).hexdigest(),
        raw=program.document.encode(),
        words=program.words,
        lint=[m.record() for m in lint],
        received_at=now,
        state="queued",
        changed_at=now,
    )
    connection.add(entry)
    connection.flush()
    connection.refresh(entry, ["person"])  # read after this transaction
    return entry


def change(contest: Contest, number: int, **values: Any) -> bool:
    """Set columns of an entry, and ``changed_at`` if its state changes; whether it is not void."""
    with contest.database.write() as connection:
        return set_columns(connection.get_one(ContestEntry, number), **values)


def set_columns(entry: ContestEntry, **values: Any) -> bool:
    """The same within a transaction."""
    before = entry.state
    for name, value in values.items():
        setattr(entry, name, value)
    if entry.state != before:
        entry.changed_at = utc_now()
    return not entry.void

"""Host actions: declare an entry void and reinstate it. Every act is recorded, public, and can be undone.

An act is in the database at once, and in the ledger as soon as the process that holds the study's lock sees it: records
of kind `act`, by which the views leave out the runs of void arms.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from pydantic import JsonValue
from sqlalchemy import select
from sqlalchemy.orm import Session as Connection

from analysis.ledger.events import ActEvent
from arena.contest.contest import Contest
from arena.contest.entering.lookup import find_entry
from arena.contest.ranking.race import leaders_of
from arena.contest.ranking.standing import snapshot
from arena.contest.running import arms
from arena.contest.settings import Phase
from arena.contest.stored import Announcement, NamedEntry
from arena.contest.tables import ENDED, Act, ContestEntry, Person, state_label
from arena.serving.clock import Moment, utc_now
from arena.study.study import Study
from programs.common.errors import Busy, NotFound, UsageError
from programs.common.ids import content_id
from programs.common.text import one_line

VOID, UNVOID = "void", "unvoid"
LEAST_REASON, MOST_REASON = 3, 500  # characters


def void(contest: Contest, entry_name: str, because: str) -> Act:
    """Take an entry out of queue, ranks and decision, without cost to its entrant. A run in progress still finishes.

    Raises NotFound, or UsageError for a control, a void entry, or a reason of the wrong length.
    """
    because = reason(because)
    with contest.database.write() as connection:
        entry = find_entry(connection, entry_name)
        if entry.person_id is None:
            raise UsageError("stock cannot be declared void", hint="name an entrant's entry")
        if entry.void:
            raise UsageError(
                f"{entry.label} is void already: {entry.void}",
                hint="metaloop contest host DIR unvoid ENTRY reinstates it",
            )
        return _void(contest, connection, entry, because)


def void_person(contest: Contest, name: str, because: str) -> list[Act]:
    """`void` all entries of a person that are not void, in one transaction. Raises NotFound, or UsageError for a person
    without such an entry."""
    because = reason(because)
    with contest.database.write() as connection:
        person = connection.scalar(select(Person).where(Person.name == name))
        if person is None:
            raise NotFound(f"no one is called {name!r}"[:80], hint="the board and /host have the names")
        own = select(ContestEntry).where(ContestEntry.person_id == person.person_id, ContestEntry.void == "")
        entries = connection.scalars(own.order_by(ContestEntry.number)).all()
        if not entries:
            raise UsageError(f"{name} has no entry that is not void", hint="the board has all entries")
        return [_void(contest, connection, entry, because) for entry in entries]


def _void(contest: Contest, connection: Connection, entry: ContestEntry, because: str) -> Act:
    return _act(contest, connection, entry, VOID, because, f"declared void by the host: {because}")


def unvoid(contest: Contest, entry_name: str, because: str = "") -> Act:
    """Reinstate a void entry in the state that its runs have reached; one that the host gave up starts again.

    Raises NotFound, or UsageError for an entry that is not void.
    """
    because = reason(because or "reinstated")
    with contest.database.write() as connection:
        entry = find_entry(connection, entry_name)
        if not entry.void:
            raise UsageError(
                f"{entry.label} is not void but {state_label(entry.state)}", hint="only void entries are reinstated"
            )
        entry.attempts = 0
        return _act(contest, connection, entry, UNVOID, because, "")


def _act(contest: Contest, connection: Connection, entry: ContestEntry, what: str, because: str, void: str) -> Act:
    """Record an act, and set why the entry is ``void``."""
    now = utc_now()
    act = Act(number=entry.number, what=what, because=because, at=now, phase=contest.phase())
    entry.void, entry.changed_at = void, now
    connection.add(act)
    connection.flush()
    connection.refresh(act, ["entry"])
    return act


def reason(text: str) -> str:
    cleaned = one_line(text).strip()
    if not LEAST_REASON <= len(cleaned) <= MOST_REASON:
        raise UsageError(
            f"the reason, which is public, must have {LEAST_REASON} to {MOST_REASON} characters",
            hint="say why in a few words",
        )
    return cleaned


def consequence(what: str, phase: Phase, racing: bool) -> str:
    """What an act would change in this phase, as the command and the host's page say it. ``racing``: the entry is one
    of the leaders that the decision runs again."""
    if phase == "decided":
        change = "is listed beside it as void and leaves" if what == VOID else "is no longer void and returns to"
        return (
            "The announced decision does not change, and no other entry moves up in it: the entry "
            f"{change} the board at the close."
        )
    if phase == "deciding" and not racing:
        change = "is listed as void" if what == VOID else "is no longer listed as void"
        return f"The entry is not in the race and cannot win: it {change}, and the decision does not change."
    if what == UNVOID:
        return "The entry goes on from its recorded runs."
    left = "the race and cannot win" if phase == "deciding" else "the queue, the ranks and the decision"
    return f"The entry leaves {left}, and does not count against its entrant's quota. You can reinstate it later."


class ActRow(NamedEntry):
    """The public form of an act."""

    act_id: int
    what: str
    because: str
    at: Moment
    phase: str


def acts(contest: Contest, number: int | None = None) -> list[ActRow]:
    """All acts, or those on one entry, the oldest first."""
    query = select(Act).order_by(Act.act_id)
    with contest.database.read() as connection:
        return [row(act) for act in connection.scalars(query if number is None else query.where(Act.number == number))]


def contenders(contest: Contest) -> set[int]:
    """Numbers of the entries that can still win: those in the race; before it the leaders of the board as it is, and
    the entries with runs left."""
    phase = contest.phase()
    if phase in ("deciding", "decided"):
        return set(contest.state().get("leaders") or []) if phase == "deciding" else set()
    seen = snapshot(contest)
    entries = seen.entries.values()
    unfinished = {entry.number for entry in entries if entry.role == "program" and entry.state not in ENDED}
    rows = [row for row in seen.rows if row["number"] not in seen.copies]
    return {*unfinished, *leaders_of(rows, contest.config.most_leaders)}


def row(act: Act) -> ActRow:
    about = {"act_id": act.act_id, "what": act.what, "because": act.because, "at": act.at, "phase": act.phase}
    return cast(ActRow, {**act.entry.named, **about})


def since(contest: Contest, announcement: Announcement) -> list[ActRow]:
    """The acts that made entries of the announcement void after the decision, winners first."""
    winners = [who["number"] for who in announcement.get("winners", ())]
    programs = [row["number"] for row in announcement.get("rows", ()) if row["role"] == "program"]
    numbers = dict.fromkeys([*winners, *programs])
    with contest.database.read() as connection:
        acts_on = connection.scalars(select(Act).where(Act.number.in_(numbers)).order_by(Act.act_id))
        last = {act.number: act for act in acts_on}
    return [row(last[number]) for number in numbers if number in last and last[number].what == VOID]


# -- in the ledger ---------------------------------------------------------------------------------------------------


def record_acts(contest: Contest, study: Study) -> int:
    """Append the acts that the ledger lacks; returns how many. After a kill an act may be recorded twice."""
    with contest.database.read() as connection:
        news = connection.scalars(select(Act).where(Act.in_ledger.is_(False)).order_by(Act.act_id)).all()
    is_announced = bool(contest.database.fact("announcement"))  # which acts of the moment before do not change
    for act in news:
        affected = arm_ids(contest, act.entry.entry_id, "decided" if is_announced else act.phase)
        body = {**row(act), "at": act.at.isoformat(), "arm_ids": affected}
        del body["name"], body["entrant"]  # the ledger has no names of people
        study.record(ActEvent(body=cast("dict[str, JsonValue]", body)))
        with contest.database.write() as connection:
            connection.get_one(Act, act.act_id).in_ledger = True
    return len(news)


def record_given_up(contest: Contest, study: Study, number: int, because: str) -> None:
    """Record that an entry was given up: its runs, in the decision those of its race, then leave the ranks."""
    phase = contest.phase()
    with contest.database.read() as connection:
        entry = connection.get_one(ContestEntry, number)
    racing = phase == "deciding"
    affected = (
        arms_of(contest, entry.entry_id, [arms.CONFIRMATION]) if racing else arm_ids(contest, entry.entry_id, phase)
    )
    body = {"what": VOID, "entry_id": entry.entry_id, "number": number, "because": because}
    body |= {"at": utc_now().isoformat(), "phase": phase, "arm_ids": affected}
    study.record(ActEvent(body=cast("dict[str, JsonValue]", body)))


def arm_ids(contest: Contest, entry_id: str, phase: str) -> list[str]:
    """The arms that an act affects: after the decision not those of the confirmation, which stays as it is."""
    kinds = [arms.BOARD, *([] if phase == "decided" else [arms.CONFIRMATION])]
    return arms_of(contest, entry_id, [arms.SCREENING, *kinds])


def arms_of(contest: Contest, entry_id: str, labels: Iterable[str]) -> list[str]:
    """The ids of an entry's arms in the matches of these labels."""
    return [content_id("a", content_id("m", contest.study.study_id, label), entry_id) for label in labels]


def write_down(contest: Contest) -> None:
    """Record the acts in the ledger now, unless the queue's process is running, which will do it."""
    try:
        with Study.open(contest.folder) as study:
            if record_acts(contest, study):
                contest.publish_head(study)
    except Busy:
        pass

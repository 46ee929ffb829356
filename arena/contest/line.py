"""The queue in the steward's memory, updated from changed entries only; decides which entry runs next."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select

from arena.contest.database import Database
from arena.contest.queue import HOST, Costs, Waiting, turns
from arena.contest.tables import ENDED, QUEUE_COLUMNS, ContestEntry, EntryChange


@dataclass(frozen=True)
class ActiveRun:
    """A run in progress."""

    number: int
    person: int
    screening: bool


@dataclass(frozen=True)
class EntrySnapshot:
    """The columns of an entry that the queue needs."""

    number: int
    person: int
    state: str
    done: int
    attempts: int

    @property
    def screened(self) -> bool:
        return self.state not in ("queued", "screening")


@dataclass
class Account:
    """A person: finished runs and screening runs, and the entries with runs left."""

    runs: int = 0
    screenings: int = 0
    open: dict[int, EntrySnapshot] = field(default_factory=dict)
    stamp: int = 0  # of the latest item in the heap; earlier items are stale


class QueueState:
    """Picks the next entry as `queue.turns` does: the person with the least device time, then the earlier entry."""

    def __init__(self, costs: Costs, runs: int) -> None:
        self.costs, self.runs = costs, runs
        self.known: dict[int, EntrySnapshot] = {}
        self.accounts: dict[int, Account] = defaultdict(Account)
        self._heap: list[tuple[float, int, int, int]] = []  # served, entry's number, person, stamp
        self._suspects: set[int] = set()
        self._change = 0  # number of the last change that was read

    def look(self, database: Database) -> None:
        """Read the entries that have changed."""
        with database.read() as connection:
            query = select(EntryChange.change, *QUEUE_COLUMNS).where(EntryChange.change > self._change)
            query = query.join(ContestEntry, ContestEntry.number == EntryChange.number)
            rows = connection.execute(query.order_by(EntryChange.change)).all()
        people = {
            self._take(EntrySnapshot(number, who or HOST, state, done, lost))
            for _, number, who, state, done, lost in rows
        }
        self._change = rows[-1][0] if rows else self._change
        for person in people:
            self._place(person)

    def _take(self, now: EntrySnapshot) -> int:
        account, before = self.accounts[now.person], self.known.get(now.number)
        account.runs += now.done - (before.done if before else 0)
        account.screenings += now.screened - (before.screened if before else False)
        self.known[now.number] = now
        if now.state in ENDED:
            account.open.pop(now.number, None)
        else:
            account.open[now.number] = now
        (self._suspects.add if now.attempts and now.state not in ENDED else self._suspects.discard)(now.number)
        return now.person

    def _place(self, person: int) -> None:
        account = self.accounts[person]
        account.stamp += 1
        first = self._first(person, ())
        if first is not None:
            heapq.heappush(self._heap, (self._served(person, ()), first.number, person, account.stamp))

    def next(self, held: Sequence[ActiveRun]) -> Waiting | None:
        """The next entry to run beside those in progress; a suspect only if no other entry is ready."""
        busy = {hand.person for hand in held}
        candidates = [(self._served(p, held), w.number, w) for p in busy if (w := self._first(p, held)) is not None]
        aside = []
        while self._heap:
            served, number, person, stamp = self._heap[0]
            if stamp == self.accounts[person].stamp and person not in busy:
                first = self._first(person, ())
                assert first is not None and first.number == number
                candidates.append((served, number, first))
                break
            passed = heapq.heappop(self._heap)
            if stamp == self.accounts[person].stamp:
                aside.append(passed)
        for passed in aside:
            heapq.heappush(self._heap, passed)
        return min(candidates)[2] if candidates else self._suspect(held)

    def _suspect(self, held: Sequence[ActiveRun]) -> Waiting | None:
        people = {self.known[number].person for number in self._suspects}
        ready = {w.number: w for p in people for w in self._of(p, held) if w.suspect and not w.blocked}
        number = next(turns(ready.values(), {p: self._served(p, held) for p in people}, self.costs), None)
        return None if number is None else ready[number]

    def waiting(self, held: Sequence[ActiveRun]) -> tuple[list[Waiting], dict[int, float]]:
        """All entries with runs left, and each person's device-seconds, runs in progress included."""
        entries = [waiting for person in self.accounts for waiting in self._of(person, held)]
        served = {person: self._served(person, held) for person in self.accounts}
        return sorted(entries, key=lambda w: w.number), served

    def _first(self, person: int, held: Sequence[ActiveRun]) -> Waiting | None:
        ready = (w for w in self._of(person, held) if not w.blocked and not w.suspect)
        return min(ready, key=lambda w: w.number, default=None)

    def _of(self, person: int, held: Sequence[ActiveRun]) -> Iterable[Waiting]:
        for entry in self.accounts[person].open.values():
            mine = [hand for hand in held if hand.number == entry.number]
            blocked = any(hand.screening for hand in mine)
            left = self.runs - entry.done - sum(not hand.screening for hand in mine)
            if left > 0:
                screening = not entry.screened and not blocked
                yield Waiting(entry.number, person, left, screening, blocked, suspect=entry.attempts > 0)

    def _served(self, person: int, held: Sequence[ActiveRun]) -> float:
        account, mine = self.accounts[person], [hand.screening for hand in held if hand.person == person]
        return self.costs.of(account.runs + mine.count(False), account.screenings + mine.count(True))

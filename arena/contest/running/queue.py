"""The order of the queue: the person with the least device time so far; on a tie, the earlier entry."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from arena.contest.tables import ENDED

HOST = 0  # the "person" of the controls


@dataclass(frozen=True)
class Waiting:
    """The runs left of an entry."""

    number: int
    person: int
    left: int  # runs at full budget not yet started
    screening: bool  # whether its screening run must start first
    blocked: bool = False  # its screening run is in progress
    suspect: bool = False  # its runs were lost with their worker: it runs last, and alone


@dataclass(frozen=True)
class Costs:
    """Device-seconds of a screening run and of a run at full budget."""

    screen: float
    run: float

    def of(self, runs: int, screenings: int) -> float:
        """Device-seconds of these runs. Products instead of sums, so that equal service compares as equal."""
        return runs * self.run + screenings * self.screen


@dataclass(frozen=True)
class ActiveRun:
    """A run in progress, of the entry ``number``."""

    number: int
    screening: bool


class QueuedEntry(Protocol):
    """What the queue needs of an entry."""

    @property
    def number(self) -> int: ...
    @property
    def person_id(self) -> int | None: ...
    @property
    def state(self) -> str: ...
    @property
    def attempts(self) -> int: ...


def in_line(
    entries: Iterable[QueuedEntry],
    runs_done: Mapping[int, int],
    runs: int,
    costs: Costs,
    active: Sequence[ActiveRun] = (),
) -> tuple[list[Waiting], dict[int, float]]:
    """The ``entries``, in the order of arrival, with some of their ``runs`` left, and each person's device-seconds.

    ``runs_done``: entry → its measured runs; ``active``: runs in progress.
    """
    full, screened, waiting = Counter[int](), Counter[int](), []
    for entry in entries:
        number, person = entry.number, entry.person_id or HOST
        is_screening = ActiveRun(number, True) in active
        begun = runs_done.get(number, 0) + active.count(ActiveRun(number, False))
        unscreened = entry.state in ("queued", "screening")
        full[person] += begun
        screened[person] += is_screening or not unscreened
        if entry.state not in ENDED and begun < runs:
            needs_screening = unscreened and not is_screening
            waiting.append(Waiting(number, person, runs - begun, needs_screening, is_screening, entry.attempts > 0))
    return waiting, {person: costs.of(full[person], screened[person]) for person in full}


def next_of(waiting: Iterable[Waiting], served: Mapping[int, float]) -> Waiting | None:
    """Whose run starts next, as in `turns`: a suspect only if no other entry is ready."""
    ready = [w for w in waiting if not w.blocked]
    return min(ready, key=lambda w: (w.suspect, served.get(w.person, 0.0), w.number), default=None)


def turns(waiting: Iterable[Waiting], served: Mapping[int, float], costs: Costs) -> Iterator[int]:
    """Entry numbers in the order in which their runs will start, one per run, given the current queue.

    ``served``: person → device-seconds of their entries, runs in progress included. Suspects come last.
    """
    entries = sorted(waiting, key=lambda w: w.number)
    for group in ([w for w in entries if not w.suspect], [w for w in entries if w.suspect]):
        yield from _by_service(group, dict(served), costs)


def _by_service(entries: list[Waiting], served: dict[int, float], costs: Costs) -> Iterator[int]:
    queues: dict[int, list[list[float]]] = defaultdict(list)  # person → [number, cost] of each run, in order
    for w in entries:
        runs = ([costs.screen] if w.screening else []) + [costs.run] * w.left
        queues[w.person] += [[w.number, cost] for cost in runs]
    heap = [(served.get(person, 0.0), queue[0][0], person) for person, queue in queues.items() if queue]
    heapq.heapify(heap)
    at = dict.fromkeys(queues, 0)
    while heap:
        _, number, person = heapq.heappop(heap)
        served[person] = served.get(person, 0.0) + queues[person][at[person]][1]
        yield int(number)
        at[person] += 1
        if at[person] < len(queues[person]):
            heapq.heappush(heap, (served[person], queues[person][at[person]][0], person))


def forecast(order: Iterable[int], run_seconds: float, workers: int) -> dict[int, tuple[int, float]]:
    """number → (position in the queue from 1, seconds until its last run ends) if a run takes ``run_seconds``.

    Positions are in the order in which the entries are done: which run starts next changes with each run."""
    last = {number: turn for turn, number in enumerate(order)}
    ends = sorted(last.items(), key=lambda item: item[1])
    return {
        number: (position, (turn // max(workers, 1) + 1) * run_seconds)
        for position, (number, turn) in enumerate(ends, 1)
    }

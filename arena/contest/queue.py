"""Who is next: the person who has had the least device time so far; of equals, the earlier entry."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

HOST = 0  # the "person" of the controls


@dataclass(frozen=True)
class Waiting:
    """What is left to do of an entry. ``served``: device-seconds given, or promised to runs in flight."""

    number: int
    person: int
    left: int  # runs at full budget not yet begun
    screening: bool  # whether its screening run is still to begin, before which nothing else can
    blocked: bool = False  # its screening run is in flight
    suspect: bool = False  # runs of it were lost with their worker: it goes last, and alone


@dataclass(frozen=True)
class Costs:
    """Device-seconds of a screening run and of a run at full budget."""

    screen: float
    run: float

    def of(self, runs: int, screenings: int) -> float:
        """Device-seconds of so many. One product each, so that equal service is equal to the last bit."""
        return runs * self.run + screenings * self.screen


def turns(waiting: Iterable[Waiting], served: Mapping[int, float], costs: Costs) -> Iterator[int]:
    """Numbers of entries in the order in which their runs will begin, once for each run, as things stand.

    ``served``: person → device-seconds that their entries have had. Suspects come after everybody else.
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
    """number → (place in the queue from 1, seconds until its last run ends) where a run takes ``run_seconds``."""
    position: dict[int, int] = {}
    last: dict[int, int] = {}
    for turn, number in enumerate(order):
        position.setdefault(number, len(position) + 1)
        last[number] = turn
    return {number: (position[number], (last[number] // max(workers, 1) + 1) * run_seconds) for number in position}

"""Whose turn it is: by the contest's queue, or seed by seed as in a match."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from arena.contest.running.queue import Costs, Waiting, turns
from bench.simulation.scheduler import Want
from bench.simulation.world import World


@dataclass
class Run:
    """A run of an entry; ``done`` steps of ``steps`` stand in its ledger, the last ``verify`` need no thought."""

    run_id: str
    organization: int
    entry: int
    devices: int
    steps: int
    verify: int
    arrived: float
    began: float | None = None
    done: int = 0
    thought: bool = False  # of its next step, which is recorded before it is tried and so outlives its place

    @property
    def verifies(self) -> bool:
        return self.done >= self.steps - self.verify

    @property
    def wanted(self) -> int:
        """Devices of its next step; what verifies is one training after the other."""
        return 1 if self.verifies else self.devices


def want(run: Run) -> Want:
    return Want(run.run_id, run.devices)


@dataclass
class Entry:
    number: int
    organization: int
    arrives: float
    left: list[Run] = field(default_factory=list)  # the next one last


def entries_of(world: World, rng: Random) -> list[Entry]:
    """All that will be entered, by arrival; every run of a world is charged the same device time."""
    made: list[Entry] = []
    for organization in range(1, world.organizations + 1):
        at = 0.0
        for _ in range(world.entries):
            made.append(Entry(0, organization, at))
            at += rng.expovariate(1 / world.entry_seconds) if world.entry_seconds else 0.0
    made.sort(key=lambda entry: entry.arrives)
    for number, entry in enumerate(made, 1):
        entry.number = number
        for index in reversed(range(world.runs)):
            devices = world.wave if rng.random() < world.waves else 1
            steps = max(1, world.experiments // devices) + world.verify
            run_id = f"{number}-{index}"
            entry.left.append(Run(run_id, entry.organization, number, devices, steps, world.verify, entry.arrives))
    return made


class Turns(Iterator[Run]):
    """The contest's order, as its steward asks for it: who has had least, promises included, and of those the first.

    Only the first entry of each organization that has runs left is shown to ``turns``, which would take it anyway.
    """

    def __init__(self, entries: list[Entry]) -> None:
        self._coming = entries[::-1]
        self._here: dict[int, list[Entry]] = {}
        self._served: dict[int, float] = {}

    def arrive(self, now: float) -> None:
        while self._coming and self._coming[-1].arrives <= now:
            entry = self._coming.pop()
            self._here.setdefault(entry.organization, []).append(entry)

    @property
    def left(self) -> bool:
        """Whether anything is still to begin."""
        return bool(self._coming or self._here)

    def __next__(self) -> Run:
        first = [entries[0] for entries in self._here.values()]
        waiting = [Waiting(entry.number, entry.organization, 1, screening=False) for entry in first]
        number = next(turns(waiting, self._served, Costs(0.0, 1.0)), None)
        entry = next((entry for entry in first if entry.number == number), None)
        if entry is None:
            raise StopIteration
        return self._begin(entry)

    def _begin(self, entry: Entry) -> Run:
        who = entry.organization
        self._served[who] = self._served.get(who, 0.0) + 1.0
        run = entry.left.pop()
        if not entry.left:
            self._here[who].remove(entry)
            if not self._here[who]:
                del self._here[who]
        return run


class Seeds(Turns):
    """A match's order: the first run of every entry, then the second of every entry."""

    def __next__(self) -> Run:
        entries = [entry for held in self._here.values() for entry in held]
        if not entries:
            raise StopIteration
        return self._begin(min(entries, key=lambda entry: (-len(entry.left), entry.number)))

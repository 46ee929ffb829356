"""Places jobs on the devices of simulated nodes, as Ray places actors: a state machine without clock.

The simulation reports what happened and requests the next placement. No job is lost: each one is waiting, in flight or
closed, and exactly one result closes it.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

J = TypeVar("J")


@dataclass(frozen=True)
class Node:
    """A machine that can be lost as a whole."""

    name: str
    devices: int


@dataclass(frozen=True)
class Want:
    """What a job needs: ``devices`` of one node at once."""

    job_id: str
    devices: int = 1

    def suits(self, node: Node) -> bool:
        return node.devices >= self.devices


@dataclass(frozen=True)
class Placement(Generic[J]):
    """A job on devices of a node, numbered from 0. ``attempt`` above 0: something may be recorded of it already.

    ``ticket`` is unique; events of the job at this placement are reported under it.
    """

    ticket: int
    job: J
    node: str
    devices: tuple[int, ...]
    attempt: int = 0


@dataclass(order=True)
class _Task(Generic[J]):
    """A job that was accepted, ordered by its arrival, so that a returned job goes to the front."""

    number: int
    job: J = field(compare=False)
    want: Want = field(compare=False)
    attempts: int = field(default=0, compare=False)
    closed: bool = field(default=False, compare=False)
    tickets: list[int] = field(default_factory=list, compare=False)


class Scheduler(Generic[J]):
    """``want`` maps a job to its needs.

    A job goes to the fullest node with enough free devices, which leaves room for large jobs; with ``spread`` it goes
    to the emptiest, because slots that share a device get slower as more are used.

    If no node has room for a job now, one node is reserved for it: devices that become free there are not given to
    later jobs, so small jobs cannot starve a large one. The other nodes continue.
    """

    def __init__(self, want: Callable[[J], Want], *, spread: bool = False) -> None:
        self.nodes: dict[str, Node] = {}  # that live
        self._want = want
        self._spread = spread
        self._free: dict[str, list[int]] = {}  # node → its free devices, ascending
        self._waiting: list[_Task[J]] = []
        self._open: dict[str, _Task[J]] = {}  # job_id → neither done nor abandoned
        self._of: dict[int, _Task[J]] = {}  # ticket → its job, also where the placement was presumed dead
        self._placed: dict[int, Placement[J]] = {}
        self._taken = self._tickets = 0

    # -- nodes ---------------------------------------------------------------------------------------------------

    def join(self, node: Node) -> None:
        """Add a node, new or returning, with all its devices free. ValueError: it is there already."""
        if node.name in self.nodes:
            raise ValueError(f"node {node.name} is here already")
        self.nodes[node.name] = node
        self._free[node.name] = list(range(node.devices))

    def leave(self, name: str) -> None:
        """Remove a node that died; its jobs wait in front of all others."""
        del self.nodes[name], self._free[name]
        for ticket in [ticket for ticket, placed in self._placed.items() if placed.node == name]:
            task = self._of[ticket]
            del self._placed[ticket]
            if not task.closed:
                insort(self._waiting, task)

    # -- jobs ----------------------------------------------------------------------------------------------------

    def next_placement(self, coming: Iterator[J]) -> Placement[J] | None:
        """The next placement; None where nothing can be placed now.

        The next job of ``coming`` is taken only while an unreserved device is free, so its source decides as late as
        possible; it may end and later continue. ValueError: it yields a job that is waiting or in flight.
        """
        while True:
            room = {name for name, free in self._free.items() if free}  # and not reserved
            kept, stuck = set[str](), False
            for task in self._waiting:
                if not room:
                    break
                if (name := self._roomy(task.want, room)) is not None:
                    return self._put(task, name)
                if (name := self._emptiest(task.want, kept)) is not None:
                    kept.add(name)
                    room.discard(name)
                # Returned jobs may wait for their kind of node; one new job that cannot be placed is enough.
                elif not task.attempts:
                    stuck = True
            if stuck or not room:
                return None
            job = next(coming, None)
            if job is None:
                return None
            self._take(job)

    def result(self, ticket: int, whole: bool = True) -> bool:
        """A job ended and its devices are free. Returns whether this result counts.

        The first result counts, even of a placement that was presumed dead. ``whole`` False: the job was interrupted,
        which closes it too, unless its placement was presumed dead.
        """
        here = self._vacate(ticket) is not None
        task = self._of.pop(ticket, None)
        if task is None or task.closed or not (here or whole):
            return False
        self._close(task)
        return True

    def give_back(self, ticket: int) -> None:
        """A job was taken off its devices through no fault of its own; unless it is done, it waits in front."""
        task = self._of.pop(ticket, None)
        if self._vacate(ticket) is not None and task is not None and not task.closed:
            insort(self._waiting, task)

    # -- how things stand ----------------------------------------------------------------------------------------

    @property
    def in_flight(self) -> Mapping[int, Placement[J]]:
        """By ticket. A job is here at most once; one presumed dead may still answer."""
        return self._placed

    @property
    def waiting(self) -> list[J]:
        return [task.job for task in self._waiting]

    def superfluous(self) -> list[Placement[J]]:
        """Placements whose job was completed by another one meanwhile; their results will not count."""
        return [placed for ticket, placed in self._placed.items() if self._of[ticket].closed]

    # -- inside --------------------------------------------------------------------------------------------------

    def _take(self, job: J) -> None:
        want = self._want(job)
        if want.job_id in self._open:
            raise ValueError(f"job {want.job_id} is in hand already")
        task = _Task(self._taken, job, want)
        self._taken += 1
        self._open[want.job_id] = task
        self._waiting.append(task)

    def _roomy(self, want: Want, room: set[str]) -> str | None:
        """The node to use, of those with enough free devices."""
        best, fullest = 1 << 30, None
        for name, node in self.nodes.items():
            if name in room and want.devices <= (free := len(self._free[name])) and want.suits(node):
                rank = -free if self._spread else free
                if rank < best:
                    best, fullest = rank, name
        return fullest

    def _emptiest(self, want: Want, kept: set[str]) -> str | None:
        """The node to reserve: the fewest devices are missing there, and no other job is admitted."""
        best, emptiest = -1, None
        for name, node in self.nodes.items():
            if name not in kept and (free := len(self._free[name])) > best and want.suits(node):
                best, emptiest = free, name
        return emptiest

    def _put(self, task: _Task[J], name: str) -> Placement[J]:
        self._waiting.remove(task)
        free, count = self._free[name], task.want.devices
        placed = Placement(self._tickets, task.job, name, tuple(free[:count]), task.attempts)
        del free[:count]
        task.attempts += 1
        self._tickets += 1
        task.tickets.append(placed.ticket)
        self._of[placed.ticket], self._placed[placed.ticket] = task, placed
        return placed

    def _vacate(self, ticket: int) -> Placement[J] | None:
        """Free the devices of a placement; None where it was presumed dead before."""
        placed = self._placed.pop(ticket, None)
        if placed is not None and placed.node in self._free:
            for device in placed.devices:
                insort(self._free[placed.node], device)
        return placed

    def _close(self, task: _Task[J]) -> None:
        task.closed = True
        self._open.pop(task.want.job_id, None)
        if task in self._waiting:
            self._waiting.remove(task)
        for ticket in task.tickets:
            if ticket not in self._placed:
                self._of.pop(ticket, None)

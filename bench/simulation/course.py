"""A contest on a cluster from its first device to its last result, in simulated time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from random import Random

from bench.simulation.clock import Clock
from bench.simulation.meter import Figures, Meter, figures
from bench.simulation.order import Run, Seeds, Turns, entries_of, want
from bench.simulation.scheduler import Node, Placement, Scheduler, Want
from bench.simulation.world import World


@dataclass(frozen=True)
class Turn:
    """A placed run asks for devices of its node, for one step."""

    ticket: int
    devices: int


@dataclass
class Flight:
    """A step under way."""

    turn: Turn
    run: Run
    lane: int
    began: float
    trains: float  # from here on, after the launch
    ends: float


class Asking(Iterator[Turn]):
    """Turns in the order in which they were asked for."""

    def __init__(self) -> None:
        self.turns: deque[Turn] = deque()

    def __next__(self) -> Turn:
        if not self.turns:
            raise StopIteration
        return self.turns.popleft()


def _needs(turn: Turn) -> Want:
    return Want(str(turn.ticket), turn.devices)


@dataclass
class NodeDevices:
    """The devices of one node, leased a step at a time to the runs that were placed on it."""

    lanes: Scheduler[Turn] = field(default_factory=lambda: Scheduler(_needs))
    asking: Asking = field(default_factory=Asking)
    flights: dict[int, Flight] = field(default_factory=dict)  # ticket of the run → its step


class Course:
    """Draws what happens; ``run`` returns the figures. The same seed gives the same course."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.clock, self.meter = Clock(), Meter()
        self._times, self._failures = Random(f"{seed} times"), Random(f"{seed} failures")
        entries = entries_of(world, Random(f"{seed} entries"))
        self._steps = {run.run_id: run.steps for entry in entries for run in entry.left}
        self._arrivals = sorted({entry.arrives for entry in entries})
        self.order = {"turns": Turns, "seeds": Seeds}[world.order](entries)
        self.runs: Scheduler[Run] = Scheduler(want, spread=world.runs_per_device > 1)
        self._node_devices: dict[str, NodeDevices] = {}
        self._up: dict[str, float] = {}
        self._begun: set[int] = set()  # entries
        self._left = len(self._steps)

    def run(self) -> Figures:
        for number in range(self.world.nodes):
            self._rise(f"node-{number}")
        for at in self._arrivals:
            self.clock.after(at, self._arrive)
        if self.world.failure_seconds:
            self._fail_later()
        self.clock.run(lambda: self._left == 0)
        for name in list(self._up):
            self._account(name)
        return figures(self.meter, self.clock.now, self._steps, self.world.organizations)

    # -- nodes ---------------------------------------------------------------------------------------------------

    def _rise(self, name: str) -> None:
        self._up[name] = self.clock.now
        self.clock.after(self.world.start_seconds, partial(self._join, name, self.clock.now))

    def _join(self, name: str, since: float) -> None:
        if self._up.get(name) != since:  # it died while it started
            return
        devices = self.world.devices_per_node
        self.runs.join(Node(name, devices * self.world.runs_per_device))
        self._node_devices[name] = NodeDevices()
        self._node_devices[name].lanes.join(Node(name, devices))
        self._place()

    def _fail_later(self) -> None:
        self.clock.after(self._failures.expovariate(1 / self.world.failure_seconds), self._fail)

    def _fail(self) -> None:
        self._fail_later()
        if not self._up:
            return
        name = self._failures.choice(sorted(self._up))
        cut_off = self._failures.random() < self.world.ghosts
        self.clock.after(self.world.repair.draw(self._failures), partial(self._rise, name))
        self._account(name)
        self.meter.deaths += 1
        if name in self._node_devices:
            self._lose(name, cut_off)
            self._place()

    def _account(self, name: str) -> None:
        self.meter.up.append((self._up.pop(name), self.clock.now, self.world.devices_per_node))

    def _lose(self, name: str, cut_off: bool) -> None:
        self.runs.leave(name)
        for ticket, flight in self._node_devices.pop(name).flights.items():
            self._waste(flight)
            if cut_off and flight.run.done == flight.run.steps - 1:
                late_result = partial(self._take_late_result, ticket, flight.run)
                self.clock.after(flight.ends - self.clock.now, late_result)

    def _waste(self, flight: Flight) -> None:
        self.meter.wasted += (self.clock.now - flight.began) * flight.turn.devices

    # -- runs ----------------------------------------------------------------------------------------------------

    def _arrive(self) -> None:
        self.order.arrive(self.clock.now)
        self._place()

    def _place(self) -> None:
        while (placed := self.runs.next_placement(self.order)) is not None:
            run = placed.job
            if run.began is None:
                run.began = self.meter.last_begun = self.clock.now
                if run.entry not in self._begun:
                    self._begun.add(run.entry)
                    self.meter.waits.append(run.began - run.arrived)
            self.meter.moved += placed.attempt > 0
            self._step(placed)

    def _step(self, placed: Placement[Run]) -> None:
        """Think of the next step, unless it was thought of elsewhere or only verifies."""
        known = placed.job.verifies or placed.job.thought
        self.clock.after(0.0 if known else self.world.think.draw(self._times), partial(self._ask, placed))

    def _ask(self, placed: Placement[Run]) -> None:
        if placed.ticket in self.runs.in_flight:
            placed.job.thought = True
            self._node_devices[placed.node].asking.turns.append(Turn(placed.ticket, placed.job.wanted))
            self._serve(placed.node)

    def _serve(self, node: str) -> None:
        """Give the node's free devices to those who asked first."""
        node_devices = self._node_devices[node]
        while (lane := node_devices.lanes.next_placement(node_devices.asking)) is not None:
            placed = self.runs.in_flight.get(lane.job.ticket)
            if placed is None:  # withdrawn while it waited
                node_devices.lanes.result(lane.ticket, whole=False)
                continue
            trains = self.clock.now + self.world.launch
            longest = max(self.world.experiment.draw(self._times) for _ in lane.devices)  # a wave ends as a whole
            flight = Flight(lane.job, placed.job, lane.ticket, self.clock.now, trains, trains + longest)
            node_devices.flights[placed.ticket] = flight
            self.clock.after(flight.ends - self.clock.now, partial(self._ended, node_devices, flight, placed))

    def _ended(self, node_devices: NodeDevices, flight: Flight, placed: Placement[Run]) -> None:
        if (
            self._node_devices.get(placed.node) is not node_devices
            or node_devices.flights.get(placed.ticket) is not flight
        ):
            return  # lost with its node, or withdrawn
        del node_devices.flights[placed.ticket]
        node_devices.lanes.result(flight.lane)
        run, devices = placed.job, flight.turn.devices
        self.meter.useful.append((flight.trains, flight.ends, devices, run.organization))
        self.meter.trainings += devices
        self._record(run)
        if run.done < run.steps:
            self._step(placed)
        elif self.runs.result(placed.ticket):
            self._count(run)
            self._place()
        self._serve(placed.node)

    def _record(self, run: Run) -> None:
        self.meter.recorded[run.run_id, run.done] += 1
        run.done += 1
        run.thought = False

    def _count(self, run: Run) -> None:
        self.meter.results[run.run_id] += 1
        self._left -= 1

    def _take_late_result(self, ticket: int, run: Run) -> None:
        """A node that was given up tells a result: it counts unless the run has one."""
        if not self.runs.result(ticket):
            self.meter.dropped += 1
            return
        self._record(run)
        self._count(run)
        for placed in self.runs.superfluous():
            self._withdraw(placed)
        self._place()

    def _withdraw(self, placed: Placement[Run]) -> None:
        self.runs.give_back(placed.ticket)
        node_devices = self._node_devices[placed.node]
        flight = node_devices.flights.pop(placed.ticket, None)
        if flight is not None:
            self._waste(flight)
            node_devices.lanes.result(flight.lane, whole=False)
            self._serve(placed.node)


def simulate(world: World, seed: int) -> Figures:
    return Course(world, seed).run()

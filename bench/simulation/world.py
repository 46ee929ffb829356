"""What is simulated: the devices, who wants them, how long things take and how often nodes die. Times in seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True)
class Spread:
    """Log-normal times with this mean and standard deviation over mean; ``most`` cuts them off at so many means."""

    mean: float
    variation: float = 0.0
    most: float = math.inf

    def draw(self, rng: Random) -> float:
        if not self.mean or not self.variation:
            return self.mean
        width = math.log1p(self.variation**2)
        return min(rng.lognormvariate(math.log(self.mean) - width / 2, math.sqrt(width)), self.most * self.mean)


@dataclass(frozen=True)
class World:
    """A cluster and a contest on it.

    Given by the question: ``organizations``, experiments of 5 minutes, ``failure_seconds`` between two failures of
    any node (exponential; 0: none). Measured: ``launch`` of a command in a sandbox, a second at most.
    All else is assumed: 8 devices a node as machines with H100 have; experiments spread by a
    tenth around their soft budget, which ends at 1.25 times itself; a new node's first worker is ready after 30 s;
    thinking spreads by half its mean; a node is back after ten minutes, spread by half.

    ``experiments``: what a run's budget pays for, on one device or in waves on ``wave`` devices of one node;
    ``verify``: fresh trainings at its end. ``waves``: share of runs in waves. ``runs`` of an ``entry`` play in the
    order of the contest's queue; ``entry_seconds``: between two entries of an organization (exponential; 0: all at
    once). ``ghosts``: share of dead nodes that were only cut off: a run whose last training was under way there tells
    its result all the same. ``runs_per_device`` 1: a run holds its devices while it thinks; above: that many
    runs share one, an experiment at a time, in the order in which they ask.
    """

    nodes: int = 2
    devices_per_node: int = 8
    organizations: int = 12
    entries: int = 4
    runs: int = 4
    experiments: int = 24
    verify: int = 2
    entry_seconds: float = 0.0
    experiment: Spread = Spread(300.0, 0.1, 1.25)
    launch: float = 1.0
    think: Spread = Spread(0.0, 0.5)
    start_seconds: float = 30.0
    waves: float = 0.0
    wave: int = 4
    failure_seconds: float = 0.0
    repair: Spread = Spread(600.0, 0.5)
    ghosts: float = 0.0
    runs_per_device: int = 1
    order: str = "turns"  # of the contest's queue; "seeds": a match's, seed by seed

    @property
    def devices(self) -> int:
        return self.nodes * self.devices_per_node


def think_for(done: float, possible: float, experiment: float = 300.0) -> float:
    """The mean time of thought with which a device that waits for it does ``done`` of ``possible`` experiments."""
    return experiment * (possible / done - 1)

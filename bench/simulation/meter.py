"""What happened in a simulation, and the figures made of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

HOUR = 3600.0


@dataclass
class Meter:
    """Everything that is written down. Spans are (from, to, devices), of what was useful with its organization."""

    up: list[tuple[float, float, int]] = field(default_factory=list)
    useful: list[tuple[float, float, int, int]] = field(default_factory=list)
    wasted: float = 0.0  # device-seconds of trainings that were lost
    trainings: int = 0  # a wave on k devices is k
    recorded: Counter[tuple[str, int]] = field(default_factory=Counter)  # steps of runs, by what the ledger would hold
    results: Counter[str] = field(default_factory=Counter)  # runs whose result was counted
    dropped: int = 0  # results that came too late
    deaths: int = 0
    moved: int = 0  # runs that went on elsewhere
    waits: list[float] = field(default_factory=list)  # of entries, from arrival to their first run
    last_begun: float = 0.0  # when nothing was left to begin

    def upheld(self, until: float) -> float:
        """Device-seconds that devices were up by then."""
        return sum(max(0.0, min(end, until) - start) * devices for start, end, devices in self.up)


@dataclass(frozen=True)
class Figures:
    """What came of a course.

    ``utilization``: useful device-seconds over those that devices were up, start-up and tail included;
    ``before_tail``: until nothing was left to begin.
    ``jain``: Jain's index (Jain, Chiu and Hawe 1984) of the device time that organizations have had by then: 1 all
    alike, 1/n one has all. ``spread``: between the one with most and the one with least, in device-hours, the widest
    of all full hours before the tail; ``spread_share`` of their mean, there at the end.
    ``lost``: runs and steps without result; ``twice``: counted more than once. Waits in hours.
    """

    utilization: float
    before_tail: float
    per_hour: float
    possible: float
    wasted_share: float
    jain_first_hour: float
    jain_later: float  # the lowest of all full hours from the sixth on
    jain: float
    spread: float
    spread_share: float
    hours: float
    tail_hours: float
    lost: int
    twice: int
    dropped: int
    deaths: int
    moved: int
    wait_median: float
    wait_most: float


def jain(had: NDArray[np.float64]) -> float:
    """(Σx)² / (n Σx²)."""
    squares = float((had**2).sum()) * len(had)
    return float(had.sum()) ** 2 / squares if squares else 1.0


def figures(meter: Meter, end: float, steps: dict[str, int], organizations: int) -> Figures:
    """``steps``: run_id → how many it must have. ``end``: when the last run ended."""
    spans = np.array(meter.useful or [(0.0, 0.0, 0, 1)])
    start, stop, devices, who = spans.T
    whose = who.astype(int) - 1

    def had(until: float) -> NDArray[np.float64]:
        seconds = (np.minimum(stop, until) - start).clip(0) * devices
        return np.bincount(whose, weights=seconds, minlength=organizations).astype(np.float64)

    last = min(meter.last_begun or end, end)
    hours = [had(HOUR * h) for h in range(1, int(last / HOUR) + 1)] or [had(last)]
    full, up = had(last), meter.upheld(end)
    lost = sum(meter.results[run] == 0 for run in steps)
    lost += sum(meter.recorded[run, step] == 0 for run, count in steps.items() for step in range(count))
    twice = sum(n > 1 for n in meter.results.values()) + sum(n > 1 for n in meter.recorded.values())
    waits = np.array(meter.waits or [0.0]) / HOUR
    useful, possible = float(had(end).sum()), up / end * HOUR / (useful_mean(meter) or 1.0)
    return Figures(
        utilization=useful / up, before_tail=float(full.sum()) / (meter.upheld(last) or 1.0),
        per_hour=meter.trainings / end * HOUR, possible=possible, wasted_share=meter.wasted / up,
        jain_first_hour=jain(hours[0]), jain_later=min(map(jain, hours[5:]), default=jain(full)), jain=jain(full),
        spread=max(float(np.ptp(had)) for had in hours) / HOUR, spread_share=float(np.ptp(full) / (full.mean() or 1.0)),
        hours=end / HOUR, tail_hours=(end - last) / HOUR, lost=lost, twice=twice, dropped=meter.dropped,
        deaths=meter.deaths, moved=meter.moved, wait_median=float(np.median(waits)), wait_most=float(waits.max()),
    )  # fmt: skip


def useful_mean(meter: Meter) -> float:
    """Device-seconds of a training, in the mean."""
    return sum((end - start) * devices for start, end, devices, _ in meter.useful) / max(meter.trainings, 1)

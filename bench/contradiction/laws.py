"""Twenty planted studies: the gains of every arm, fixed before any screen was looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

HIGH, MIDDLE, LOW = [1.0, 1.1, 0.9, 1.0, 1.05, 0.95], [0.6, 0.7, 0.5, 0.6, 0.65, 0.55], [0.1, 0.3, 0.2, 0.15, 0.25, 0.2]
WIDE = [0.6, 0.9, 0.4, 0.7, 0.8, 0.5]
TWIN_LOW, TWIN_HIGH = [0.2, 0.25, 0.15, 0.3], [0.9, 0.95, 0.85, 0.9]
Gains = Mapping[str, Sequence[float | None]]  # role → gain of each run; None: its verification failed


@dataclass(frozen=True)
class Plant:
    """A study. ``base``: the shape that it is made from (`bench.contradiction.plants`). ``gains``: by role in the
    confirmation, or by program in a match; ``on``: by task, where there are several. ``claimed``: of each run by
    itself. ``at_level``: the champion's gains are shifted until the announced p is just below (-1) or above (1) the
    level. ``baseline``: the untouched script's losses on the confirmation's seeds."""

    base: str
    gains: Gains = field(default_factory=dict)
    on: Mapping[str, Gains] = field(default_factory=dict)
    trust: str = "verified"
    claimed: float | None = None
    at_level: int = 0
    void: tuple[str, ...] = ()
    baseline: tuple[float, ...] = ()


def stock(values: Sequence[float], twin: Sequence[float]) -> dict[str, Sequence[float]]:
    return {"control": values, "a/a": twin}


PLANTS: dict[str, Plant] = {
    "better by one test alone": Plant("one", {"champion": WIDE, **stock([0.1, 0.5, 0.3, 0.2, 0.45, 0.25],
                                                                        [0.9, 0.5, 0.8, 0.6])}),
    "stock's arms differ, champion leads": Plant("one", {"champion": HIGH, **stock(LOW, TWIN_HIGH)}),
    "A/A has no interval": Plant("single", {"champion": HIGH, **stock(LOW, [0.9])}),
    "stock gains nothing": Plant("one", {"champion": HIGH, **stock([0.0] * 6, [0.0] * 4)}),
    "stock loses": Plant("one", {"champion": HIGH, **stock([-g for g in LOW], [-g for g in TWIN_LOW])}),
    "all runs crashed": Plant("one", {"champion": [0.0] * 6, **stock([0.0] * 6, [0.0] * 4)}),
    "verification missing": Plant("one", {"champion": [*HIGH[:4], None, None], **stock(LOW, TWIN_LOW)}),
    "a significant loss": Plant("one", {"champion": LOW, **stock(HIGH, [1.0, 1.05, 0.95, 1.0])}),
    "p just below the level": Plant("one", {"champion": WIDE, **stock(LOW, TWIN_LOW)}, at_level=-1),
    "p just above the level": Plant("one", {"champion": WIDE, **stock(LOW, TWIN_LOW)}, at_level=1),
    "few baseline seeds, wide error": Plant("one", {"champion": MIDDLE, **stock([0.0] * 6, [0.0] * 4)},
                                            baseline=(2.0, 3.1)),
    "claims far above the scores": Plant("one", {"champion": LOW, **stock([*TWIN_LOW, 0.1, 0.3], TWIN_LOW)},
                                         trust="unverified", claimed=2.0),
    "champion is the own program": Plant("own", {"champion": HIGH, "without-ideas": [0.9, 1.1],
                                                 **stock(LOW, TWIN_LOW)}),
    "better without its ideas, stock near 0": Plant("own", {"champion": MIDDLE, "without-ideas": [1.0, 1.05],
                                                            **stock([0.1, -0.1, 0.05, -0.05, 0.1, -0.05],
                                                                    [0.05, -0.04, 0.1, -0.05])}),
    "own program is tested, stock too": Plant("improve", {"champion": MIDDLE, "own": WIDE, **stock(LOW, TWIN_LOW)}),
    "several tasks, one loses": Plant("tasks", on={
        "north": {"champion": HIGH, **stock(LOW, TWIN_LOW)},
        "south": {"champion": LOW, **stock(MIDDLE, [0.6, 0.55, 0.65, 0.6])}}),
    "held-out task and variant disagree": Plant("reserve", on={
        "home": {"champion": HIGH, **stock(LOW, TWIN_LOW)}, "far": {"champion": LOW, "control": HIGH},
        "variant": {"champion": LOW, "control": MIDDLE}}),
    "a steered program wins, held-out too": Plant("steered", on={
        "home": {"champion": LOW, **stock(LOW, TWIN_LOW)}, "far": {"champion": HIGH, "control": LOW}}),
    "stopped before the confirmation, stock's arms differ": Plant("match", {
        "queue": HIGH, "stock": LOW, "stock again": TWIN_HIGH, "voided": [2.0, 2.1, 1.9]}, void=("voided",)),
    "two tied leaders, one seed each": Plant("match", {"first": [1.0], "second": [0.98], "stock": [0.1]}),
}  # fmt: skip

"""Race rules: how many runs each arm of a match gets. One rule a file in ``arena.racers``, behind ``Racer``."""

from collections.abc import Callable

from arena.racers.allocation import Allocation
from arena.racers.contract import ArmScore, Racer, RaceStart, shrunken
from arena.racers.halving import SequentialHalving, Stage
from arena.racers.top_two import TopTwo, in_doubt
from programs.common.registry import Registry

__all__ = [
    "RACE_RULES",
    "Allocation",
    "ArmScore",
    "RaceStart",
    "Racer",
    "SequentialHalving",
    "Stage",
    "TopTwo",
    "in_doubt",
    "shrunken",
]

RACE_RULES: Registry[Callable[[RaceStart], Racer]] = Registry("race_rules", "arena.racers", ("start",))

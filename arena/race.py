"""Racers: how many runs each arm of a match gets. One algorithm a file in ``arena.racers``, behind ``Racer``."""

from arena.racers.allocation import Allocation
from arena.racers.contract import ArmScore, Racer, shrunken
from arena.racers.halving import SequentialHalving, Stage
from arena.racers.top_two import TopTwo, in_doubt

__all__ = ["Allocation", "ArmScore", "Racer", "SequentialHalving", "Stage", "TopTwo", "in_doubt", "shrunken"]

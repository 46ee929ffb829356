"""Fixed numbers of runs."""

from __future__ import annotations

from arena.race import Allocation
from tests.arena.racers import play


def test_every_arm_gets_its_number() -> None:
    gains = play(Allocation({"a": 3, "b": 1}), lambda _: 0.0, ["a", "b"])
    assert {a: len(g) for a, g in gains.items()} == {"a": 3, "b": 1}

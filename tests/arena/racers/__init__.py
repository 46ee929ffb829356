"""Race rules, each with its own tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from arena.race import ArmScore, Racer


def play(
    racer: Racer, draw: Callable[[str], float], arms: Sequence[str], raced: set[str] | None = None
) -> dict[str, list[float]]:
    """Carry a race out with gains drawn by ``draw(arm)``; returns every arm's gains."""
    gains: dict[str, list[float]] = {arm: [] for arm in arms}
    while wanted := racer.next_round([ArmScore(a, raced is None or a in raced, tuple(g)) for a, g in gains.items()]):
        for arm, runs in wanted.items():
            gains[arm] += [draw(arm) for _ in range(runs - len(gains[arm]))]
    return gains

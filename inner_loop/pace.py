"""How many candidates the remaining budget covers."""

from __future__ import annotations

from inner_loop.bench import Bench
from programs.charter import Charter, promoted


def next_wave(bench: Bench, charter: Charter) -> tuple[int, int]:
    """(candidates to draw, how many to promote). promoted = 0: all are trained in full at once, as are those of a task
    that cannot be given a part of its budget.

    A wave that the budget cannot finish is made smaller, because a screened candidate that cannot be promoted is
    wasted. (0, 0) if not even one full candidate can be afforded.
    """
    full = bench.cost() * charter.replicates
    if not bench.meter.affords(full):
        return 0, 0
    fraction = bench.part(charter.screen.fraction)
    if fraction < 1.0:
        for size in range(charter.wave, 1, -1):
            chosen = promoted(size, charter.screen.promote)
            if chosen < size and bench.meter.affords(size * bench.cost(fraction) + chosen * full):
                return size, chosen
    size = charter.wave if fraction >= 1.0 else 1
    while size > 1 and not bench.meter.affords(size * full):
        size -= 1
    return size, 0

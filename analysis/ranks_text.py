"""What the tests of all pairs of a match show, in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from analysis.ranks import ALPHA, welch_p
from analysis.wording import chance, many


class PairedArm(NamedTuple):
    """An arm of a match with runs that count: mean gain, its standard error, number of runs."""

    name: str
    gain: float
    se: float | None
    n: int


def tests(arms: int) -> str:
    """``Welch's t tests at 5%, Holm-corrected for all 15 pairs``."""
    pairs = math.comb(arms, 2)
    return f"Welch's t test{f's at 5%, Holm-corrected for all {pairs} pairs' if pairs > 1 else ' at 5%'}"


def undecided(arms: Sequence[PairedArm]) -> str:
    """That no pair differs significantly; a p that only the correction makes too large is named, since its intervals
    may not even touch."""
    text = f"Too few runs to separate these programs ({tests(len(arms))})."
    below = list(_uncorrected(arms))
    if not below:
        return text
    p, better, worse = min(below)
    differ = f"{many(len(below), 'pair')} {'has' if len(below) == 1 else 'have'} p < 0.05"
    least = "it is" if len(below) == 1 else "the smallest is"
    return f"{text} Without the correction, {differ}; {least} {chance(p, ALPHA)}, {better} against {worse}."


def _uncorrected(arms: Sequence[PairedArm]) -> Iterator[tuple[float, str, str]]:
    """(p of Welch's t test, the better arm, the worse arm) for each pair with two runs each and p below ALPHA."""
    import numpy as np

    tested = sorted((arm for arm in arms if arm.n > 1 and arm.se is not None), key=lambda arm: -arm.gain)
    columns = np.asarray([(arm.gain, (arm.se or 0.0) ** 2, arm.n - 1) for arm in tested]).reshape(-1, 3)
    means, errors, free = columns.T
    for i, one in enumerate(tested):
        rest = slice(i + 1, None)
        p = welch_p(means[i] - means[rest], errors[i], errors[rest], free[i], free[rest])
        yield from ((float(p[j]), one.name, tested[i + 1 + j].name) for j in np.flatnonzero(p < ALPHA))

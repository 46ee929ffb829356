"""What the tests of all pairs of a match show, in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

from analysis.ranks import ALPHA
from analysis.statistics import satterthwaite, t_test
from analysis.wording import many, p_text


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
    below = sorted(pair for pair in _uncorrected(arms) if pair[0] < ALPHA)
    if not below:
        return text
    p, better, worse = below[0]
    differ = f"{many(len(below), 'pair')} {'has' if len(below) == 1 else 'have'} p < 0.05"
    least = "it is" if len(below) == 1 else "the smallest is"
    return f"{text} Without the correction, {differ}; {least} {p_text(p).removeprefix('= ')}, {better} against {worse}."


def _uncorrected(arms: Sequence[PairedArm]) -> Iterator[tuple[float, str, str]]:
    """(p of Welch's t test, the better arm, the worse arm) for each pair with two runs each."""
    for one, other in combinations(sorted(arms, key=lambda arm: -arm.gain), 2):
        if one.n > 1 and other.n > 1 and one.se and other.se:
            df = satterthwaite([(one.se**2, one.n - 1), (other.se**2, other.n - 1)])
            p = t_test(one.gain - other.gain, math.hypot(one.se, other.se), df)
            if p is not None:
                yield p, one.name, other.name

"""Simulated contests: how often the close names the best entry, or a wrong one, and what it costs.

python -m bench.contest_decision [CONTESTS [LAW ...]]        default: 1,000 contests of each law

Leaders, race and tests are the product's code; only the gains of runs are drawn, normal
with the SD that `contest init` assumes (a third of stock's gain, which is 1). 20 entries, the defaults of `init`. Laws,
all fixed before the first measurement:

spread: the second gains 1.2 (stock 1), the best 1.3 times as much, 18 others uniform between .5 and 1 times the second
equals: the best gains 1.3, nineteen others 1, like stock: the hardest case, and the one that `init` plans for
twins:  the two best gain 1.3 alike, 18 others uniform between .5 and 1 times that: nobody can be named
none:   all twenty gain 1, like stock: whoever is named is wrong

Equal allocation: as many runs for each leader and both arms of stock, one test at the end, Holm over all pairs. Its
runs each are the fewest at which it names the best entry as often as the race did.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from analysis.verdict.standings import rank_ranges
from arena.contest.plan import NOISE, plan_close
from arena.contest.ranking.race import MOST_LEADERS, follow, looks_until
from bench.common import figure, share_interval

CONTESTS, ENTRIES, BOARD_RUNS = 1000, 20, 4
LAWS = ("spread", "equals", "twins", "none")
SIZES = (12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128)


@dataclass(frozen=True)
class Drawn:
    """An entry of a simulated contest."""

    number: int
    role: str


@dataclass(frozen=True)
class Close:
    """One close: who was named, and the runs of all arms."""

    winners: tuple[int, ...]
    runs: int


def truths(law: str, rng: np.random.Generator) -> list[float]:
    """True gains; the best entry first."""
    others = rng.uniform(0.5, 1.0, ENTRIES - 2).tolist()
    if law == "spread":
        return [1.3 * 1.2, 1.2, *(1.2 * each for each in others)]
    if law == "twins":
        return [1.3, 1.3, *(1.3 * each for each in others)]
    return [1.3 if law == "equals" else 1.0] + [1.0] * (ENTRIES - 1)


def leaders(gains: Sequence[float], rng: np.random.Generator) -> list[int]:
    """Who leads the board after its runs: rank range includes 1, at most twelve with the highest averages."""
    arms = [*gains, 1.0, 1.0]
    board = {i: (gain + NOISE * rng.standard_normal(BOARD_RUNS)).tolist() for i, gain in enumerate(arms)}
    ranks, means = rank_ranges(board), {i: fmean(runs) for i, runs in board.items()}
    ahead = sorted((i for i in range(len(gains)) if ranks[i][0] == 1), key=lambda i: -means[i])
    return ahead[:MOST_LEADERS] or [max(range(len(gains)), key=lambda i: means[i])]


def entered(numbers: Sequence[int]) -> list[Drawn]:
    return [*(Drawn(i, "program") for i in numbers), Drawn(ENTRIES, "control"), Drawn(ENTRIES + 1, "a/a")]


def race(entries: Sequence[Drawn], runs: Mapping[int, Sequence[float]], looks: Sequence[int]) -> Close:
    """The race, each entry given its drawn runs as it asks for them."""
    had = dict.fromkeys(runs, 0)
    while (now := follow(entries, {i: runs[i][:n] for i, n in had.items()}, looks)).wanted:
        had |= now.wanted
    return Close(tuple(i for i in now.entries if i in now.above_stock), sum(had.values()))


def equal(entries: Sequence[Drawn], runs: Mapping[int, Sequence[float]], each: int) -> Close:
    """The entry that all others, stock included, are significantly below."""
    twins = [*runs[ENTRIES][:each], *runs[ENTRIES + 1][:each]]
    ranks = rank_ranges({**{e.number: runs[e.number][:each] for e in entries[:-2]}, ENTRIES: twins})
    winners = (e.number for e in entries[:-2] if ranks[e.number][1] == 1)
    return Close(tuple(winners), each * len(entries))


def contests(law: str, count: int, most: int) -> tuple[list[Close], dict[int, list[Close]]]:
    """Closes by the race, and by equal allocation at each size, of the same contests and runs."""
    looks, sizes = looks_until(most), [size for size in SIZES if size <= max(most, SIZES[-1])]
    raced: list[Close] = []
    equals: dict[int, list[Close]] = {size: [] for size in sizes}
    for number in range(count):
        rng = np.random.default_rng([19, LAWS.index(law), number])
        gains = truths(law, rng)
        entries = entered(leaders(gains, rng))
        gain_of = {**dict(enumerate(gains)), ENTRIES: 1.0, ENTRIES + 1: 1.0}
        length = max(most, sizes[-1])
        runs = {e.number: (gain_of[e.number] + NOISE * rng.standard_normal(length)).tolist() for e in entries}
        raced.append(race(entries, runs, looks))
        for size in sizes:
            equals[size].append(equal(entries, runs, size))
    return raced, equals


def named(closes: Sequence[Close]) -> float:
    return sum(close.winners == (0,) for close in closes) / len(closes)


def wrong(law: str, close: Close) -> bool:
    """Whether one entry was named that is not the best, or not better than stock."""
    best = {"twins": {0, 1}, "none": set()}.get(law, {0})
    return len(close.winners) == 1 and close.winners[0] not in best


def tell(law: str, count: int, most: int) -> None:
    raced, equals = contests(law, count, most)

    def share(which: Sequence[bool]) -> str:
        low, high = share_interval(sum(which), len(which))
        return f"{sum(which) / len(which):.3f} [{low:.3f}, {high:.3f}]"

    promised = law in ("spread", "equals")
    figure(f"{law}_best_named", share([close.winners == (0,) for close in raced]), ">= .8" if promised else None)
    figure(f"{law}_wrong_named", share([wrong(law, close) for close in raced]), "<= .05")
    figure(f"{law}_tied", share([len(close.winners) > 1 for close in raced]))
    spent = float(np.mean([close.runs for close in raced]))
    figure(f"{law}_runs", f"{spent:.0f} on average, stock included")
    if not promised:
        return
    size = next((size for size, closes in equals.items() if named(closes) >= named(raced)), None)
    if size is None:
        best = max(named(closes) for closes in equals.values())
        figure(f"{law}_equal", f"names the best in {best:.3f} of contests at most, with {max(equals)} runs each")
        return
    ratio = spent / float(np.mean([close.runs for close in equals[size]]))
    mistakes = share([wrong(law, close) for close in equals[size]])
    figure(f"{law}_equal", f"{size} runs each name the best in {named(equals[size]):.3f}, a wrong one in {mistakes}")
    figure(f"{law}_device_time_ratio", round(ratio, 3), "<= .35")


def main(words: Sequence[str]) -> None:
    count = int(words[0]) if words else CONTESTS
    plan = plan_close(NOISE)
    figure("plan", f"{plan.runs} runs at most, looks after {looks_until(plan.runs)}; promised {plan.power:.3f}")
    for law in words[1:] or LAWS:
        tell(law, count, plan.runs)


if __name__ == "__main__":
    main(sys.argv[1:])

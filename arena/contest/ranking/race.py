"""The race of the leaders: fresh runs go on until one entry is separated from all others, or every look is taken.

The looks are numbers of runs of each entry that is still in, fixed before the contest opens. At a look, an entry that
is below another one, or below stock, by a one-sided test leaves the race. The level of every test is 5% over the number
of leaders and over the number of looks, so that the best entry leaves, or another one wins, in at most 5% of contests
(a union bound: a wrong winner must have been put above the best entry, or above stock, at some look). A look uses the
first runs of each entry, whatever the looks before decided; that is why stopping early costs no validity. The tests
are Welch's; all of it is conditional on the measured mean of the untouched script, as is the board.

Equal allocation would give all leaders as many runs as the two best need: `bench.contest_decision` compares.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import NamedTuple, Protocol

from analysis.statistics import welch_difference
from analysis.verdict.power import runs_needed
from arena.contest.stored import MeasuredRow

ALPHA = 0.05  # a wrong winner, over all tests and looks
FIRST, GROWTH = 5, 1.4  # runs at the first look; each look has as many times more
MOST_LEADERS = 12

Gains = Mapping[int, Sequence[float]]  # entry's number → verified gains of its confirming runs


class Racing(Protocol):
    """What the race needs to know of an entry."""

    @property
    def number(self) -> int: ...
    @property
    def role(self) -> str: ...


class Loss(NamedTuple):
    """Why an entry left: significantly below ``to`` (an entry's number, or stock's), by ``by`` after ``runs`` runs."""

    to: int
    by: float
    runs: int


def looks_until(most: int) -> list[int]:
    """The numbers of runs at the looks of a race that ends with ``most`` runs of an entry."""
    looks = [min(FIRST, most)]
    while looks[-1] < most:
        looks.append(min(most, math.ceil(GROWTH * looks[-1])))
    if len(looks) > 2 and looks[-1] < looks[-2] * (1 + GROWTH) / 2:  # a last look close to the one before wastes level
        del looks[-2]
    return looks


def leaders_of(rows: Sequence[MeasuredRow], most: int) -> list[int]:
    """Numbers of the leaders of a board without copies (``rows``: best first), best first: rank range includes 1.

    If stock is significantly above every entry, the best of them: the decision then says that it does not beat stock.
    """
    programs = [row for row in rows if row["role"] == "program"]
    first = [row for row in programs if row["rank_low"] == 1] or programs[:1]
    return [row["number"] for row in first][:most]


def level_of(leaders: int, looks: Sequence[int]) -> float:
    """The level of one test of the race."""
    return ALPHA / max(leaders, 1) / len(looks)


@dataclass
class Race:
    """How far a race is. ``entries``: numbers of the leaders that are still in; ``above_stock``: those of them that are
    above stock; ``out``: entry → why it left: the best entry that it was below, or stock; ``wanted``: entry → runs
    until the next look, empty when the race is over; ``samples``: `samples_of` at the last look."""

    looks: Sequence[int]
    level: float
    entries: list[int]
    above_stock: set[int] = field(default_factory=set)
    out: dict[int, Loss] = field(default_factory=dict)
    looked: int = 0  # runs at the last look
    wanted: dict[int, int] = field(default_factory=dict)
    samples: Gains | None = None

    @property
    def settled(self) -> bool:
        """Whether nothing is left to find out: one entry that is above stock, or none."""
        return len(self.entries) < 2 and self.above_stock.issuperset(self.entries)


def follow(entries: Sequence[Racing], gains: Gains, looks: Sequence[int], leaders: int | None = None) -> Race:
    """Replay a race from the runs that there are. ``entries``: the leaders and both arms of stock; ``leaders``: number
    of leaders at the start, if some were left out since.
    """
    controls = [entry.number for entry in entries if entry.role != "program"]
    programs = [entry.number for entry in entries if entry.role == "program"]
    race = Race(looks, level_of(leaders or len(programs), looks), programs)
    for look in looks:
        running = [*race.entries, *(() if race.above_stock.issuperset(race.entries) else controls)]
        if not programs or any(len(gains[number]) < look for number in running):
            race.wanted = dict.fromkeys(running, look) if programs else {}
            return race
        part = {number: gains[number][:look] for number in (*race.entries, *controls)}
        taking = [entry for entry in entries if entry.number in race.entries or entry.number in controls]
        _look(race, samples_of(taking, part), look, next((e.number for e in entries if e.role == "control"), None))
        race.looked = look
        if race.settled:
            break
    return race


def _look(race: Race, samples: Gains, runs: int, stock: int | None) -> None:
    """Who leaves, and who is above stock, by the gains at the look after ``runs`` runs."""
    race.samples = samples
    still = [number for number in race.entries if samples.get(number)]

    def below(number: int, others: Iterable[int]) -> dict[int, float]:
        """By how much others are significantly below an entry, for each by itself."""
        leads = {other: welch_difference(samples[number], samples[other]) for other in others if other != number}
        return {other: lead.or_zero for other, lead in leads.items() if lead.one_sided() < race.level}

    def leave(others: Mapping[int, float], to: int) -> None:
        race.out |= {other: Loss(to, by, runs) for other, by in others.items() if other not in race.out}

    for number in sorted(still, key=lambda number: -fmean(samples[number])):
        leave(below(number, still), number)
        if stock is not None and below(number, [stock]):
            race.above_stock.add(number)
    if stock is not None:
        leave(below(stock, still), stock)
    race.entries = [number for number in still if number not in race.out]


def samples_of(entries: Iterable[Racing], gains: Gains) -> dict[int, list[float]]:
    """The gains of each entry. The control and its A/A arm are one sample, under the control's number; entries with the
    same program stay separate."""
    samples = {entry.number: list(gains[entry.number]) for entry in entries if entry.role != "a/a"}
    control = next((entry.number for entry in entries if entry.role == "control"), None)
    for twin in entries:
        if twin.role == "a/a" and control is not None:
            samples[control] += gains[twin.number]
    return samples


def runs_to_separate(first: Sequence[float], second: Sequence[float], level: float) -> int | None:
    """Runs of each of two entries that would separate them with 80% power at ``level`` if their true gains differ as
    the measured ones do; None where they do not differ, or a million would not do."""
    lead = welch_difference(first, second)
    if lead.or_zero <= 0 or lead.se is None:
        return None
    return runs_needed(lead.or_zero, lead.se * math.sqrt(len(first) / 2), level=level)

"""The programs that ran in two studies, for the same purpose where they can be, and what did best in each study."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.figures_text import with_interval
from analysis.script_text import script_gain
from analysis.statistics import Mean, mean_interval
from analysis.wording import interval_decimals, many, plain_number, plain_text
from meta.cli.gain_difference import (
    SEARCH,
    ComparedStudy,
    GainDifference,
    bracket,
    conditions,
    gain_differences,
    joined,
    purpose_of,
    runs_of,
)

if TYPE_CHECKING:
    from analysis.found_scripts import FoundScript
    from meta.cli.board import MatchView

PURPOSES = ("confirmation", SEARCH)  # of matches on a study's own tasks, the first preferred
MOST = 3  # tasks whose best programs are named


@dataclass(frozen=True)
class Measured:
    """What gains of runs depend on; those of one study with the same values can be averaged."""

    task: str
    purpose: str
    stream: str
    conditions: tuple[tuple[str, str], ...]

    @property
    def unit(self) -> str:
        return dict(self.conditions)["unit"]

    @property
    def rank(self) -> int:
        return PURPOSES.index(self.purpose) if self.purpose in PURPOSES else len(PURPOSES)


def gains_by_program(study: ComparedStudy) -> Mapping[str, Mapping[Measured, Sequence[float]]]:
    """Program → the verified gains of its finished runs in all arms, without the matches that neither chose programs
    nor confirmed one, such as ablations, and without a confirmation that is not complete."""
    gains: dict[str, dict[Measured, list[float]]] = defaultdict(lambda: defaultdict(list))
    for match in study.board.matches.values():
        if match.event.get("purpose") in ("ablation", "night") or is_partial(study, match):
            continue
        on = measured_on(study, match)
        for arm in match.arms.values():
            if arm.gains:
                gains[arm.program_id][on] += arm.gains
    return gains


def is_partial(study: ComparedStudy, match: MatchView) -> bool:
    """Whether it confirms a program of a study that has no verdict yet: its means may change, and are of few runs."""
    return study.board.champion is None and match.event.get("purpose") == "confirmation"


def measured_on(study: ComparedStudy, match: MatchView) -> Measured:
    known = tuple(conditions(study.board, match).items())
    return Measured(str(match.event.get("task")), purpose_of(match), str(match.event.get("stream") or ""), known)


def ran_in_both(first: ComparedStudy, second: ComparedStudy) -> Iterator[GainDifference]:
    """Each program with runs in both studies under the same conditions, once for each task."""
    ours, theirs = gains_by_program(first), gains_by_program(second)
    arms = [arm for match in first.board.matches.values() for arm in match.arms.values()]
    stock = {arm.program_id for arm in arms if arm.role == "control"}
    for identity in (one for one in ours if one in theirs):
        pairs = [(a, b) for a in ours[identity] for b in theirs[identity] if a.conditions == b.conditions]
        for task in dict.fromkeys(a.task for a, b in pairs if a.task == b.task):
            own = [(a, b) for a, b in pairs if a.task == task == b.task]
            a, b = min(own, key=lambda pair: (pair[0].purpose != pair[1].purpose, pair[0].rank + pair[1].rank))
            gains, of = (ours[identity][a], theirs[identity][b]), ((first, second), (identity, identity))
            stream, purpose = joined((a.stream, b.stream)), joined((a.purpose, b.purpose))
            yield from gain_differences(*of, gains, task, a.unit, stream, purpose, identity in stock)


@dataclass(frozen=True)
class BestProgram:
    """The program with the largest average gain in the matches of a purpose, on a stream."""

    program: str
    stream: str
    gain: Mean
    purpose: str


@dataclass(frozen=True)
class BestPrograms:
    """Of one study on one task; ``side``: 0 of the first study, 1 of the second; ``conditions``: what the gains depend
    on; ``script``: the gain of its best train.py, empty without one."""

    study: str
    side: int
    task: str
    unit: str
    conditions: Mapping[str, str]
    programs: tuple[BestProgram, ...]
    script: str = ""
    best_script: FoundScript | None = None

    @property
    def sentence(self) -> str:
        said = [f"{size} {runs_of(one.purpose)})" for one, size in zip(self.programs, self.sizes, strict=True)]
        script = [f"best train.py {self.script}"] if self.script else []
        return f"Best in {self.study} on {self.task} (average of all runs of a program): {'; '.join([*said, *script])}."

    @property
    def sizes(self) -> list[str]:
        """Of each program, its name and its gain; the bracket of its runs is open."""
        out = []
        for one in self.programs:
            digits = interval_decimals(one.gain.low, one.gain.high)
            size = f"{plain_number(one.gain.mean, digits)} {self.unit}".rstrip() + bracket(one.gain, digits)
            out.append(f"{one.program} {size} ({many(one.gain.n, 'run')}")
        return out

    @property
    def cells(self) -> dict[str, str]:
        """What did best, by what it is."""
        pairs = zip(self.programs, self.sizes, strict=True)
        known = {f"best program {runs_of(one.purpose)}": f"{size})" for one, size in pairs}
        return known | ({"best train.py": self.script} if self.script else {})


def better_script(best: Sequence[BestPrograms]) -> str:
    """Which study's best train.py gains more on a task, in a sentence; empty unless both have one, under the same
    conditions. The limits of the difference by MOVER (Zou and Donner 2008), from the intervals of the two gains."""
    first, second = (each.best_script for each in best)
    if first is None or second is None or best[0].conditions != best[1].conditions:
        return ""
    one, other = ((each.low, each.gain, each.high) for each in (first, second))
    if one[0] is None or one[1] is None or one[2] is None or other[0] is None or other[1] is None or other[2] is None:
        return ""
    apart = other[1] - one[1]
    low = apart - math.hypot(other[1] - other[0], one[2] - one[1])
    high = apart + math.hypot(other[2] - other[1], one[1] - one[0])
    gains = " and ".join(f"{each.script} in {each.study}" for each in best)
    more = f"better in {best[1].study if apart > 0 else best[0].study}"
    result = "not significantly different" if low <= 0 <= high else more
    difference = plain_text(with_interval(apart, low, high, first.unit))
    return f"On {best[0].task}, the best train.py is {result}: {gains}, difference {difference}."


def best_programs(study: ComparedStudy, side: int) -> Iterator[BestPrograms]:
    """On each of the first tasks, the best program of the search and that of the confirmation."""
    gains, decision = gains_by_program(study), study.board.decision
    known = dict.fromkeys(on for own in gains.values() for on in own if on.purpose in PURPOSES)
    deciding = [measured_on(study, match) for match in study.board.deciding if not is_partial(study, match)]
    scripts = {one.task: one for one in (decision.scripts if decision else ())}
    for task in list(dict.fromkeys(on.task for on in known))[:MOST]:
        best = []
        for purpose in reversed(PURPOSES):
            there = [on for on in known if (on.task, on.purpose) == (task, purpose)]
            if there:  # with a larger run budget, a study has further runs: not with those
                runs = {on: sum(len(own.get(on, ())) for own in gains.values()) for on in there}
                on = max(there, key=lambda one: (one in deciding, runs[one]))
                means = {identity: mean_interval(own[on]) for identity, own in gains.items() if on in own}
                top = max(means, key=lambda identity: means[identity].mean or 0.0)
                best.append(BestProgram(study.board.name(top), on.stream, means[top], purpose))
        on, script = next(on for on in (*deciding, *known) if on.task == task), scripts.get(task)
        said = plain_text(script_gain(script, why=False)) if script else ""
        yield BestPrograms(study.name, side, task, on.unit, dict(on.conditions), tuple(best), said, script)

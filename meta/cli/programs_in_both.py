"""The programs that ran in two studies, on the same stream where they can be, and what did best in each study."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from analysis.script_text import harvested_of, script_gain
from analysis.statistics import Mean, mean_interval
from analysis.wording import interval_decimals, many, plain_number, plain_text
from meta.cli.gain_difference import ComparedStudy, GainDifference, bracket, conditions, gain_differences, runs_of

STREAMS = ("confirmation", "selection")  # of a study's own tasks, the first preferred
MOST = 3  # tasks whose best programs are named


@dataclass(frozen=True)
class Measured:
    """What gains of runs depend on; those of one study with the same values can be averaged."""

    task: str
    stream: str
    conditions: tuple[tuple[str, str], ...]

    @property
    def unit(self) -> str:
        return dict(self.conditions)["unit"]

    @property
    def rank(self) -> int:
        return STREAMS.index(self.stream) if self.stream in STREAMS else len(STREAMS)


def gains_of(study: ComparedStudy) -> Mapping[str, Mapping[Measured, Sequence[float]]]:
    """Program → the verified gains of its finished runs in all matches and arms."""
    gains: dict[str, dict[Measured, list[float]]] = defaultdict(lambda: defaultdict(list))
    for match in study.board.matches.values():
        known = tuple(conditions(study.board, match).items())
        on = Measured(str(match.event.get("task")), str(match.event.get("stream") or ""), known)
        for arm in match.arms.values():
            if arm.gains:
                gains[arm.program_id][on] += arm.gains
    return gains


def ran_in_both(first: ComparedStudy, second: ComparedStudy) -> Iterator[GainDifference]:
    """Each program with runs in both studies under the same conditions, once for each task."""
    ours, theirs = gains_of(first), gains_of(second)
    arms = [arm for match in first.board.matches.values() for arm in match.arms.values()]
    stock = {arm.program_id for arm in arms if arm.role == "control"}
    for identity in (one for one in ours if one in theirs):
        pairs = [(a, b) for a in ours[identity] for b in theirs[identity] if a.conditions == b.conditions]
        for task in dict.fromkeys(a.task for a, b in pairs if a.task == b.task):
            own = [(a, b) for a, b in pairs if a.task == task == b.task]
            a, b = min(own, key=lambda pair: (pair[0].stream != pair[1].stream, pair[0].rank))
            gains, stream = (ours[identity][a], theirs[identity][b]), "/".join(dict.fromkeys((a.stream, b.stream)))
            of = (first, second), (identity, identity)
            yield from gain_differences(*of, gains, task, a.unit, stream, identity in stock)


@dataclass(frozen=True)
class BestProgram:
    """The program with the largest average gain on a stream."""

    program: str
    stream: str
    gain: Mean


@dataclass(frozen=True)
class BestPrograms:
    """Of one study on one task; ``script``: the gain of its best train.py, empty without one."""

    study: str
    task: str
    unit: str
    programs: tuple[BestProgram, ...]
    script: str = ""

    @property
    def sentence(self) -> str:
        said = []
        for one in self.programs:
            digits = interval_decimals(one.gain.low, one.gain.high)
            size = f"{plain_number(one.gain.mean, digits)} {self.unit}".rstrip() + bracket(one.gain, digits)
            said.append(f"{one.program} {size} ({many(one.gain.n, 'run')} {runs_of(one.stream)})")
        script = [f"best train.py {self.script}"] if self.script else []
        return f"Best in {self.study} on {self.task}: {'; '.join([*said, *script])}."


def best_programs(study: ComparedStudy) -> Iterator[BestPrograms]:
    """On each of the first tasks, the best program of the search and that of the confirmation."""
    gains, decision = gains_of(study), study.board.decision
    known = dict.fromkeys(on for own in gains.values() for on in own if on.stream in STREAMS)
    scripts = {
        one.task: plain_text(script_gain(one, why=False)) for one in (harvested_of(decision) if decision else ())
    }
    for task in list(dict.fromkeys(on.task for on in known))[:MOST]:
        best = []
        for stream in reversed(STREAMS):
            there = [on for on in known if (on.task, on.stream) == (task, stream)]
            if there:  # with a larger run budget, a study has further runs: not with those
                on = max(there, key=lambda one: sum(len(own.get(one, ())) for own in gains.values()))
                means = {identity: mean_interval(own[on]) for identity, own in gains.items() if on in own}
                top = max(means, key=lambda identity: means[identity].mean or 0.0)
                best.append(BestProgram(study.board.name(top), stream, means[top]))
        yield BestPrograms(
            study.name, task, next(on.unit for on in known if on.task == task), tuple(best), scripts.get(task, "")
        )

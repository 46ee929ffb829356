"""The first picture of a study: the gains of its runs by generation, or `main` of a night over device time.

Lengths are in percent of the picture, so that it fits any width, and a list has it small.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import mean

from analysis.report.axis import Axis
from analysis.statistics import mean_interval
from analysis.wording import brief, number
from programs.common.text import shortened
from programs.shelf import starter

LEFT, RIGHT, TOP, BOTTOM = 10.0, 99.0, 10.0, 86.0
MOST_DOTS, MOST_NAMES, MOST_LETTERS = 400, 12, 48  # of one picture; below it
MOST_NAME = 18  # letters of a program's name
LEAST_WIDTH = 3.2  # of a strip with a name: a line of text on a phone
LETTERS = 0.45  # of a name, in one percent of the picture on a phone
CROSS = 0.7  # half the width of a mean's line
OURS, SECOND, OTHER, CONTROL = "k0", "k1", "k2", "k3"  # classes of dots
Line = tuple[float, float, float, float]  # x1, y1, x2, y2


@dataclass(frozen=True)
class RunGain:
    """A run with its gain on fresh seeds. ``stage``: the label of its match."""

    run_id: str
    stage: str
    program_id: str
    program: str
    gain: float
    unit: str


@dataclass(frozen=True)
class MainTurn:
    """A turn of a night: device-seconds up to its end, the ``change`` that it kept, and the metric of `main` then;
    ``start``: that of the untouched script."""

    run_id: str
    number: int
    program: str
    seconds: float
    gain: float
    change: str | None
    metric: float
    start: float


@dataclass(frozen=True)
class Dot:
    x: float
    y: float
    kind: str
    title: str
    run_id: str


@dataclass(frozen=True)
class Progress:
    """``lines``: of the best program or of `main`. ``said``: the same in words, for those who do not see it. ``names``:
    of the programs, by their strips of dots. ``intervals``: of the means that the verdict's table has, as crosses."""

    title: str
    label: str
    below: str
    dots: Sequence[Dot]
    lines: Sequence[Line]
    rows: Sequence[tuple[float, str]]
    columns: Sequence[tuple[float, str]]
    legend: Sequence[tuple[str, str]]
    said: str
    names: Sequence[tuple[float, str]] = ()
    intervals: Sequence[Line] = ()

    @property
    def is_level(self) -> bool:
        """Whether the names of the strips have room beside each other, so that none is turned."""
        room = min((other[0] - one[0] for one, other in pairwise(self.names)), default=RIGHT - LEFT)
        return all(len(name) <= LETTERS * room for _, name in self.names)


def of_runs(runs: Iterable[RunGain], champion: str | None) -> list[Progress]:
    """A picture for each unit; ``runs``: in the order of their matches."""
    return [_of_unit(runs_of_unit, champion) for runs_of_unit in _grouped(runs, "unit")]


def _of_unit(runs: Sequence[RunGain], champion: str | None) -> Progress:
    """A column for each stage, or for each program of a single match; in it a strip of dots for each program."""
    stages, stock = _grouped(runs, "stage"), starter("stock").program_id
    several = len(stages) > 1
    columns = stages if several else _grouped(runs, "program_id")
    tops = [_best(column, champion if column is columns[-1] else None) for column in columns]
    top_gain, best = tops[-1] if several else max(tops)
    axis, width = Axis.over((run.gain for run in runs), BOTTOM, TOP), (RIGHT - LEFT) / len(columns)
    y = replace(axis, low=max(axis.low, -axis.high)) if axis.high else axis  # larger losses are drawn at the edge
    dots, lines, intervals = list[Dot](), list[Line](), list[Line]()
    labels, names = list[tuple[float, str]](), list[tuple[float, str]]()
    for column_number, (column, (top, _)) in enumerate(zip(columns, tops, strict=True)):
        begin, strips = LEFT + width * column_number, _grouped(column, "program_id")
        lines.append((begin, y(top), begin + width, y(top)))
        if several:
            stage = shortened(
                column[0].stage.removeprefix("generation-"), MOST_LETTERS // min(len(columns), MOST_NAMES)
            )
            labels.append((begin + width / 2, stage))
        wide = width / len(strips)
        for beside, strip in enumerate(strips):
            x = begin + wide * (beside + 0.5)
            kind = OURS if strip[0].program_id == best else CONTROL if strip[0].program_id == stock else OTHER
            dots += [Dot(x, y(run.gain), kind, f"{run.program}: {number(run.gain)}", run.run_id) for run in strip]
            if wide >= LEAST_WIDTH:
                names.append((x, shortened(strip[0].program, MOST_NAME)))
            if not several or column is columns[-1]:
                intervals += _interval(strip, x + wide / 4, y)
    unit, whose = runs[0].unit, next(run.program for run in runs if run.program_id == best)
    meanings = {
        OURS: f"a run of {whose}, {'the champion' if best == champion else 'the best so far'}",
        OTHER: "a run of another program", CONTROL: "a run of stock, the plain loop",
        "line": f"average of {'the best' if several else 'each'} program",
        "interval": "average of a program with its 95% interval",
    }  # fmt: skip
    kinds = {"line", *(dot.kind for dot in dots), *["interval" for _ in intervals]}
    named = "generation of programs, and the final test" if champion else "generation"
    return Progress(
        "How much the programs improved train.py",
        f"gain over the untouched train.py, {unit} (higher is better)",
        named if several else "program",
        dots[:: len(dots) // MOST_DOTS + 1],
        _joined(lines) if several else lines,
        y.ticks(6),
        labels[:: len(labels) // MOST_NAMES + 1],
        [meaning for meaning in meanings.items() if meaning[0] in kinds],
        f"Average gain of the best program: {number(tops[0][0])} at first, {number(top_gain)} {unit} at last",
        names,
        intervals,
    )


def _interval(strip: Sequence[RunGain], x: float, y: Axis) -> list[Line]:
    """A cross at a program's mean, as high as its interval; nothing of a single run."""
    interval = mean_interval([run.gain for run in strip])
    if interval.value is None or interval.low is None or interval.high is None:
        return []
    return [(x, y(interval.low), x, y(interval.high)), (x - CROSS, y(interval.value), x + CROSS, y(interval.value))]


def _best(runs: Iterable[RunGain], champion: str | None) -> tuple[float, str]:
    """The largest mean gain of a program, and the program: ``champion``, where it was chosen before."""
    means = {
        runs_of_program[0].program_id: mean(run.gain for run in runs_of_program)
        for runs_of_program in _grouped(runs, "program_id")
    }
    return (
        (means[champion], champion)
        if champion in means
        else max((gain, runs_of_program) for runs_of_program, gain in means.items())
    )


def of_nights(turns: Sequence[MainTurn], metrics: Mapping[str, tuple[str, str]]) -> list[Progress]:
    """One picture for each night of ``metrics``: the metric of each run, and which direction is better."""
    nights: dict[str, list[MainTurn]] = defaultdict(list)
    for turn in turns:
        nights[turn.run_id].append(turn)
    return [
        of_night(night, *metrics[run_id], f", night {run_id[:5]}" if len(nights) > 1 else "")
        for run_id, night in nights.items()
        if run_id in metrics
    ]


def of_night(turns: Sequence[MainTurn], metric: str, direction: str, name: str = "") -> Progress:
    """``direction``: which is better. Each program has a mark of its own, unless there are more than three."""
    kept = [turn for turn in turns if turn.change is not None]
    metrics = [turns[0].start, *(turn.metric for turn in kept)]
    x, y = Axis(0.0, turns[-1].seconds / 60, LEFT, RIGHT), Axis(min(metrics), max(metrics), BOTTOM, TOP)
    begins = [LEFT, *(x(turn.seconds / 60) for turn in kept), RIGHT]
    lines = [(begin, y(of), end, y(of)) for (begin, end), of in zip(pairwise(begins), metrics, strict=True)]
    names = dict.fromkeys(turn.program for turn in kept)
    marks = (OURS, SECOND, CONTROL)
    several = len(names) > len(marks)
    kinds = dict.fromkeys(names, OURS) if several else dict(zip(names, marks, strict=False))
    legend = [(OURS, "kept change")] if several else [(kinds[name], f"kept change of {name}") for name in names]
    dots = [
        Dot(x(turn.seconds / 60), y(turn.metric), kinds[turn.program],
            f"{turn.program}: {turn.change}, {brief(turn.metric, 4)}", turn.run_id)
        for turn in kept
    ]  # fmt: skip
    return Progress(
        f"How main, the best train.py so far, improved{name}",
        f"{metric} of main ({direction} is better)",
        "minutes of device time charged",
        dots,
        _joined(lines),
        y.ticks(6),
        x.ticks(5),
        [*legend, ("line", "main")],
        f"{metric} of main: {brief(metrics[0], 4)} at first, {brief(metrics[-1], 4)} at last",
    )  # fmt: skip


def _joined(lines: Sequence[Line]) -> list[Line]:
    """With upright lines between them."""
    return [*lines, *((end[2], end[3], other[0], other[1]) for end, other in pairwise(lines))]


def _grouped(runs: Iterable[RunGain], key: str) -> list[list[RunGain]]:
    """By a field, in the order of the first of each."""
    groups = dict[str, list[RunGain]]()
    for run in runs:
        groups.setdefault(getattr(run, key), []).append(run)
    return list(groups.values())

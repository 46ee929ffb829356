"""Whether a task's knobs change anything, by short trainings.

Each knob is set to other values of its ladder under the seed of the baseline. Runs of the same source and seed are the
yardstick: what differs between those says nothing about a knob.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from trainer.command import CommandTrainer
from trainer.edits import Edit, EditError, Knob
from trainer.experiment import Spec
from trainer.finding import CheckFinding
from trainer.outcome import Outcome
from trainer.source import Source
from trainer.task import Task

SEED = 1
_MOST_SECONDS = 120.0  # wall time of all these runs together, unless they are requested
NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d[\d,_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]*[A-Za-z])")
_CLOCK = re.compile(
    r"sec|time|elapsed|\bms\b|_ms|mem|vram|[mg]i?b\b|/s\b|per_s|fps|speed|throughput|mfu|util|%|date|pid", re.IGNORECASE
)
_STAYS = "stays, other printed numbers change"
_DROWNED = "runs of one seed differ by"
_IN_VAIN = 4  # knobs that show noise only, after which the others are only tried if that is requested
_AT_CHANCE = (
    f"not tried: the first {_IN_VAIN} knobs cannot be distinguished from noise; does the script learn anything in its "
    "time?"
)
_CLEAR = 2.0  # a difference counts from this multiple of the range of equal runs

State = Literal["alive", "dead", "not known", "fails"]


@dataclass(frozen=True)
class TestedKnob:
    """``name``: of a constant, or the group of the patches of one; ``knobs``: their names in task.toml."""

    name: str
    knobs: tuple[str, ...]
    edits: tuple[Edit, ...]  # the ends of the ladder first


@dataclass(frozen=True)
class KnobState:
    knob: TestedKnob
    state: State
    message: str
    edit: str = ""
    gain: float | None = None


@dataclass
class Yardstick:
    """Outcomes of the baseline under one seed: what they share is the task's, what differs is noise."""

    outcomes: list[Outcome]

    @property
    def metrics(self) -> list[float]:
        return [outcome.metric for outcome in self.outcomes if outcome.metric is not None]

    @property
    def spread(self) -> float:
        return max(self.metrics) - min(self.metrics)

    @property
    def repeats(self) -> bool:
        return self.spread == 0.0 and len(self.metrics) > 1

    def moved(self, metric: float) -> float:
        """The distance from the nearest of the equal runs, 0 where it is no larger than theirs may be."""
        nearest = min(self.metrics, key=lambda one: abs(one - metric))
        return metric - nearest if abs(metric - nearest) > _CLEAR * self.spread else 0.0

    def other_numbers(self, outcome: Outcome, echo: Collection[float]) -> list[str]:
        """The printed numbers that differ here and in none of the equal runs, without times and the value itself."""
        tables = [_numbers(one.log) for one in self.outcomes]
        changed = []
        for key, text in _numbers(outcome.log).items():
            known = {table.get(key) for table in tables}
            if len(known) == 1 and None not in known and text not in known and not _CLOCK.search(key[0]):
                changed += [text] if value_of(text) not in echo else []
        return changed


def _numbers(log: str) -> dict[tuple[str, int], str]:
    """(a line without its numbers, the number's position in it) → the number as printed, in the last such line."""
    table: dict[tuple[str, int], str] = {}
    for line in log.splitlines():
        words = NUMBER.sub("#", line)
        table |= {(words, position): match[0] for position, match in enumerate(NUMBER.finditer(line))}
    return table


def value_of(text: str) -> float:
    return float(text.replace(",", "").replace("_", "") or "nan")


def knobs_of(task: Task) -> list[TestedKnob]:
    """The knobs with their other values; the patches of one constant are one knob."""
    now = task.edits.config(task.baseline())
    groups: dict[str, list[Knob]] = {}
    for knob in task.edits.knobs:
        groups.setdefault(knob.group if knob.kind == "patch" and knob.group else knob.name, []).append(knob)
    tested = []
    for name, knobs in groups.items():
        edits = [
            Edit(apply=(knob.name,)) if knob.kind == "patch" else Edit({knob.name: value})
            for knob in knobs
            for value in ((True,) if knob.kind == "patch" else knob.values)
            if now.get(knob.name) != value
        ]
        ends = [*edits[-1:], *edits[:-1]]
        tested += [TestedKnob(name, tuple(knob.name for knob in knobs), tuple(ends))] if edits else []
    return tested


@dataclass
class KnobCheck:
    """Runs the trainings. ``short``: the fraction of the budget that they get; ``full``: of the whole one."""

    trainer: CommandTrainer
    full: Yardstick
    fraction: float = 1.0
    forced: bool = False
    fresh: bool = False  # do not reuse outcomes of an earlier check
    short: Yardstick = field(init=False)

    def __post_init__(self) -> None:
        self.task: Task = self.trainer.task
        self.ends = time.monotonic() + _MOST_SECONDS
        if len(self.full.outcomes) < 2:
            self.full.outcomes.append(self.trainer.run(Spec(self.task.baseline(), SEED), use_cache=False))
        self.short = self.full
        if self.fraction < 1.0:
            spec = Spec(self.task.baseline(), SEED, fraction=self.fraction)
            runs = [self.trainer.run(spec, use_cache=False) for _ in range(2)]
            self.short = Yardstick(runs) if all(run.metric is not None for run in runs) else self.full
            self.fraction = self.fraction if self.short is not self.full else 1.0
        for stick in {id(one): one for one in (self.full, self.short)}.values():
            if stick.spread > 0.0:  # a range of three, because that of two is small by chance
                part = 1.0 if stick is self.full else self.fraction
                stick.outcomes.append(
                    self.trainer.run(Spec(self.task.baseline(), SEED, fraction=part), use_cache=False)
                )

    @property
    def is_late(self) -> bool:
        return not self.forced and time.monotonic() > self.ends

    def run(self, source: Source, fraction: float) -> Outcome:
        """An outcome of an earlier check counts if the command ended by itself; otherwise it is tried again."""
        spec = Spec(source, SEED, fraction=fraction)
        outcome = self.trainer.run(spec, use_cache=not self.fresh)
        again = outcome.cached and outcome.status not in ("ok", "invalid")
        return self.trainer.run(spec, use_cache=False) if again else outcome

    def apply(self, edit: Edit) -> Source:
        return self.task.edits.apply(self.task.baseline(), edit)

    def state(self, knob: TestedKnob) -> KnobState:
        """Alive from the first value on that changes something; dead only if none does, in a full training too."""
        failed, integers = "", False
        tried = 0
        for edit in knob.edits:
            if self.is_late:
                return KnobState(knob, "not known", f"not tried in {_MOST_SECONDS:g} s")
            try:
                outcome = self.run(self.apply(edit), self.fraction)
            except EditError as error:
                return KnobState(knob, "fails", f"{edit.label()}: {error.message}")
            if outcome.metric is None:
                failed = failed or f"{edit.label()}: {outcome.status}: {outcome.reason}"
                continue
            tried += 1
            change = self._change(edit, outcome, self.short)
            if change == "integers":
                integers = True
            elif change:
                gain = -self.task.sign * self.short.moved(outcome.metric)
                return KnobState(knob, "alive", change, edit.label(), gain or None)
        return self._unmoved(knob, tried, failed, integers)

    def _unmoved(self, knob: TestedKnob, tried: int, failed: str, integers: bool) -> KnobState:
        """The state of a knob no value of which changed anything that can be distinguished from noise."""
        if failed:
            others = f"; {tried} others change nothing" if tried else ""
            return KnobState(knob, "fails", f"{failed}{others}")
        if integers:
            return KnobState(knob, "not known", f"{self.task.metric} stays, only whole numbers beside it change")
        if not self.short.repeats:
            range_ = f"{self.short.spread:.3g}"
            return KnobState(knob, "not known", f"{_DROWNED} {range_}, its values by no more than that")
        if self.fraction < 1.0:
            outcome = self.run(self.apply(knob.edits[0]), 1.0)
            if outcome.metric is None or not self.full.repeats:
                return KnobState(knob, "not known", "changes nothing in a short training; a full one did not decide")
            if self._change(knob.edits[0], outcome, self.full):
                return KnobState(knob, "alive", f"only in a full training: {knob.edits[0].label()}")
        values = "its other value leaves" if tried == 1 else f"all {tried} other values leave"
        return KnobState(knob, "dead", f"{values} every printed number unchanged")

    def _change(self, edit: Edit, outcome: Outcome, stick: Yardstick) -> str:
        """What differs from the baseline, in words; "integers" if only whole numbers beside the metric do."""
        metric = outcome.metric
        if metric is None:
            return ""
        moved = stick.moved(metric)
        if moved:
            how = "better" if self.task.sign * moved < 0 else "worse"
            how += "" if stick is self.full else f"; trained for {self.fraction:.0%} of the time"
            return f"{edit.label()} changes {self.task.metric}: {stick.metrics[0]:.6g} → {metric:.6g} ({how})"
        others = stick.other_numbers(outcome, self._echo(edit))
        if any(re.search(r"\.\d*[1-9]|e-", text) for text in others):
            return f"{edit.label()}: {self.task.metric} {_STAYS}"
        return "integers" if others else ""

    def _echo(self, edit: Edit) -> set[float]:
        """The values that an edit sets: a script may print them, which changes nothing else."""
        patches = (one for name in edit.apply if (one := self.task.edits.knob(name)) is not None)
        texts = [part.replace for one in patches for part in one.replacements]
        numbers = {value_of(match[0]) for text in texts for match in NUMBER.finditer(text)}
        return numbers | {float(value) for value in edit.set.values() if isinstance(value, int | float)}

    def stuck(self, states: Sequence[KnobState]) -> Iterator[CheckFinding]:
        """A finding if no knob changes anything; or if knobs change what the command prints and none changes the
        metric: it may be another number."""
        if states and all(one.state == "dead" for one in states):
            yield CheckFinding(
                "error",
                "dead knobs",
                f"no knob changes anything: {', '.join(one.knob.name for one in states)}",
                "check that the command runs the editable files; or remove the knobs with --write and check again: a "
                "model needs no knobs",
            )
        alive = [one for one in states if one.state == "alive"]
        if alive and all(_STAYS in one.message for one in alive):
            known = len(alive) > 1 and all(one.state in ("alive", "dead") for one in states)
            metric, names = self.task.metric, ", ".join(one.knob.name for one in alive)
            yield CheckFinding(
                "error" if known else "warning",
                "moved metric",
                f"no knob changes {metric}, although other printed numbers change ({names})",
                f"check that the pattern in task.toml reads {metric}, not a fixed number; if it does, pass --no-knobs",
            )


_LEVELS: dict[State, Literal["ok", "warning"]] = {
    "alive": "ok",
    "dead": "warning",
    "not known": "warning",
    "fails": "warning",
}
_HINTS: dict[State, str] = {
    "alive": "",
    "dead": "remove it: metaloop task check DIR --write does; or correct its values",
    "not known": "--knobs tests all of them, however long it takes",
    "fails": "correct its values in task.toml",
}


def judge_knobs(check: KnobCheck, write: bool) -> Generator[CheckFinding, None, Sequence[KnobState]]:
    """A finding for each knob, and for all of them; its value is their states."""
    states = list[KnobState]()
    for knob in knobs_of(check.task):
        lost = not check.forced and sum(_DROWNED in one.message for one in states[:_IN_VAIN]) == _IN_VAIN
        state = KnobState(knob, "not known", _AT_CHANCE) if lost else check.state(knob)
        states.append(state)
        hint = _HINTS[state.state] if state.message.startswith("not tried") or state.state != "not known" else ""
        clause, message = f"knob {knob.name}", f"{state.state}: {state.message}"
        yield CheckFinding(_LEVELS[state.state], clause, message, hint, state.edit, state.gain)
    if write and (gone := remove_dead(check.task, states)):
        yield CheckFinding("ok", "edits", f"removed from task.toml: {', '.join(gone)}; the task's id changed")
    yield from check.stuck(states)
    return states


def remove_dead(task: Task, states: Sequence[KnobState]) -> list[str]:
    """Take dead knobs out of task.toml, with a comment in their place. The names that were removed."""
    dead = {name: state for state in states if state.state == "dead" for name in state.knob.knobs}
    path, kept, gone = task.folder / "task.toml", [], list[str]()
    inside = ""
    for line in path.read_text("utf-8").splitlines(keepends=True):
        if header := re.match(r"\s*\[+\s*([^\]]+?)\s*\]+", line):
            parts = [part.strip("\"' ") for part in header[1].split(".")]
            inside = parts[1] if len(parts) > 1 and parts[0] == "edits" and parts[1] in dead else ""
            state = dead.get(inside)
            if state is not None and state.knob.name not in gone:
                gone.append(state.knob.name)
                values = ", ".join(edit.label() for edit in state.knob.edits)
                kept.append(f"# {state.knob.name} was removed by metaloop task check: {values} change nothing here\n\n")
        if not inside:
            kept.append(line)
    if gone:
        path.write_text("".join(kept), "utf-8")
    return gone

"""Which knobs of a task change its metric, and whether bad values make it worse, by short trainings.

Runs of the same source and seed are the yardstick: what differs between those says nothing about a knob.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from trainer.cards.check_record import CheckFinding, Level
from trainer.constraints import Constraints, broken
from trainer.edits import Edit, EditError, Knob
from trainer.experiment import Spec, Trainer
from trainer.outcome import Outcome
from trainer.values.constants import is_number

SEED = 1
MOST_SECONDS = 120.0  # wall time of all these runs together, unless they are requested
_CLEAR = 2.0  # a difference counts from this multiple of the range of equal runs
_CERTAIN = 5.0  # the direction is only called wrong by differences from this multiple
_WITNESSES = 2  # knobs that are worse at both extremes, which a reversed direction does not have by chance
_FAR = (1000.0, 100.0, 10.0)  # factors of a value that is certainly bad; the smaller ones where training breaks down
_SEE = "check that direction in task.toml is right for this metric"

State = Literal["alive", "no effect", "fails", "not tested"]
ADVICE: dict[State, tuple[Level, str]] = {  # the level and the hint of a finding
    "alive": ("ok", ""),
    "no effect": (
        "warning", "it stays: a longer training may show one; if the code does not use it, take it out of task.toml"
    ),
    "fails": ("warning", "correct its values in task.toml"),
    "not tested": ("warning", "--knobs tests all of them, however long it takes"),
}  # fmt: skip


@dataclass
class KnobTrials:
    """Trains with other values of the knobs. ``equal``: outcomes of the baseline under one seed, two at least."""

    trainer: Trainer
    equal: list[Outcome]
    forced: bool = False
    limits: Constraints = field(default_factory=dict)  # a value that breaks one cannot be used
    moved: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)  # knob → side → (value, worse by)

    def __post_init__(self) -> None:
        self.task, self.ends = self.trainer.task, time.monotonic() + MOST_SECONDS
        self.metrics = [outcome.metric for outcome in self.equal if outcome.metric is not None]
        self.noise = max(self.metrics) - min(self.metrics)

    @property
    def is_late(self) -> bool:
        return not self.forced and time.monotonic() > self.ends

    def findings(self) -> Iterator[CheckFinding]:
        """One for each knob, and one for the direction."""
        states: dict[str, State] = {}
        for knob in self.task.edits.knobs:
            edits = [edit for edit, _ in self.task.declared_edits() if knob.name in (*edit.set, *edit.apply)]
            if edits:
                state, message = self._state([*edits[-1:], *edits[:-1]])  # the ends of its ladder first
                states[knob.name] = state
                level, hint = ADVICE[state]
                yield CheckFinding(level, f"knob {knob.name}", f"{state}: {message}", hint)
        if set(states.values()) == {"no effect"}:
            hint = "check that the command runs the editable files, and that [score] reads the metric"
            yield CheckFinding("error", "knobs", f"none of {len(states)} changes {self.task.metric}", hint)
        yield self._direction([knob for knob in self.task.edits.knobs if states.get(knob.name) == "alive"])

    def _state(self, edits: Sequence[Edit]) -> tuple[State, str]:
        """(state; in words) of a knob, by its edits."""
        failed, seen = "", 0
        for edit in edits:
            if self.is_late:
                return "not tested", f"after {MOST_SECONDS:g} s"
            try:
                source = self.task.edits.apply(self.task.baseline(), edit)
            except EditError as error:
                return "fails", f"{edit.label()}: {error.message}"
            outcome = self.trainer.run(Spec(source, SEED))
            why = broken(self.limits, outcome.constraints) if outcome.metric is not None else outcome.reason
            if outcome.metric is None or why:
                failed = failed or f"{edit.label()}: {'invalid' if outcome.metric else outcome.status}: {why}"
                continue
            seen += 1
            if worse := self._worse(outcome.metric):
                how = f"{self.metrics[0]:.6g} → {outcome.metric:.6g} ({'worse' if worse > 0 else 'better'})"
                return "alive", f"{edit.label()} changes {self.task.metric}: {how}"
        if failed:
            return "fails", failed
        noise = f", beyond the noise of {self.noise:.3g}" if self.noise else ""
        return "no effect", f"{seen} other values do not change {self.task.metric}{noise}"

    def _worse(self, metric: float) -> float:
        """By how much a metric is worse than the nearest of the equal runs; 0 where it is no farther than noise."""
        away = min((metric - one for one in self.metrics), key=abs)
        return self.task.sign * away if abs(away) > _CLEAR * self.noise else 0.0

    def _direction(self, alive: Sequence[Knob]) -> CheckFinding:
        """A far too large or small learning rate makes the metric worse; without one, both extremes of knobs do. One
        that is better at one end and worse at the other shows nothing, and one alone may be an exception."""
        numbers = [knob for knob in alive if knob.kind in ("float", "int")]
        rates = [knob for knob in numbers if knob.role == "learning_rate"]
        for knob in rates or numbers:
            self._extremes(knob)
        certain = _CERTAIN * self.noise
        sides = {name: [change for _, change in ends.values()] for name, ends in self.moved.items() if len(ends) == 2}
        worse = [name for name, ends in sides.items() if min(ends) > certain]
        better = [name for name, ends in sides.items() if max(ends) < -certain]
        largest = max((change for ends in self.moved.values() for _, change in ends.values()), key=abs, default=0.0)
        metric, way = self.task.metric, self.task.direction
        if (rates and largest > 0) or (len(worse) >= _WITNESSES and not better):
            names = list(self.moved if rates else worse)[:2]
            return CheckFinding(
                "ok", "direction", f"{way} is better: bad values make {metric} worse: {self._ends(names)}"
            )
        if better and not worse:
            message = f"bad values improve {metric}, if {way} is better: {self._ends(better[:2])}"
            level: Level = "error" if rates or len(better) > 1 else "warning"
            return CheckFinding(level, "direction", message, _SEE)
        why = f"{len(worse)} of {len(sides)} knobs are worse at both extremes, {_WITNESSES} are needed"
        why = "no extreme learning rate makes it clearly worse" if rates else why
        return CheckFinding("warning", "direction", f"not known whether {way} {metric} is better: {why}", _SEE)

    def _ends(self, names: list[str]) -> str:
        shown = {name: [f"{value:.4g}" for value, _ in self.moved[name].values()] for name in names}
        return ", ".join(f"{name} = {' or '.join(values)}" for name, values in shown.items())

    def _extremes(self, knob: Knob) -> None:
        """What values far below and far above the present one do: less far ones where training breaks down."""
        text = self.task.baseline().text(knob.file)
        now = knob.read(text)
        if not is_number(now) or not now:
            return
        for side, values in _far(now, [value for value in knob.values if is_number(value)]).items():
            for value in values:
                changed = None if self.is_late else knob.write(text, value)
                if changed is None:
                    break
                outcome = self.trainer.run(Spec(self.task.baseline().with_text(knob.file, changed), SEED))
                if outcome.metric is not None:
                    self.moved.setdefault(knob.name, {})[side] = value, self._worse(outcome.metric)
                    break


def _far(now: float, ladder: list[float]) -> dict[str, list[float]]:
    """Values below and above a knob's, the farthest first and the end of its ladder last."""
    low, high = min(ladder), max(ladder)
    if isinstance(now, int):
        return {"down": [0 if now == 1 else 1], "up": [now * 10, now * 4, round(high)]}
    up = [1 - (1 - now) / _FAR[0]] if 0.5 < now < 1 else [now * factor for factor in _FAR]
    return {"down": [now / _FAR[0], low], "up": [*up, high]}

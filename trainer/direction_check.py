"""Whether the direction of a task's metric is right: bad values of its knobs make it worse, by short trainings."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from trainer.constants import is_number
from trainer.finding import CheckFinding
from trainer.knob_check import NUMBER, KnobCheck, KnobState, TestedKnob, judge_knobs, value_of
from trainer.source import Source
from trainer.task import Task

_RATE = re.compile(r"(?:^|_)(?:lr|learning_?rate|step_?size)(?:_|$)|^(?:eta|rate|alpha)$", re.IGNORECASE)
_NO_RATE = re.compile(r"decay|warm|ratio|frac|min|final|schedule|mult|scale", re.IGNORECASE)
_FAR = 1000.0  # factor of a learning rate that is certainly bad
_CERTAIN = 5.0  # the direction is only called wrong by differences from this multiple of the range of equal runs
_WITNESSES = 2  # knobs that are worse at both extremes, which a reversed direction does not have by chance
_OTHER = {"lower": "higher", "higher": "lower"}
_SEE = "check that direction in task.toml is right for this metric"


def judge(check: KnobCheck, stated: str, write: bool) -> Iterator[CheckFinding]:
    """A finding for each knob and one for the direction. ``stated``: the line of the repository that says which
    direction is better, or "given"; ``write``: dead knobs leave task.toml."""
    states = yield from judge_knobs(check, write)
    yield DirectionCheck(check, stated).finding(states)


@dataclass
class DirectionCheck:
    """Sets the knobs that change the metric to bad values."""

    check: KnobCheck
    stated: str
    #: (learning rate, factor) → change, positive is worse
    far: dict[tuple[str, str], float] = field(default_factory=dict)
    sides: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)  # knob → side → (value, change)

    def __post_init__(self) -> None:
        self.task: Task = self.check.task

    def finding(self, states: Sequence[KnobState]) -> CheckFinding:
        """Whether bad values make the metric worse. A far too large or a far too small learning rate does; without one,
        both extremes of some knob should."""
        alive = [one.knob for one in states if one.state == "alive"]
        for knob in alive:
            if self._is_rate(knob):
                self._far(knob)
        if self.far:
            return self._judged(self.far)
        for knob in alive:
            self._extremes(knob)
        return self._by_extremes()

    def _is_rate(self, knob: TestedKnob) -> bool:
        one = self.task.edits.knob(knob.knobs[0])
        by_name = _RATE.search(knob.name) and not _NO_RATE.search(knob.name)
        return bool(by_name) or (one is not None and one.role == "learning_rate")

    def _judged(self, bad: Mapping[tuple[str, str], float]) -> CheckFinding:
        """``bad``: the changes by far learning rates. The largest decides."""
        (name, edit), change = max(bad.items(), key=lambda pair: abs(pair[1]))
        if change > 0:
            message = f"{self.task.direction} is better: {name} ({edit}) makes {self.task.metric} worse by {change:.3g}"
            return CheckFinding("ok", "direction", message)
        better = sorted((key for key, change in bad.items() if change < 0), key=lambda key: bad[key])
        said = ", ".join(f"{name} ({edit})" for name, edit in better[:4])
        sides = Counter(name for name, edit in better if abs(bad[name, edit]) > _CERTAIN * self.check.short.spread)
        return self._wrong(said, max(sides.values(), default=0) > 1)

    def _wrong(self, better: str, is_certain: bool) -> CheckFinding:
        """``better``: the bad values that improve the metric."""
        if is_certain:
            message = f"the direction looks wrong: bad values improve {self.task.metric}: {better}"
            hint = f'set direction = "{_OTHER[self.task.direction]}" in task.toml; if it is right, pass --no-knobs'
            return CheckFinding("error", "direction", message, hint)
        if self.stated and self.stated != "given":
            message = (
                f"{self.stated} says that {self.task.direction} is better: then there is much to gain, because bad "
                f"values improve {self.task.metric}: {better}; otherwise this line was misread"
            )
        else:
            message = f"doubtful: if {self.task.direction} is better, bad values improve {self.task.metric}: {better}"
        return CheckFinding("warning", "direction", message, _SEE)

    def _extremes(self, knob: TestedKnob) -> None:
        """What a value far below and one far above the knob's do: less far ones where training breaks down."""
        one = self.task.edits.knob(knob.knobs[0])
        now = one.read(self.task.baseline().text(one.file)) if one else None
        if one is None or one.kind not in ("float", "int") or not is_number(now):
            return
        for side, values in _far_values(now, [float(value) for value in one.values]).items():
            for value in values:
                text = None if self.check.is_late else one.write(self.task.baseline().text(one.file), value)
                if text is None:
                    break
                outcome = self.check.run(self.task.baseline().with_text(one.file, text), self.check.fraction)
                if outcome.metric is not None:
                    change = self.task.sign * self.check.short.moved(outcome.metric)
                    self.sides.setdefault(knob.name, {})[side] = (value, change)
                    break

    def _by_extremes(self) -> CheckFinding:
        """A knob gets worse to both sides of a usable value, so one that gets better to both sides contradicts the
        direction. One that gets better to one side and worse to the other shows nothing, and one knob alone may be an
        exception."""
        least = _CERTAIN * self.check.short.spread
        both = {name: tuple(sides.values()) for name, sides in self.sides.items() if len(sides) == 2}
        worse = {name: ends for name, ends in both.items() if min(change for _, change in ends) > least}
        better = {name: ends for name, ends in both.items() if max(change for _, change in ends) < -least}
        largest = max((change for ends in both.values() for _, change in ends), key=abs, default=0.0)
        if len(worse) >= _WITNESSES and not better and largest > 0:
            said = ", ".join(_ends(name, ends) for name, ends in list(worse.items())[:2])
            message = f"{self.task.direction} is better: both extremes make {self.task.metric} worse: {said}"
            return CheckFinding("ok", "direction", message)
        if better and not worse:
            said = ", ".join(_ends(name, ends) for name, ends in list(better.items())[:2])
            return self._wrong(said, len(better) > 1)
        why = "no extreme value of a knob changes it clearly"
        if any(change for ends in both.values() for _, change in ends):
            why = (
                "the extremes of knobs disagree"
                if worse and (better or largest < 0)
                else (f"only {len(worse)} of {len(both)} knobs are worse at both extremes, and {_WITNESSES} are needed")
            )
        message = f"not known whether {self.task.direction} {self.task.metric} is better: {why}"
        return CheckFinding("warning", "direction", message, _SEE)

    def _far(self, knob: TestedKnob) -> None:
        """A far too large learning rate, less so where training breaks down, and a far too small one."""
        for factors in ((_FAR, 100.0, 30.0, 10.0), (1 / _FAR,)):
            for factor in factors:
                source = _scaled(self.task, knob, factor)
                outcome = None if source is None or self.check.is_late else self.check.run(source, self.check.fraction)
                if outcome is not None and outcome.metric is not None:
                    if moved := self.check.short.moved(outcome.metric):
                        self.far[knob.name, f"× {factor:g}"] = self.task.sign * moved
                    break


def _ends(name: str, ends: Sequence[tuple[float, float]]) -> str:
    return f"{name} = {' or '.join(f'{value:.4g}' for value, _ in ends)}"


def _far_values(now: float, ladder: Sequence[float]) -> dict[str, list[float]]:
    """Values below and above a knob's, the farthest first and the end of its ladder last."""
    low, high = min(ladder), max(ladder)
    down: list[float]
    up: list[float]
    if isinstance(now, int):
        down, up = [0 if now == 1 else 1], [now * 10, now * 4]
        low, high = round(low), round(high)
    else:
        down = [now / _FAR, 0.0] if now else []
        up = [1 - (1 - now) / _FAR] if 0.5 < now < 1 else [now * factor for factor in (_FAR, 100.0, 10.0)]
        up = up if now else [_FAR, 10.0, 1.0]
    return {"down": [*down, *[low] * (low < now)], "up": [*up, *[high] * (high > now)]}


def _scaled(task: Task, knob: TestedKnob, factor: float) -> Source | None:
    """The baseline with a knob's number multiplied; None if it is no number."""
    source, one = task.baseline(), task.edits.knob(knob.knobs[0])
    if one is None:
        return None
    if one.kind != "patch":
        value = one.read(source.text(one.file))
        text = one.write(source.text(one.file), value * factor) if isinstance(value, float) else None
        return source.with_text(one.file, text) if text is not None else None
    change = one.replacements[0]
    numbers, others = (list(NUMBER.finditer(text)) for text in (change.find, change.replace))
    pairs = [old for old, new in zip(numbers, others, strict=False) if old[0] != new[0]]
    if len(numbers) != len(others) or len(pairs) != 1:
        return None
    start, end = pairs[0].span()
    number = f"{value_of(pairs[0][0]) * factor:g}"
    changed = change.find[:start] + number + change.find[end:]
    return source.with_text(change.file, source.text(change.file).replace(change.find, changed))

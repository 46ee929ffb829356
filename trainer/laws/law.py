"""The law of a simulated task: the true gain of each source, and the noise of an experiment. Nothing is trained.

The gain of a source over the baseline is the sum of the effects of its edits plus their interactions. The result of an
experiment differs from it, in the metric's unit, by

    noise(source) · z(source, seed, stream)      noise = sd · (1 − shrink · gain / headroom), gain held to 0 … headroom
  + Σ over edits of trajectory · z(seed, edit)   equal in all experiments of a run, which share a seed
  + drift · z(block)                             equal for all sources that are verified in one match
  − (1 − fraction) · (slow + misleading · z(source))

where z is standard normal; for the noise it is Student's t with ``tail`` degrees of freedom if that is set. All draws
are computed by HMAC-SHA256 from the law's seed, so the same experiment has the same result on every worker.
"""

from __future__ import annotations

import hmac
import json
import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import NormalDist

from trainer import task_file
from trainer.edits import EditSpace, Value
from trainer.source import Source

Change = tuple[str, Value]  # a knob and its value; True for a patch that is applied
_NORMAL = NormalDist()


@dataclass(frozen=True)
class SimulatedResult:
    """The result of a simulated experiment; without a metric, ``crash`` is the reason."""

    metric: float | None
    crash: str = ""


@dataclass(frozen=True)
class Law:
    """Effects and noise in the metric's unit; a positive gain means that the source is better than the baseline.

    ``before`` is the baseline's config, ``metric`` its expected metric, ``sign`` the task's (+1: lower is better).
    ``crash_rate`` is the share of sources that crash, under every seed; ``crashes`` are edits that always crash.
    """

    before: Mapping[str, Value]
    effects: Mapping[Change, float]
    interactions: Mapping[tuple[Change, Change], float] = field(default_factory=dict)
    crashes: frozenset[Change] = frozenset()
    metric: float = 2.0
    sign: float = 1.0
    seed: int = 1
    noise: float = 0.0
    shrink: float = 0.0
    trajectory: float = 0.0
    drift: float = 0.0
    crash_rate: float = 0.0
    slow: float = 0.0
    misleading: float = 0.0
    tail: float = 0.0

    def changes(self, config: Mapping[str, Value]) -> list[Change]:
        """The differences between a config and the baseline's, in the order of the knobs."""
        return [(name, value) for name, value in config.items() if self.before.get(name) != value]

    def gain(self, config: Mapping[str, Value]) -> float:
        """True gain over the baseline, metric units."""
        changed = self.changes(config)
        held = set(changed)
        single = sum(self.effect(change) for change in changed)
        return single + sum(extra for (a, b), extra in self.interactions.items() if a in held and b in held)

    def effect(self, change: Change) -> float:
        """The effect of one edit of the baseline.

        Effects between two numeric values of the law are interpolated; outside their range the nearest value counts.
        An edit that the law does not contain has no effect.
        """
        known = self.effects.get(change)
        if known is not None:
            return known
        name, value = change
        ladder = self._ladders.get(name)
        if ladder is None or isinstance(value, bool | str):
            return 0.0
        values, effects = ladder
        at = bisect_left(values, value)
        if at in (0, len(values)):
            return effects[min(at, len(values) - 1)]
        share = (value - values[at - 1]) / (values[at] - values[at - 1])
        return effects[at - 1] + share * (effects[at] - effects[at - 1])

    @cached_property
    def _ladders(self) -> dict[str, tuple[list[float], list[float]]]:
        """Numeric knobs: the values in the law and the baseline's, sorted, with their effects."""
        by_knob: dict[str, dict[float, float]] = {}
        for (name, value), effect in self.effects.items():
            start = self.before.get(name)
            if not isinstance(value, bool | str) and not isinstance(start, bool | str | None):
                by_knob.setdefault(name, {float(start): 0.0})[float(value)] = effect
        return {name: (sorted(steps), [steps[at] for at in sorted(steps)]) for name, steps in by_knob.items()}

    @cached_property
    def headroom(self) -> float:
        """Sum of each knob's best effect: the largest possible gain without interactions."""
        best: dict[str, float] = {}
        for (name, _), effect in self.effects.items():
            best[name] = max(effect, best.get(name, 0.0))
        return sum(best.values())

    def sd(self, gain: float) -> float:
        """SD of the noise between training seeds for a source with that true gain, without ``trajectory``."""
        reached = min(1.0, max(0.0, gain / self.headroom)) if self.headroom > 0 else 0.0
        return self.noise * (1.0 - self.shrink * reached)

    def simulate(
        self,
        config: Mapping[str, Value],
        source_id: str,
        *,
        seed: int,
        stream: str,
        fraction: float = 1.0,
        block: str = "",
    ) -> SimulatedResult:
        """The result of one experiment."""
        changed = self.changes(config)
        if self.crashes and (bad := self.crashes.intersection(changed)):
            return SimulatedResult(None, f"{min(bad)[0]} is incompatible with this script")
        if changed and self.crash_rate and self._uniform("crash", source_id) < self.crash_rate:
            return SimulatedResult(None, "RuntimeError: the edit contains a bug")
        gain = self.gain(config)
        seen = gain + (self.sd(gain) * self._luck(source_id, str(seed), stream) if self.noise else 0.0)
        if self.trajectory:
            seen += self.trajectory * sum(self._z("trajectory", str(seed), json.dumps(change)) for change in changed)
        if self.drift and block:
            seen += self.drift * self._z("drift", block)
        if fraction < 1.0:
            seen -= (1.0 - fraction) * (self.slow + self.misleading * self._z("fraction", source_id))
        return SimulatedResult(self.metric - self.sign * seen)

    def _luck(self, *labels: str) -> float:
        """Noise with an SD of 1, normal or Student's t."""
        if not self.tail:
            return self._z("noise", *labels)
        from scipy.special import stdtrit

        return float(stdtrit(self.tail, self._uniform("noise", *labels))) * math.sqrt(1.0 - 2.0 / self.tail)

    def _uniform(self, *labels: str) -> float:
        """A uniform number in (0, 1) with 53 bits."""
        digest = hmac.digest(self._key, "\x1f".join(labels).encode(), "sha256")
        return ((int.from_bytes(digest[:8], "big") >> 11) + 0.5) / (1 << 53)

    @cached_property
    def _key(self) -> bytes:
        return f"metaloop law {self.seed}".encode()

    def _z(self, *labels: str) -> float:
        return _NORMAL.inv_cdf(self._uniform(*labels))


def law_of(path: Path, text: str, parsed: task_file.TaskFile, space: EditSpace, baseline: Source) -> Law | None:
    """The law of a simulated task, None for any other. TaskError, file:line, for an edit that the task lacks."""
    section = parsed.law
    if section is None:
        return None
    before = space.config(baseline)

    def change(where: str, term: str) -> Change:
        edit = space.parse_terms([term])
        changes: list[Change] = [] if edit is None else [*edit.set.items(), *((name, True) for name in edit.apply)]
        if len(changes) != 1:
            known = ", ".join(knob.name.lower() for knob in space.knobs)
            task_file.complain(path, text, ("law", where), f"{term!r} is not an edit of this task", f"it has {known}")
        if _same(before.get(changes[0][0]), changes[0][1]):
            message = f"{term!r} is the baseline's own value"
            task_file.complain(path, text, ("law", where), message, "effects are gains over the baseline: remove it")
        return changes[0]

    scalars = section.model_dump(exclude={"effects", "interactions", "crashes"})
    pairs = [
        (change("interactions", a), change("interactions", b), i.gain)
        for i in section.interactions
        for a, b in [i.edits]
    ]
    return Law(
        before=before,
        effects={change("effects", term): gain for term, gain in section.effects.items()},
        interactions={(a, b): gain for a, b, gain in pairs},
        crashes=frozenset(change("crashes", term) for term in section.crashes),
        sign=1.0 if parsed.task.direction == "lower" else -1.0,
        **scalars,
    )


def _same(one: Value | None, other: Value) -> bool:
    return type(one) is type(other) and one == other

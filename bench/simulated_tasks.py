"""Simulated tasks with known effects: random laws that distinguish strategies, null laws, and their task folders.

A task distinguishes strategies if it has about 12 knobs with gains and a few traps, headroom for 4 to 6 combined edits,
seed noise far below an edit's gain, and about two experiments per knob.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.edits import Edit, Value
from trainer.laws.law import Change, Law

if TYPE_CHECKING:
    import numpy as np
    from pydantic import JsonValue


EXPERIMENTS_PER_RUN = 24
COST, SOFT = 0.1, 0.08  # device-seconds of an experiment, and the part that scales with the fraction
_LADDER = 6  # values of a numeric knob
_GROUPS = ("optimizer", "schedule", "model", "data")


def random_law(
    seed: int,
    *,
    productive: int = 12,
    traps: int = 4,
    gain: float = 0.1,
    noise: float = 0.02,
    shrink: float = 0.7,
    trajectory: float = 0.02,
    drift: float = 0.0,
    crash_rate: float = 0.05,
    slow: float = 0.1,
    misleading: float = 0.04,
    interactions: int = 4,
    tail: float = 0.0,
) -> Law:
    """A law with ``productive`` knobs, whose best value gains ``gain`` on average (exponential), and losing ``traps``.

    Two thirds of the knobs are numeric with one peak, the others alternate between choices and patches. Every third
    trap has a value that always crashes. Of the ``interactions`` between best values half gain and half lose 0.5
    ``gain`` each.
    """
    import numpy as np

    rng = np.random.Generator(np.random.PCG64(seed))
    before: dict[str, Value] = {}
    effects: dict[Change, float] = {}
    crashes: list[Change] = []
    for number in range(productive + traps):
        name, values = _knob(number)
        at = 0 if len(values) < _LADDER else int(rng.integers(1, _LADDER - 1))
        before[name] = values[at]
        best = float(rng.exponential(gain)) if number < productive else -float(rng.exponential(gain))
        effects |= {(name, v): round(e, 4) for v, e in _effects(values, at, best, gain, rng).items()}
        if number >= productive and (number - productive) % 3 == 0:
            crashes.append((name, values[-1]))
    peaks = [max((c for c in effects if c[0] == name), key=lambda c: effects[c]) for name in list(before)[:productive]]
    pairs = _pairs(peaks, interactions, gain, rng)
    return Law(
        before=before,
        effects=effects,
        interactions=pairs,
        crashes=frozenset(crashes),
        seed=seed,
        noise=noise,
        shrink=shrink,
        trajectory=trajectory,
        drift=drift,
        crash_rate=crash_rate,
        slow=slow,
        misleading=misleading,
        tail=tail,
    )


def null_law(seed: int, **how: Any) -> Law:
    """The same knobs, noise, crashes and drift as ``random_law``, but no edit has an effect."""
    law = random_law(seed, **how)
    return replace(law, effects=dict.fromkeys(law.effects, 0.0), interactions={})


def _knob(number: int) -> tuple[str, tuple[Value, ...]]:
    if number % 3 < 2:
        scale = (1, 2, 5, 10, 20, 50) if number % 2 else (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
        return f"LADDER{number + 1}", scale
    if number % 2:
        return f"patch{number + 1}", (False, True)
    return f"CHOICE{number + 1}", ("plain", "first", "second", "third")


def _effects(
    values: tuple[Value, ...], at: int, best: float, gain: float, rng: np.random.Generator
) -> dict[Value, float]:
    """Effect of each other value. Numeric knobs have one peak, from which effects fall by ``gain`` per step."""
    others = [i for i in range(len(values)) if i != at]
    if len(values) < _LADDER:
        worse = [best, *(best - abs(float(x)) for x in rng.normal(0.0, 2 * gain, len(others) - 1))]
        return {values[i]: worse[k] for k, i in enumerate(others)}
    if best <= 0:  # the baseline has the best value
        return {values[i]: best * abs(i - at) for i in others}
    peak = others[int(rng.integers(len(others)))]
    across = best + gain * (abs(at - peak) > 1)  # away from the peak, effects fall steeply
    between = {i: best * (1 - abs(i - peak) / abs(at - peak)) for i in others if (i - at) * (peak - at) > 0}
    beyond = {i: best - gain * abs(i - peak) for i in others if abs(i - at) > abs(peak - at)}
    return {values[i]: (between | beyond).get(i, -across * abs(i - at) / 2) for i in others}


def _pairs(
    peaks: list[Change], count: int, gain: float, rng: np.random.Generator
) -> dict[tuple[Change, Change], float]:
    pairs: dict[tuple[Change, Change], float] = {}
    for number in range(count if len(peaks) > 1 else 0):
        a, b = sorted(rng.choice(len(peaks), size=2, replace=False).tolist())
        pairs[peaks[a], peaks[b]] = round(0.5 * gain * (-1) ** number, 4)
    return pairs


def simulated_task(law: Law, folder: Path, *, name: str = "planted", experiments: int = EXPERIMENTS_PER_RUN) -> Path:
    """Write a task folder with that law, whose default budget is ``experiments`` full ones. Returns ``folder``."""
    import tomli_w

    folder.mkdir(parents=True, exist_ok=True)
    patches = [knob for knob, value in law.before.items() if isinstance(value, bool)]
    constants = {knob: value for knob, value in law.before.items() if knob not in patches}
    (folder / "train.py").write_text(_script(constants, patches), "utf-8")
    steps = 100
    body = {
        "task": {
            "name": name,
            "description": "Nothing is trained: the law below gives the effect of each edit.",
            "metric": "loss",
            "unit": "nats",
            "direction": "lower" if law.sign > 0 else "higher",
            "read_only": [],
        },
        "budget": {
            "seconds": SOFT,
            "cost": COST,
            "run": round(experiments * COST, 6),
            "steps": steps,
            "seconds_per_step": COST / steps,
        },
        "score": {"kind": "simulated"},
        "edits": {knob: _edit(law, knob, number) for number, knob in enumerate(law.before)},
        "law": _section(law),
    }
    (folder / "task.toml").write_text(tomli_w.dumps(body), "utf-8")
    return folder


def _script(constants: Mapping[str, Value], patches: list[str]) -> str:
    lines = ['"""This file is edited but never run: the law in task.toml gives the effect of each edit."""', ""]
    lines += [f"{knob} = {json.dumps(value)}" for knob, value in constants.items()]
    lines += ["", "", "def main():", *(f"    {patch} = 'off'" for patch in patches), "    print('steps: 0')", "", ""]
    return "\n".join([*lines, 'if __name__ == "__main__":', "    main()", ""])


def _edit(law: Law, knob: str, number: int) -> dict[str, JsonValue]:
    group, start = _GROUPS[number % len(_GROUPS)], law.before[knob]
    if isinstance(start, bool):
        line = f"    {knob} = 'off'"
        return {"kind": "patch", "group": group, "replace": [{"find": line, "with": line.replace("off", "on")}]}
    named = {value for name, value in (*law.effects, *law.crashes) if name == knob}
    values = sorted({start, *named}, key=lambda v: (True, v != start, v) if isinstance(v, str) else (False, v, ""))
    kind = "choice" if isinstance(start, str) else "int" if all(isinstance(v, int) for v in values) else "float"
    bounds = {} if kind == "choice" else {"low": values[0], "high": values[-1]}
    return {"kind": kind, "group": group, "values": [*values], **bounds}


def _section(law: Law) -> dict[str, JsonValue]:
    plain = ("metric", "seed", "noise", "shrink", "trajectory", "drift", "crash_rate", "slow", "misleading", "tail")
    return {
        **{key: getattr(law, key) for key in plain},
        "crashes": sorted(term(change) for change in law.crashes),
        "effects": {term(change): gain for change, gain in law.effects.items()},
        "interactions": [{"edits": [term(a), term(b)], "gain": gain} for (a, b), gain in law.interactions.items()],
    }


def term(change: Change) -> str:
    """An edit as written in ideas and task.toml."""
    name, value = change
    return name if value is True else Edit({name: value}).label()

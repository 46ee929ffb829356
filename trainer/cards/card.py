"""The task card: measured properties of a task (`card.json` in its folder), such as noise, cost and headroom."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.edits import Edit

if TYPE_CHECKING:
    from pydantic import JsonValue

    from trainer.task import Task

RESOLVED = 2.0  # baseline SD; one run detects an edit whose effect is at least this large
HEADROOM_SD = 15.0  # with less headroom, a run soon finds all improvements
RESOLVED_SHARE = 1 / 3  # with a smaller share of detectable edits, runs mostly follow noise


@dataclass(frozen=True)
class Baseline:
    """Metric of the untouched source over training seeds, in the task's unit; ``sd`` is the sample SD."""

    mean: float
    sd: float
    n: int


@dataclass(frozen=True)
class EditEffect:
    """One declared edit vs. the baseline. ``gain_sd``: in baseline SD, positive is better; None: it failed."""

    label: str
    edit: Edit
    group: str
    status: str
    metric: float | None
    gain_sd: float | None
    resolved: bool
    n: int
    reason: str = ""


@dataclass(frozen=True)
class Headroom:
    """The gain of a greedy combination of the best edits: a lower bound of the possible gain on this task."""

    gain_sd: float
    metric: float
    label: str
    edit: Edit
    sd: float | None
    tried: int


@dataclass(frozen=True)
class Card:
    """The results of `metaloop task measure`. Costs are CPU-seconds, on a GPU wall seconds."""

    task: str
    task_id: str
    baseline_source: str
    metric: str
    unit: str
    baseline: Baseline
    floor: float | None
    cost_seconds: float
    cost_sd: float
    resolved_share: float
    headroom: Headroom
    effects: tuple[EditEffect, ...]
    experiments: int
    spent_seconds: float
    hardware_class: str
    torch: str

    def to_json(self) -> dict[str, JsonValue]:
        return asdict(self)

    def write(self, folder: Path) -> Path:
        """Save as ``card.json``, which `Task.load` reads."""
        path = folder / "card.json"
        path.write_text(json.dumps(self.to_json(), indent=1, ensure_ascii=False) + "\n", "utf-8")
        return path

    def lines(self) -> list[str]:
        """The card as lines of text, with the effects from the best to the worst."""
        unit = "CPU-s" if self.hardware_class.startswith("cpu:") else "s"
        floor = f", floor {self.floor:.4g}" if self.floor is not None else ""
        best = self.headroom
        lines = [
            f"{self.task}: {self.metric} {self.baseline.mean:.4g} {self.unit}, "
            f"seed SD {self.baseline.sd:.2g} (n={self.baseline.n}){floor}",
            f"cost {self.cost_seconds:.3g} {unit} (SD {self.cost_sd:.2g}) on {self.hardware_class}",
            f"one run detects (effect ≥ {RESOLVED:g} SD): {self.resolved_share:.0%} of {len(self.effects)} edits",
            f"headroom {best.gain_sd:+.1f} SD: {best.metric:.4g} with {best.label}",
        ]
        worst_last = sorted(self.effects, key=lambda e: -(e.gain_sd if e.gain_sd is not None else -1e9))
        for effect in worst_last:
            gain = f"{effect.gain_sd:+7.1f} SD" if effect.gain_sd is not None else f"{effect.status:>10}"
            lines.append(f"  {gain}  {effect.label}{'' if effect.resolved or effect.gain_sd is None else '  (noise)'}")
        return lines


def separates_strategies(task: Task) -> bool | None:
    """Whether the card of a task has sufficient headroom and resolution; None if they were not measured."""
    headroom, share = task.card_number("headroom", "gain_sd"), task.card_number("resolved_share")
    if headroom is None or share is None:
        return None
    return headroom >= HEADROOM_SD and share >= RESOLVED_SHARE


def describe_card(task: Task) -> str:
    """A short verdict on a task: whether it distinguishes strategies, and whether its card is up to date."""
    headroom = task.card_number("headroom", "gain_sd")
    figures = (headroom, task.card_number("resolved_share"), task.card_number("baseline", "sd"))
    if task.card is None or task.card.get("measured") is False or figures == (None, None, None):
        return "not measured"
    separates = separates_strategies(task)
    if separates is None:
        verdict = "no headroom measured"
    elif separates:
        verdict = "separates strategies"
    elif headroom is not None and headroom < HEADROOM_SD:
        verdict = "too little headroom"
    else:
        verdict = "too few detectable edits"
    return verdict if task.is_card_current else f"{verdict}, but the task's files have changed: measure again"

"""The task card: what makes a task good for research on research, as measured (`card.json` in its folder)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RESOLVED = 2.0  # baseline sd by which an edit must differ to be told from noise by one run


@dataclass(frozen=True)
class Baseline:
    """Metric of the untouched source over training seeds, in the task's unit; ``sd`` is the sample sd."""

    mean: float
    sd: float
    n: int


@dataclass(frozen=True)
class EditEffect:
    """One declared edit against the baseline. ``gain_sd`` in baseline sd, positive is better; None if it failed."""

    label: str
    edit: dict[str, Any]
    group: str
    status: str
    metric: float | None
    gain_sd: float | None
    resolved: bool
    n: int
    reason: str = ""


@dataclass(frozen=True)
class Headroom:
    """What stacking the best edits greedily came to: a lower bound of what research can gain here."""

    gain_sd: float
    metric: float
    label: str
    edit: dict[str, Any]
    sd: float | None
    tried: int


@dataclass(frozen=True)
class Card:
    """All that `metaloop task measure` found out. Costs are CPU-seconds, on a GPU wall seconds."""

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
    headroom: Headroom | None
    effects: tuple[EditEffect, ...]
    experiments: int
    spent_seconds: float
    hardware_class: str
    torch: str
    text_hash: str = ""  # of the text that the task is made of, where it is found

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def write(self, folder: Path) -> Path:
        """Save as ``card.json``, which `Task.load` reads."""
        path = folder / "card.json"
        path.write_text(json.dumps(self.to_json(), indent=1, ensure_ascii=False) + "\n", "utf-8")
        return path

    def lines(self) -> list[str]:
        """The card as text, one fact a line, effects from the best to the worst."""
        unit = "CPU-s" if self.hardware_class.startswith("cpu:") else "s"
        floor = f", floor {self.floor:.4g}" if self.floor is not None else ""
        lines = [
            f"{self.task}: {self.metric} {self.baseline.mean:.4g} {self.unit}, "
            f"seed sd {self.baseline.sd:.2g} (n={self.baseline.n}){floor}",
            f"cost {self.cost_seconds:.3g} {unit} (sd {self.cost_sd:.2g}) on {self.hardware_class}",
            f"resolved at {RESOLVED:g} sd by one run: {self.resolved_share:.0%} of {len(self.effects)} edits",
        ]
        if self.headroom:
            best = self.headroom
            lines.append(f"headroom {best.gain_sd:+.1f} sd: {best.metric:.4g} with {best.label}")
        worst_last = sorted(self.effects, key=lambda e: -(e.gain_sd if e.gain_sd is not None else -1e9))
        for effect in worst_last:
            gain = f"{effect.gain_sd:+7.1f} sd" if effect.gain_sd is not None else f"{effect.status:>10}"
            lines.append(f"  {gain}  {effect.label}{'' if effect.resolved or effect.gain_sd is None else '  (noise)'}")
        return lines

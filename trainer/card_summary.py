"""What a task's card amounts to: whether strategies can be told apart on it, and whether it is of these files."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from trainer.task import Task

HEADROOM_SD = 15.0  # a task whose headroom is less soon has nothing left to find
RESOLVED_SHARE = 1 / 3  # of its edits: with less, research on it follows noise
State = Literal["measured", "stale", "not measured"]


@dataclass(frozen=True)
class Summary:
    """Headroom in baseline sd, the share of edits that one run resolves, the sd itself in the metric's unit.

    ``state``: ``stale`` where the card was measured on other files of the task. None for what the card does not have.
    """

    state: State
    headroom_sd: float | None = None
    resolved_share: float | None = None
    seed_sd: float | None = None

    @property
    def separates(self) -> bool | None:
        """Whether headroom and resolution are there; None where they were not measured."""
        if self.headroom_sd is None or self.resolved_share is None:
            return None
        return self.headroom_sd >= HEADROOM_SD and self.resolved_share >= RESOLVED_SHARE

    @property
    def sentence(self) -> str:
        """What it says of the task, in a few words."""
        if self.state == "not measured":
            return "not measured"
        if self.separates is None:
            said = "no headroom measured"
        elif self.separates:
            said = "separates strategies"
        else:
            short = self.headroom_sd is not None and self.headroom_sd < HEADROOM_SD
            said = "headroom is missing" if short else "resolution is missing"
        return said if self.state == "measured" else f"{said}, as measured on other files: measure again"


def summary(task: Task) -> Summary:
    """Of ``task.card``, which anybody may have written: what is no number counts as not measured."""
    card = task.card
    if card is None or card.get("measured") is False:
        return Summary("not measured")
    headroom, baseline = card.get("headroom"), card.get("baseline")
    figures = (
        _number(headroom.get("gain_sd")) if isinstance(headroom, dict) else None,
        _number(card.get("resolved_share")),
        _number(baseline.get("sd")) if isinstance(baseline, dict) else None,
    )
    if figures == (None, None, None):
        return Summary("not measured")
    same = (card.get("task_id"), card.get("baseline_source")) == (task.task_id, task.baseline().source_id)
    return Summary("measured" if same else "stale", *figures)


def _number(value: Any) -> float | None:
    fit = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if fit else None

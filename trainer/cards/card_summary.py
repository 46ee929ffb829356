"""Summarises a task's card: whether the task distinguishes strategies, and whether the card is up to date."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue

from trainer.task import Task
from trainer.values.constants import is_number

HEADROOM_SD = 15.0  # with less headroom, a run soon finds all improvements
RESOLVED_SHARE = 1 / 3  # with a smaller share of detectable edits, runs mostly follow noise
State = Literal["measured", "stale", "not measured"]


@dataclass(frozen=True)
class Summary:
    """Headroom in baseline SD, the share of edits that one run detects, and the SD in the metric's unit.

    ``state`` is ``stale`` if the card was measured on other files of the task. Values missing in the card are None.
    """

    state: State
    headroom_sd: float | None = None
    resolved_share: float | None = None
    seed_sd: float | None = None

    @property
    def measured_sd(self) -> float | None:
        """The SD between seeds of the untouched source; None if it is unknown, or was measured on other files."""
        return self.seed_sd if self.state == "measured" else None

    @property
    def separates(self) -> bool | None:
        """Whether headroom and resolution are sufficient; None if they were not measured."""
        if self.headroom_sd is None or self.resolved_share is None:
            return None
        return self.headroom_sd >= HEADROOM_SD and self.resolved_share >= RESOLVED_SHARE

    @property
    def sentence(self) -> str:
        """A short verdict on the task."""
        if self.state == "not measured":
            return "not measured"
        if self.separates is None:
            said = "no headroom measured"
        elif self.separates:
            said = "separates strategies"
        else:
            short = self.headroom_sd is not None and self.headroom_sd < HEADROOM_SD
            said = "too little headroom" if short else "too few detectable edits"
        return said if self.state == "measured" else f"{said}, but the task's files have changed: measure again"


def summary(task: Task) -> Summary:
    """The summary of ``task.card``, an untrusted file: values that are not numbers count as not measured."""
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


def _number(value: JsonValue) -> float | None:
    if not is_number(value):
        return None
    return float(value) if math.isfinite(value) else None

"""The records of a ledger that ``status``, the live screen and the window use, and a reader that follows a ledger."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Required, TypedDict

from analysis.ledger import SCHEMA, schema_problem, segments
from meta.cli.spend import ModelCallRow
from programs.files import lines_of, open_regular


class RecordedArm(TypedDict, total=False):
    arm_id: Required[str]
    program_id: Required[str]
    role: str
    names: str | None


class SpendingLimits(TypedDict, total=False):
    models: list[str]
    max_tokens: int | None
    max_usd: float | None


class RecordedConfig(TypedDict, total=False):
    """Of a study, or of a match (``direction``)."""

    command: str
    task: str
    run_budget: float
    researcher: str
    staff: SpendingLimits | None
    workers: int
    plan: dict[str, Any]
    further: list[dict[str, Any]]
    direction: str
    devices: int


class LedgerRecord(ModelCallRow, total=False):
    """The keys of the records of all kinds that `StudyView` uses."""

    kind: str
    at: str
    seq: int
    config: RecordedConfig
    purpose: str
    program_id: str
    name: str | None
    parent_ids: list[str]
    match_id: str
    label: str
    generation: int | None
    task: str
    run_budget: float
    arms: list[RecordedArm]
    state: str
    arm_id: str
    device_seconds_budget: float | None
    device_seconds_charged: float | None
    wall_seconds: float | None
    description: str | None
    metric: float | None
    decision: str | None
    trust: str | None
    charged: float | None
    baseline_metric: float | None
    final_metric: float | None
    experiment_wall_seconds: float | None
    experiment_id: str
    seed: int
    gain: float | None
    finding: str


class RecordTail:
    """Reads the events added to a ledger folder since the last call, one by one, so that a ledger of gigabytes takes
    little memory; a half-written last line is left for later."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.offsets: dict[Path, int] = {}

    def fresh(self) -> Iterator[LedgerRecord]:
        """New events of all segments, in the order of their times, as each segment is."""
        fresh = [self._of(path) for path in segments(self.folder)]
        yield from heapq.merge(*fresh, key=lambda e: (str(e.get("at", "")), e.get("seq", 0)))

    def _of(self, path: Path) -> Iterator[LedgerRecord]:
        with open_regular(path) as file:
            file.seek(self.offsets.get(path, 0))
            for line in lines_of(file):
                if not line.endswith(b"\n"):
                    return
                self.offsets[path] = self.offsets.get(path, 0) + len(line)
                try:
                    event: LedgerRecord = json.loads(line)
                except (ValueError, RecursionError):  # torn by a kill, or damaged, as `analysis.ledger.check` reports
                    continue
                if not isinstance(event, dict):
                    continue
                if event.get("schema", SCHEMA) != SCHEMA:
                    raise schema_problem(path, event.get("schema"))
                yield event

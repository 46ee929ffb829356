"""The events of a study, a frozen type for each kind.

Those of a run are in `inner_loop.events`, those of writing programs in `writing_events`; `read_event` reads all.
Imported logs and the ledger's own records (`segment`, `closed`) have no type: only the views read them, by SQL.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from pydantic import JsonValue

import analysis.ledger.writing_events  # noqa: F401 - `read_event` knows the types that have been imported
from inner_loop.events import TYPES, DecisionEvent, Event, Experiment, read_event
from trainer.constraints import ConstraintRecord
from trainer.edits import Edit, Value

__all__ = ["TYPES", "DecisionEvent", "Event", "Experiment", "read_event"]

LEDGER_KEYS = frozenset({"seq", "prev", "hash", "schema", "kind"})


class StudyEvent(Event, kind="study"):
    """The study has started. ``config``: study.toml without its secret."""

    study_id: str
    version: str
    started_at: str
    config: Mapping[str, JsonValue]


@dataclass(frozen=True)
class MatchConfig:
    """``constraints`` of the task; None without any."""

    direction: str
    metric: str
    unit: str = ""
    verify_seeds: int = 2
    fixed_steps: bool = False
    constraints: tuple[ConstraintRecord, ...] | None = None


@dataclass(frozen=True)
class MatchArm:
    """``kin``: the arm of a near-identical program whose proposal seeds it shares; None: seeds of its own. ``names``:
    of the programs that are this arm, as they behave alike on the task or take turns; None: it is the only one."""

    arm_id: str
    program_id: str
    role: str
    kin: str | None = None
    names: str | None = None


class MatchEvent(Event, kind="match"):
    """A match was announced, before its first run."""

    match_id: str
    study_id: str = ""
    label: str
    purpose: str
    generation: int | None
    stream: str
    task: str
    task_id: str
    run_budget: float
    hardware_class: str
    started_at: str
    config: MatchConfig
    arms: tuple[MatchArm, ...]


class MatchEndedEvent(Event, kind="match_ended"):
    match_id: str
    state: str


class BaselineEvent(Event, kind="baseline", sparse=("constraints", "splits", "rows", "further_seconds")):
    """The untouched source, trained with one seed of the baseline of all gains on the stream.

    ``splits``: its metric on each hidden split that it was scored on, by the split's label; ``metric`` is their mean.
    None where the task has no hidden splits. ``rows``: as in `Experiment`. ``further_seconds``: the part of
    ``device_seconds_spent`` for all splits but the first.
    """

    match_id: str
    task: str
    stream: str
    seed: int
    status: str
    metric: float | None
    reason: str = ""
    source_id: str = ""
    trust: str = ""
    device_seconds_spent: float = 0.0
    wall_seconds: float = 0.0
    constraints: Mapping[str, float] | None = None
    splits: Mapping[str, float | None] | None = None
    rows: str | None = None
    further_seconds: float | None = None

    def on(self, split: str) -> float | None:
        """The metric on one of its hidden splits; None where it failed or was not scored there."""
        if self.status != "ok":
            return None
        return self.metric if self.splits is None else self.splits.get(split)


class VerificationEvent(Event, kind="verification", sparse=("constraints", "split", "rows")):
    """A run's final source, trained from scratch with a fresh seed and scored on a split that no researcher saw.

    ``gain``: improvement over the baseline on the same ``split``; 0 if the source failed with the seed.
    """

    run_id: str
    arm_id: str
    program_id: str
    task: str
    stream: str
    seed: int
    status: str
    reason: str = ""
    metric: float | None
    baseline_metric: float | None = None
    gain: float
    trust: str = ""
    device_seconds_spent: float = 0.0
    wall_seconds: float = 0.0
    constraints: Mapping[str, float] | None = None
    split: str | None = None
    rows: str | None = None


class HarvestExperimentEvent(
    Event, kind="harvest_experiment", sparse=("parent_source_id", "from_run", "split", "rows")
):
    """One training of a search for the best train.py; ``number`` counts within its stage."""

    task: str
    search: str
    stage: str  # search, choose (among the finalists), measure (the winner), drift
    number: int
    stream: str
    seed: int
    source_id: str
    origin: str  # untouched, model (the best edits by the mixed model), run (a run's final source), elite or single
    parent_source_id: str | None = None  # of an elite child; else the edit is one of the untouched source
    from_run: str | None = None
    edit: Edit
    config: Mapping[str, Value]
    status: str
    metric: float | None
    reason: str = ""
    trust: str = ""
    device_seconds_charged: float
    device_seconds_spent: float
    training_seconds: float | None = None
    prediction_seconds: float | None = None
    wall_seconds: float
    split: str | None = None
    rows: str | None = None

    @property
    def fraction(self) -> float:
        """Of a full experiment's budget."""
        return 1.0


MOST_DRIFT = 2.0  # SD


class HarvestEvent(Event, kind="harvest", sparse=("drift", "noise", "start", "end", "held_rows")):
    """The train.py that such a search ended with. The 95% interval contains the noise that ``noise`` names.

    ``noise``: words of `trainer.rows`, separated by blanks. ``start``, ``end``: mean metric of the untouched
    source and of this one in the same measurement. ``held_rows``: number of held-back rows that it is on; None where
    no rows are held back.

    ``drift``: where the metric is a time, by how many SD the untouched files were slower at the end than before; beyond
    `MOST_DRIFT` there is no interval.
    """

    task: str
    search: str
    stream: str
    source_id: str
    origin: str
    config: Mapping[str, Value]
    files: tuple[tuple[str, str], ...]  # name and text
    experiments: int  # of the search
    finalists: int
    chosen_by: float  # mean gain on the split that chose among the finalists
    gain: float | None
    se: float | None
    low: float | None
    high: float | None
    n: int  # trainings, each with a fresh seed where one is given
    failed: int  # of them, each gains 0
    trust: str | None
    device_seconds_charged: float
    device_seconds_spent: float
    drift: float | None = None
    noise: str | None = None
    start: float | None = None
    end: float | None = None
    held_rows: int | None = None


class AblationEvent(Event, kind="ablation", sparse=("match_id", "run_id", "program_id", "seeds")):
    """The plan of an ablation, recorded before its first run; the last record of an id counts."""

    ablation_id: str
    method: str  # factorial, of a program's directives; replay, of a run's commits
    match_id: str | None = None
    run_id: str | None = None
    program_id: str | None = None
    task: str
    stream: str
    factors: tuple[str, ...]
    seeds: int | None = None
    planned_at: str
    plan: Mapping[str, JsonValue]


class ReplayEvent(Event, kind="replay", sparse=("split", "rows")):
    """One training of the untouched source with some commits of a run."""

    ablation_id: str
    run_id: str
    commits: tuple[str, ...]
    skipped: tuple[str, ...]
    source_id: str
    stream: str
    seed: int
    status: str
    metric: float | None
    reason: str
    trust: str
    device_seconds_spent: float
    wall_seconds: float
    split: str | None = None
    rows: str | None = None


class EntryEvent(Event, kind="entry"):
    """An entry of a contest."""

    entry_id: str
    number: int
    entrant: str
    role: str
    program_id: str
    sha256: str
    received_at: str
    arm_ids: tuple[str, ...]


class DocumentEvent(Event):
    """A record whose format belongs to the module that writes and reads it. ``body``: everything but the kind."""

    body: Mapping[str, JsonValue]

    def to_record(self) -> dict[str, JsonValue]:
        return {**self.tags, **self.body}

    @classmethod
    def parse(cls, record: Mapping[str, JsonValue] | bytes) -> Self:
        known = json.loads(record) if isinstance(record, bytes) else record
        return cls(body={key: value for key, value in known.items() if key not in LEDGER_KEYS})


class ChampionEvent(DocumentEvent, kind="champion"):
    """The end of a study: its decision and the figures of its claim (`analysis.verdict`)."""


class AuditEvent(DocumentEvent, kind="audit"):
    """The result of `metaloop verify` (`arena.audit.verify`)."""


class ContestEvent(DocumentEvent, kind="contest"):
    """A contest's settings when its queue first ran (`arena.contest.settings`)."""


class ActEvent(DocumentEvent, kind="act"):
    """The host declared an entry void, or reversed that (`arena.contest.entering.acts`)."""


class PairEvent(Event, kind="pair"):
    """A proposal of a project of strangers and the main that it is compared with, trained with one fresh seed and
    scored on one fresh split. ``status``: of main and of the proposal."""

    proposal: int
    number: int
    seed: int
    split: str
    base_metric: float | None
    metric: float | None
    difference: float
    status: str
    device_seconds_spent: float


class BlockEvent(DocumentEvent, kind="block"):
    """A merged proposal (`arena.home.chain.Trailers`)."""


class AnnouncementEvent(DocumentEvent, kind="announcement"):
    """The announcement of a contest (`arena.contest.ranking.decision`)."""

"""The rows that several parts of a report read: a class for each query of ``sql/`` with the columns in use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NotRequired, TypedDict

from analysis.statistics import mean_together
from analysis.study_settings import StudySettings
from analysis.verdict.decision import ArmGain
from analysis.wording import arm_name, short

if TYPE_CHECKING:
    from pydantic import JsonValue


class RecordedMean(TypedDict):
    mean: float | None
    n: int
    se: NotRequired[float | None]
    low: NotRequired[float | None]
    high: NotRequired[float | None]


class RecordedClaim(TypedDict):
    """The figures of a claim (`meta.claim`) that the page shows."""

    champion: RecordedMean
    stock: RecordedMean
    own: NotRequired[RecordedMean]
    difference: float
    low: float | None
    high: float | None


class HeldOutResult(TypedDict):
    """The result on one held-out task; ``claim`` None: nothing was run."""

    task: str
    unit: str
    claim: RecordedClaim | None
    p_adjusted: float | None
    holds: bool
    variant: NotRequired[bool]


@dataclass(frozen=True)
class Unread:
    """A row that the code does not read; the page only shows its query."""


@dataclass(frozen=True)
class StudyRow:
    study_id: str | None
    version: str | None
    config: StudySettings | None
    started_at: str | None
    last_record_at: str | None


@dataclass(frozen=True)
class OverviewRow:
    runs: int
    programs: int
    experiments: int
    research_seconds: float
    charged_seconds: float | None
    verification_seconds: float
    tokens: int | None
    usd: float | None
    mutation_tokens: int | None
    mutation_usd: float | None

    @property
    def device_seconds(self) -> float:
        return self.research_seconds + self.verification_seconds

    @property
    def model_tokens(self) -> int:
        return (self.tokens or 0) + (self.mutation_tokens or 0)

    @property
    def model_usd(self) -> float | None:
        """None if a part has no price."""
        return None if self.usd is None or self.mutation_usd is None else self.usd + self.mutation_usd


@dataclass(frozen=True)
class MatchRow:
    """``ended``: arms with a verified gain. Without values: no match."""

    match_id: str | None = None
    purpose: str | None = None
    task: str | None = None
    task_id: str | None = None
    direction: str | None = None
    metric: str | None = None
    unit: str | None = None
    run_budget: float | None = None
    hardware_class: str | None = None
    ended: int = 0
    runs: int = 0
    generation: int | None = None


@dataclass(frozen=True)
class StandingRow(ArmGain):
    """An arm of a match; ``label``, ``purpose`` and ``generation`` are those of the match."""

    match_id: str
    label: str | None
    purpose: str | None
    generation: int | None
    arm_id: str
    name: str | None
    low: float | None
    high: float | None
    claimed: float | None
    rank_low: int | None
    rank_high: int | None
    words: int | None
    trust: str | None
    device_seconds_charged: float | None

    @property
    def program(self) -> str:
        return self.name or short(self.program_id)

    @property
    def display_name(self) -> str:
        return arm_name(self.program, "a/a") if self.role == "a/a" else self.program


def both_arms(arms: Sequence[StandingRow]) -> StandingRow | None:
    """Stock's two arms as one row, which the announced test uses; None without two."""
    twin = next((row for row in arms if row.role == "a/a"), None)
    own = [row for row in arms if twin and row.program_id == twin.program_id]
    if twin is None or len(own) < 2:
        return None
    mean = mean_together((row.gain, row.se, row.n) for row in own)
    return replace(
        twin,
        arm_id="both-arms",
        role="both arms",
        name=arm_name(twin.program, "both arms"),
        n=mean.n,
        gain=mean.mean,
        se=mean.se,
        low=mean.low,
        high=mean.high,
        claimed=None,
        rank_low=None,
        rank_high=None,
        device_seconds_charged=sum(row.device_seconds_charged or 0.0 for row in own),
    )


@dataclass(frozen=True)
class TextRow:
    """A program with its text."""

    program_id: str
    name: str | None
    words: int | None
    text: str | None


@dataclass(frozen=True)
class ChampionRow(TextRow):
    holds: bool | None
    difference: float | None
    reserve: Sequence[HeldOutResult] | None
    details: Mapping[str, JsonValue]


@dataclass(frozen=True)
class RunRow:
    run_id: str
    match_id: str | None
    task: str | None
    deciding: bool
    program_id: str | None
    name: str | None
    role: str | None
    experiments: int
    kept: int
    claimed_best: float | None
    claimed_gain: float | None
    verified_gain: float | None
    score_stream: str | None
    trust: str | None
    direction: str | None
    noise_sd: float | None

    @property
    def program(self) -> str:
        return self.name or short(self.program_id)


@dataclass(frozen=True)
class NoiseRow:
    """The SD of one training of a task's untouched source between training seeds, from so many trainings."""

    task: str
    sd: float
    trainings: int


@dataclass(frozen=True)
class LogRow:
    """An imported log."""

    name: str | None
    path: str
    state: str
    reason: str | None
    run_id: str | None
    metric: str | None
    direction: str | None
    quarantined: int | None
    tried: int | None
    kept: int | None
    failed: int | None
    baseline: float | None
    best_kept: float | None
    claimed_gain: float | None
    rerun_gain: float | None
    noise_share: float | None
    chance_gain: float | None
    distinguishable: int | None


@dataclass(frozen=True)
class EffectRow:
    """An estimate of a planned ablation."""

    credit_id: str
    program_id: str | None
    program: str | None
    run_id: str | None
    label: str | None
    method: str
    design: str
    estimate: float
    se: float | None
    low: float | None
    high: float | None
    n: int
    q: float | None
    unit: str

    @property
    def is_significant(self) -> bool:
        """Whether the interval excludes zero and q is below 5%."""
        if self.q is None or self.low is None or self.high is None:
            return False
        return self.q < 0.05 and not self.low <= 0 <= self.high

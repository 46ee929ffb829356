"""The settings of a study, as `config` of the view `studies` has them."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class TaskSettings(TypedDict):
    """A training task beside the first one, or a held-out task; ``variant``: the study drew it."""

    task: str
    task_id: str
    run_budget: float
    variant: NotRequired[bool]


class PlanSettings(TypedDict, total=False):
    """What the commands read again of the plan of a match or an ablation; of an evolution, see `meta.plan.Plan`."""

    seeds: int
    roles: list[str]
    batch: int
    race_rule: str
    origin: str
    starters: int
    night: int
    own_arm: int
    generations: int
    only: list[str]
    budget: float
    source: str
    run_id: str


class FromStudySettings(TypedDict):
    folder: str
    program_id: str


class KnowledgeSettings(TypedDict):
    program_id: str
    files: NotRequired[list[str]]
    without: NotRequired[list[str]]


class FamilySettings(TypedDict):
    searched: list[str]
    left_out: list[str]


class SpendingLimits(TypedDict, total=False):
    """What is read of [staff]."""

    models: list[str]
    max_tokens: int | None
    max_usd: float | None


class StudySettings(TypedDict, total=False):
    """The keys in use. An import has few of them."""

    command: str
    task: str
    task_id: str
    run_budget: float
    seed: int | None
    fixed_steps: bool
    sandbox: bool
    researcher: str
    staff: SpendingLimits | None
    workers: int
    plan: PlanSettings
    further: list[TaskSettings]
    reserve: list[TaskSettings]
    families: FamilySettings | None
    from_study: FromStudySettings | None
    knowledge: KnowledgeSettings | None
    versions: dict[str, str | None]

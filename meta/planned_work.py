"""The plan of a command and its cost: printed by ``--dry-run``, and the reference of the progress screen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from pydantic import JsonValue


class PlannedWork(TypedDict, total=False):
    """Keys in seconds end with ``_s`` or ``seconds``; a command sets those that apply to it, in its own order."""

    task: str
    program: str
    program_id: str
    run_id: str
    runs: int
    experiments_per_run: int
    experiments: int
    runs_in_all: int  # with those on held-out tasks
    experiments_in_all: int
    harvest_experiments: int  # on each task
    run_budget_s: float
    run_budgets_s: dict[str, float]  # by task, where there are several
    device_seconds: float
    workers: int
    wall_seconds: float
    charged_by_clock: bool  # so other load makes the experiments fewer, and the work no longer
    devices_per_run: int
    price: str
    plan: Mapping[str, JsonValue]  # of meta.plan.Plan
    sandbox: str
    of_the_task: str
    turns: str  # of a night: its programs
    ideas: str  # why those of the user's program are not tried
    tells: str  # the statistical power
    researcher: str
    models: str
    context_tokens: int
    reply_tokens: int
    call_timeout_s: float
    patience_s: float
    calls_at_once: int
    max_wall_s: float
    tokens: int
    usd: float | None
    mutation_calls: int
    mutation_tokens: int
    mutation_usd: float | None
    families: str
    reserve: str
    runs_on_reserve: int
    variant: str
    runs_on_variant: int
    from_study: str
    knowledge: str
    compared_with_learnt: str
    compared_with: str
    budget: str  # why much of it is not used
    programs: str | int
    runs_by_task: str
    seconds_by_task: str
    directives: int
    blocks: int
    runs_per_block: int
    factors: list[dict[str, str]]
    left_out: list[dict[str, str]]
    commits: int
    seeds: int

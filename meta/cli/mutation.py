"""Programs that a model writes, in ``evolve`` and ``improve``: which instruction it follows, and what that costs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import click

from meta.cli import resolve
from meta.cli.options import flag
from meta.cli.researcher_choice import Traces
from meta.planned_work import PlannedWork
from programs.errors import UsageError

if TYPE_CHECKING:
    from arena.study import Study
    from inner_loop.run_context import ModelConfig
    from meta.plan import Plan
    from programs.program import Program


@dataclass(frozen=True)
class MutationFlags:
    """What a model that writes programs follows, and sees."""

    meta_program: Annotated[str | None, flag("What a model follows that writes programs.", metavar="FILE")]
    traces: Annotated[
        Traces | None,
        flag(
            "How a model that writes programs sees raw traces of runs  [default: what it can do].",
            type=click.Choice(get_args(Traces)),
        ),
    ]


def load(path: str | None) -> Program | None:
    """The program of ``--meta-program``. Raises NotFound, ProgramError."""
    from programs.program import Program

    return Program.load(Path(path).expanduser()) if path else None


def check(study: Study, asked: Program | None) -> None:
    """The instruction is part of what a study is: naming another one later is an error."""
    if asked is None or asked.text == study.config.meta_program:
        return
    raise resolve.made_otherwise(
        f"{resolve.shown(study.folder)} was founded with another meta program", "--meta-program"
    )


def check_traces(study: Study, asked: str | None) -> None:
    """What prompts hold was settled when the study was founded; asking for something else later is an error."""
    made = study.config.staff.traces
    if asked not in (None, "auto", made):
        raise resolve.made_otherwise(f"{resolve.shown(study.folder)} was founded with --traces {made}", "--traces")


def bill(plan: Plan, staff: ModelConfig, told: PlannedWork) -> PlannedWork:
    """What mutation may take at most, in the words of a plan; nothing where no model is at hand."""
    if not staff.models or not plan.generations or os.environ.get("METALOOP_REPLAY"):
        return {}
    from meta.mutators.llm.bill import bill as most
    from meta.mutators.llm.bill import sentence

    found = most(plan.generations, plan.children, staff)
    price = str(told["price"]).replace("own device, no model is called", "own device")
    return {
        "models": ", ".join(staff.models),
        "researcher": told.get("researcher", "scripted"),
        "mutation_calls": found.calls,
        "mutation_tokens": found.tokens,
        "mutation_usd": found.usd,
        "price": f"{price}; {sentence(found, staff, plan.child_runs * plan.run_budget)}",
    }


def refuse_alone(asked: Program | None, staff: ModelConfig) -> None:
    """A meta program without a model would be followed by nobody, and traces seen by nobody."""
    if staff.traces != "auto" and not staff.models:
        raise UsageError("--traces is for a model to see", hint="name one: -m NAME")
    if asked is not None and not staff.models:
        raise UsageError("--meta-program is for a model to follow", hint="name one: -m NAME")

"""The models that write programs in ``evolve`` and ``improve``: the instructions they follow, and their cost."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

from meta.study.cost import FREE, Cost
from programs.errors import UsageError

if TYPE_CHECKING:
    from inner_loop.run_context import ModelConfig
    from meta.study.plan import Plan
    from programs.program import Program


def load(path: str | None) -> Program | None:
    """The program of ``--set meta_program=FILE``. Raises NotFound, ProgramError."""
    from programs import folder

    return folder.load(Path(path).expanduser()) if path else None


def billed(cost: Cost, plan: Plan, model_config: ModelConfig) -> Cost:
    """The cost with the most that writing programs takes; the same where no model writes programs."""
    generations = plan.generations or plan.night
    if not model_config.models or not generations or os.environ.get("METALOOP_REPLAY"):
        return cost
    from meta.cli.training.researcher_choice import UNPRICED
    from meta.mutators.llm.calls import bill as most
    from meta.mutators.llm.calls import sentence

    limit = most(generations, plan.children, model_config)
    price = cost.facts["price"].replace(FREE, "own device")
    price += f"; {sentence(limit, model_config, plan.child_runs * plan.run_budget or math.inf)}"
    price += UNPRICED.format(model_config.models[0]) * (limit.usd is None and UNPRICED[:10] not in price)
    spent = {"mutation_calls": limit.calls, "mutation_tokens": limit.tokens, "mutation_usd": limit.usd}
    return cost.knowing(**spent).saying(price=price)


def refuse_alone(meta_program: Program | None, model_config: ModelConfig) -> None:
    """Raise UsageError for traces or a meta program without a model: they would have no effect."""
    asked = {"--set traces": model_config.traces != "auto", "--set meta_program": meta_program is not None}
    for name, is_so in asked.items():
        if is_so and not model_config.models:
            raise UsageError(f"{name} needs a model that writes programs", hint="name one: -m NAME")

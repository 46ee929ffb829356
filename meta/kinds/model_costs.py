"""What models and agents add to the cost of a study: the researcher that follows programs, and writers of programs."""

from __future__ import annotations

from arena.study.settings import StudyConfig
from inner_loop.models.prices import UNPRICED
from inner_loop.researchers.description import describe
from inner_loop.run_context import is_replayed
from meta.kinds.cost import FREE, Cost
from meta.mutators.llm.calls import bill
from trainer.task import Task


def with_researcher(cost: Cost, config: StudyConfig, task: Task, turns: int = 0) -> Cost:
    """The cost with that of the researcher, which follows the programs; ``turns``: planned ones, else it proposes every
    experiment."""
    price, details = describe(config.researcher).cost_line(task, config.llm, turns or cost.experiments)
    return cost.with_facts(price=price).with_details(**details)


def with_writers(cost: Cost, config: StudyConfig, generations: int, children: int) -> Cost:
    """The cost with the most that writing programs takes; the same where no model writes programs."""
    if not config.llm.models or not generations or is_replayed():
        return cost
    limit = bill(generations, children, config.llm)
    unpriced = UNPRICED.format(config.llm.models[0]) if limit.usd is None else ""
    price = "own device" if cost.facts["price"] == FREE else cost.facts["price"]
    cost = cost.with_facts(price=price, new_programs=f"at most {limit.calls} calls, {limit.words()}{unpriced}")
    return cost.with_details(mutation_calls=limit.calls, mutation_tokens=limit.tokens, mutation_usd=limit.usd)

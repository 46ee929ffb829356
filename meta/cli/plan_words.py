"""A plan as a person reads it at 80 columns: what is run, what it takes, what is paid for, what it can tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.wording import many
from meta.cli import capacity
from meta.cli.options import duration
from meta.cli.output import brief
from meta.planned_work import PlannedWork

_TOLD = (
    "task", "runs", "run_budget_s", "run_budgets_s",
    "experiments_per_run", "experiments", "device_seconds", "wall_seconds", "workers",
    "devices_per_run",
    "price", "researcher", "models", "tokens", "usd", "mutation_calls", "mutation_tokens", "mutation_usd", "tells",
    "sandbox", "plan", "reply_tokens", "call_timeout_s", "patience_s", "calls_at_once", "max_wall_s",
)  # fmt: skip


def words(plan: PlannedWork) -> list[tuple[str, str]]:
    """Names and sentences, in the order of the questions; what this page does not know is shown as it is.

    Lists of records are left out, the remarks have told them.
    """
    lines = [
        ("task", plan.get("task", "")),
        ("runs", _runs(plan)),
        ("of these", _parts(plan.get("plan"))),
        ("device time", _device(plan)),
        ("by the clock", wall(plan) if "wall_seconds" in plan else ""),
        ("researcher", _researcher(plan)),
        ("models", plan.get("models", "")),
        ("price", _price(plan)),
        ("limits", limits(plan)),
    ]
    for key, value in plan.items():
        if key not in _TOLD and not (isinstance(value, list) and any(isinstance(one, dict) for one in value)):
            lines.append((key, brief(value)))
    lines += [("tells", plan.get("tells", "")), ("sandbox", plan.get("sandbox", ""))]
    return [(name, text) for name, text in lines if text]


def wall(plan: PlannedWork) -> str:
    """``16.8s with 2 workers``; how long a model or an agent thinks is known to nobody beforehand.

    With several devices a run, it is the time that one device would take: how much of it falls into waves, and is
    shared, is up to the programs.
    """
    told = duration(plan["wall_seconds"])
    if "workers" in plan:
        devices = plan.get("devices_per_run", 1)
        told += f" with {capacity.told(plan['workers'], devices)}" + (", less for waves" if devices > 1 else "")
    researcher = str(plan.get("researcher", "scripted"))
    if researcher.partition(":")[0] == "command":
        return f"{told}, and the time that the agents think"
    return f"{told}, and the time that the models take" if researcher != "scripted" or plan.get("models") else told


def limits(plan: PlannedWork) -> str:
    """How long replies, calls, waits and runs may be, and how many calls are made at once."""
    if "reply_tokens" not in plan:
        return ""
    wall = f"; a run takes {duration(plan['max_wall_s'])} by the clock at most" if plan.get("max_wall_s") else ""
    return (
        f"replies of {plan['reply_tokens']:,} tokens at most, {duration(plan['call_timeout_s'])} an attempt, "
        f"{many(plan['calls_at_once'], 'call')} of a provider at once, {duration(plan['patience_s'])} of waiting when "
        f"nobody answers{wall}"
    )


def where(plan: PlannedWork) -> str:
    """``of 3.6s on strokes``; of several tasks ``of 3.6s on strokes and 52.8s on tinylm, as many on each``."""
    budgets = plan.get("run_budgets_s", {plan["task"]: plan["run_budget_s"]})
    told = " and ".join(f"{duration(budget)} on {task}" for task, budget in budgets.items())
    return f"of {told}" + (", as many on each" if len(budgets) > 1 else "")


def _runs(plan: PlannedWork) -> str:
    text = f"{plan['runs']:,}, each with {duration(plan['run_budget_s'])} of device time"
    if "run_budgets_s" in plan:
        count = plan["runs"] // len(plan["run_budgets_s"])
        each = (f"{duration(budget)} on {task}" for task, budget in plan["run_budgets_s"].items())
        text = f"{plan['runs']:,}, {count:,} on each task, with device time of {', '.join(each)}"
    if "experiments_per_run" in plan:
        text += f": about {many(plan['experiments_per_run'], 'experiment')}, {plan.get('experiments', 0):,} in all"
    return text


def _parts(sizes: Any) -> str:
    """Which programs these runs are of, in a study that breeds."""
    if not isinstance(sizes, Mapping) or "confirm_runs" not in sizes:
        return ""
    generations = many(sizes["generations"], "generation")
    bred = (
        f"; {generations} of {sizes['children']} new programs and {sizes['elites']} old ones, {_times(sizes, 'child')}"
    )
    arms = "the winner, your program and stock" if sizes.get("own_arm") else "the winner and stock"
    spend = "; stock alone, as often as all that buys" if sizes.get("same_spend") else ""
    return (
        f"an opening race of {many(sizes['starters'], 'program')} and stock again, {_times(sizes, 'opening')}"
        f"{bred if sizes['generations'] else ''}; {arms} {sizes['confirm_runs']} times each, to confirm{spend}"
    )


def _times(sizes: Mapping[str, Any], which: str) -> str:
    least, most = sizes[f"{which}_runs"], sizes[f"{which}_more"]
    return f"{least} to {most} runs each" if most > least else f"{many(least, 'run')} each"


def _device(plan: PlannedWork) -> str:
    return f"{duration(plan['device_seconds'])}: the runs, and fresh seeds to verify what each comes to"


def _researcher(plan: PlannedWork) -> str:
    """Who follows the programs, and who writes new ones."""
    researcher = str(plan.get("researcher", ""))
    if not plan.get("mutation_calls"):
        return researcher
    told = {
        "scripted": "scripted, without a model; the models write new programs",
        "chat": "chat: the models follow the programs, and write new ones",
    }
    return told.get(researcher, f"{researcher}: the agent follows the programs; the models write new ones")


def _price(plan: PlannedWork) -> str:
    """A line for each who is paid; where nobody knows a price, how to give one."""
    parts = str(plan.get("price", "")).split("; ")
    if plan.get("models") and plan.get("usd", plan.get("mutation_usd")) is None and "replayed" not in parts[0]:
        first = str(plan["models"]).partition(",")[0]
        parts.append(f"a price is set by --price {first}=IN/OUT, dollars per million tokens")
    return "\n".join(parts)

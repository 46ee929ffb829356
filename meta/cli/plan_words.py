"""A plan as text for a terminal of 80 columns: the runs, the time they take, the price, and the statistical power."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.wording import many
from arena.harvest import CHOOSING_SEEDS, FINALISTS, FRESH_SEEDS
from meta.cli import capacity
from meta.cli.options import duration
from meta.cli.output import brief
from meta.planned_work import PlannedWork
from programs.text import word_list

CLEARLY_SLOWER = 1.5  # times: from here on the load of now is told
_SHOWN_BY_NAME = word_list("""
    task runs run_budget_s run_budgets_s experiments_per_run experiments runs_in_all experiments_in_all
    harvest_experiments device_seconds charged_by_clock
    wall_seconds workers devices_per_run price researcher models tokens usd mutation_calls mutation_tokens
    mutation_usd tells sandbox plan context_tokens reply_tokens call_timeout_s patience_s calls_at_once max_wall_s
""")
LABELS = {  # labels of keys, where they differ
    "reserve": "held-out tasks",
    "runs_on_reserve": "runs on held-out tasks",
    "variant": "drawn held-out task",
    "runs_on_variant": "runs on the drawn held-out task",
}


def words(plan: PlannedWork) -> list[tuple[str, str]]:
    """(label, text) pairs. Other keys are shown with their value; lists of records, shown as remarks, are left out."""
    lines = [
        ("task", plan.get("task", "")),
        ("runs", _runs(plan)),
        ("stages", _parts(plan.get("plan"))),
        ("harvest", _harvest(plan)),
        ("device time", _device(plan)),
        ("wall time", wall(plan) if "wall_seconds" in plan else ""),
        ("researcher", _researcher(plan)),
        ("models", plan.get("models", "")),
        ("price", _price(plan)),
        ("limits", limits(plan)),
    ]
    for key, value in plan.items():
        if key not in _SHOWN_BY_NAME and not (isinstance(value, list) and any(isinstance(one, dict) for one in value)):
            lines.append((LABELS.get(key, key.replace("_", " ")), brief(value)))
    lines += [("power", plan.get("tells", "")), ("sandbox", plan.get("sandbox", ""))]
    return [(name, text) for name, text in lines if text]


def wall(plan: PlannedWork) -> str:
    """``16.8s with 2 workers``, on a busy machine ``about 40s at the load of now`` too; the time of models and agents
    cannot be predicted.

    With several devices per run this is the time of one device: how much of it is saved by parallel experiments
    depends on the programs.
    """
    text = duration(plan["wall_seconds"])
    if "workers" in plan:
        devices = plan.get("devices_per_run", 1)
        text += f" with {capacity.workers_text(plan['workers'], devices)}"
        text += ", less for parallel experiments" if devices > 1 else ""
        slow = 1.0 if plan.get("charged_by_clock") else capacity.slowdown(plan["workers"] * devices)
        if slow >= CLEARLY_SLOWER:
            text += f" (on an idle machine; about {duration(slow * plan['wall_seconds'])} at the load of now)"
    researcher = str(plan.get("researcher", "scripted"))
    if researcher.partition(":")[0] == "command":
        return f"{text}, plus the agents' own time"
    return f"{text}, plus the time of model calls" if researcher != "scripted" or plan.get("models") else text


def limits(plan: PlannedWork) -> str:
    """The limits of replies, calls, retries and runs."""
    if "reply_tokens" not in plan:
        return ""
    wall = f"; at most {duration(plan['max_wall_s'])} of wall time per run" if plan.get("max_wall_s") else ""
    size = f"a context of {plan['context_tokens']:,} tokens, " if "context_tokens" in plan else ""
    timeout, patience = duration(plan["call_timeout_s"]), duration(plan["patience_s"])
    return (
        f"{size}at most {plan['reply_tokens']:,} tokens per reply, {timeout} timeout per attempt, "
        f"retries for {patience}, {many(plan['calls_at_once'], 'concurrent call')} per provider{wall}"
    )


def where(plan: PlannedWork) -> str:
    """``of 3.6s on strokes``; on several tasks ``of 3.6s on strokes and 52.8s on tinylm, equally many on each``."""
    budgets = plan.get("run_budgets_s", {plan["task"]: plan["run_budget_s"]})
    text = " and ".join(f"{duration(budget)}{_on_average(plan)} on {task}" for task, budget in budgets.items())
    return f"of {text}" + (", equally many on each" if len(budgets) > 1 else "")


def _on_average(plan: PlannedWork) -> str:
    """Where a match has more runs on one task than on another, ``run_budget_s`` is the mean over runs."""
    return " on average" if "runs_by_task" in plan and "run_budgets_s" not in plan else ""


def held_out_runs(plan: PlannedWork) -> int:
    """Runs on held-out tasks, which ``runs`` of a plan leaves out."""
    return plan.get("runs_on_reserve", 0) + plan.get("runs_on_variant", 0)


def total_runs(plan: PlannedWork) -> int:
    return plan["runs"] + held_out_runs(plan)


def all_runs(plan: PlannedWork) -> str:
    """``92 runs, 8 of them on held-out tasks``."""
    held_out = held_out_runs(plan)
    return many(total_runs(plan), "run") + (f", {held_out} of them on held-out tasks" if held_out else "")


def all_experiments(plan: PlannedWork) -> int:
    return plan.get("experiments", 0) + held_out_runs(plan) * plan.get("experiments_per_run", 0)


def charged(plan: PlannedWork) -> float:
    """Device-seconds that will be charged to the runs, without their verification."""
    budgets = list(plan.get("run_budgets_s", {"": plan["run_budget_s"]}).values())
    return total_runs(plan) * sum(budgets) / len(budgets)


def _runs(plan: PlannedWork) -> str:
    text = f"{all_runs(plan)}, each with {duration(plan['run_budget_s'])}{_on_average(plan)} of device time"
    if "run_budgets_s" in plan:
        count = plan["runs"] // len(plan["run_budgets_s"])
        each = (f"{duration(budget)} on {task}" for task, budget in plan["run_budgets_s"].items())
        task = "task of the search" if held_out_runs(plan) else "task"
        text = f"{all_runs(plan)}, {count:,} on each {task}, with device time of {', '.join(each)}"
    if "experiments_per_run" in plan:
        text += f": about {many(plan['experiments_per_run'], 'experiment')}, {all_experiments(plan):,} in all"
    return text


def _parts(sizes: Any) -> str:
    """The stages of an evolution and their runs."""
    if not isinstance(sizes, Mapping) or "confirm_runs" not in sizes:
        return ""
    if sizes.get("night"):
        seeds = sizes["confirm_seeds"]
        return f"one night; at its end, {seeds} trainings each of main and of the untouched files, with fresh seeds"
    generations = many(sizes["generations"], "generation")
    bred = (
        f"; {generations} of {sizes['children']} new programs and {sizes['elites']} old ones, {_times(sizes, 'child')}"
    )
    arms = "the winner, your program and stock" if sizes.get("own_arm") else "the winner and stock"
    start = sizes.get("start_runs", 0)
    arms += f", and {start} of the program it started from, if evolution changed that" if start else ""
    learnt = sizes.get("learnt_runs", 0)
    arms += f", and {learnt} of a program with ideas learnt on other tasks" if learnt else ""
    return (
        f"an opening race of {many(sizes['starters'], 'program')} and stock (A/A), {_times(sizes, 'opening')}"
        f"{bred if sizes['generations'] else ''}; confirmation: {sizes['confirm_runs']} runs each of {arms}"
    )


def _times(sizes: Mapping[str, int], which: str) -> str:
    least, most = sizes[f"{which}_runs"], sizes[f"{which}_more"]
    return f"{least} to {most} runs each" if most > least else f"{many(least, 'run')} each"


def _harvest(plan: PlannedWork) -> str:
    if "harvest_experiments" not in plan:
        return ""
    each, count = " on each task" if "run_budgets_s" in plan else "", plan["harvest_experiments"]
    last = FINALISTS * CHOOSING_SEEDS + FRESH_SEEDS
    return (
        f"{many(count, 'experiment')}{each} after the runs: up to {count - last} search for the best train.py "
        f"(fewer where trainings get longer), {last} choose and measure it"
    )


def _device(plan: PlannedWork) -> str:
    rest = "to verify results on fresh seeds" + (" and for the harvest" if "harvest_experiments" in plan else "")
    return f"{duration(plan['device_seconds'])} in all: {duration(charged(plan))} charged to the runs, the rest {rest}"


def _researcher(plan: PlannedWork) -> str:
    """What follows the programs, and what writes new ones."""
    researcher = str(plan.get("researcher", ""))
    if not plan.get("mutation_calls"):
        return researcher
    texts = {
        "scripted": "scripted, without a model; the models write new programs",
        "chat": "chat: the models follow the programs and write new ones",
    }
    return texts.get(researcher, f"{researcher}: the agent follows the programs; the models write new ones")


def _price(plan: PlannedWork) -> str:
    """A line for each cost; where a price is unknown, how to set it."""
    parts = str(plan.get("price", "")).split("; ")
    if plan.get("models") and plan.get("usd", plan.get("mutation_usd")) is None and "replayed" not in parts[0]:
        first = str(plan["models"]).partition(",")[0]
        parts.append(f"set the price with --set prices={first}=IN/OUT, dollars per million tokens")
    return "\n".join(parts)

"""The command line that repeats a study, worked out from the settings in its ledger."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TypedDict

from analysis.ledger.json_values import read_as
from analysis.ledger.study_settings import PlanSettings, StudySettings
from analysis.report.page import Again
from analysis.wording import many
from arena.sandbox import FLAG as WITHOUT_SANDBOX
from meta.cli.launch import load_task
from programs.errors import MetaloopError, UsageError

if TYPE_CHECKING:
    import duckdb

    from meta.cli.study_size import Dial
    from meta.plan import Plan
    from programs.program import Program
    from trainer.task import Task

FOUNDED = "SELECT config FROM studies ORDER BY started_at DESC LIMIT 1"
STARTERS = """
SELECT program_id, name, text FROM programs
WHERE coalesce(generation, 0) = 0 AND text IS NOT NULL AND operator IS DISTINCT FROM 'without-ideas'
"""
SEEDED = "--seed gives the same seeds again; the number of experiments that fit into a time budget may still differ."
FRESH = "It draws fresh seeds; the secret behind this study's seeds is in its study.toml."


class FoundedStudy(TypedDict):
    config: StudySettings | None


class NamedText(TypedDict):
    """A program as it was recorded."""

    program_id: str
    name: str
    text: str


def again(con: duckdb.DuckDBPyConnection, study_name: str) -> Again | None:
    """The command that repeats a study; None where the ledger does not say how it was created, as for an import."""
    from meta.cli import resolve

    rows = resolve.fetch_as(con, FoundedStudy, FOUNDED)
    try:
        return from_config(con, (rows[0]["config"] if rows else None) or {}, study_name)
    except (KeyError, TypeError, ValueError, AttributeError):  # a config from elsewhere may contain anything
        return None


def from_config(con: duckdb.DuckDBPyConnection, config: StudySettings, study_name: str) -> Again | None:
    from meta.cli import resolve

    command = str(config["command"])
    plan: PlanSettings = config.get("plan") or {}
    dial: list[str] = []
    notes: list[str] = []
    own: Sequence[NamedText] = ()
    if command in ("evolve", "improve"):
        dial, note = dial_of(config, plan)
        used = config.get("knowledge")
        learnt = used["program_id"] if used else None
        without, changed = knowledge_of(config)
        dial, notes = dial + without, [note, changed, drawn_again(config)]
        past = config.get("from_study")
        given = {learnt, past["program_id"] if past else None} - {plan.get("origin")}
        rows = [row for row in resolve.fetch_as(con, NamedText, STARTERS) if row["program_id"] not in given]
        own = started_with(rows, plan)
        dial += ["--from", past["folder"]] if past else []
        dial += ["--from-scratch"] if not learnt and len(own) < 2 and has_roles(config) else []
    elif command == "match":
        dial = ["--seeds", str(plan.get("seeds"))] + ["--race"] * ("batch" in plan)
        roles = plan["roles"]  # of the programs, in their order; the last is stock's second arm, if there is one
        dial += ["--no-controls"] * ("a/a" not in roles)
        starters = resolve.fetch_as(con, NamedText, STARTERS)
        own = [row for row, role in zip(starters, roles, strict=False) if role == "program"]
    elif command == "ablate":
        dial = [*(word for only in plan.get("only") or () for word in ("--only", only))]
        dial += ["--budget", f"{plan['budget']:g}"] if plan.get("budget") else []
        dial += [plan["run_id"], "--study", plan["source"]] if "source" in plan else []
        own = resolve.fetch_as(con, NamedText, STARTERS)[:1]
    else:
        return None
    named, before = zip(*(named_by(row, study_name) for row in own), strict=True) if own else ((), ())
    words = ["metaloop", command, *named, *tasks_of(config), *dial, *settings(config, dial)]
    notes.append(SEEDED if config.get("seed") is not None else FRESH)
    return Again(shlex.join(words), tuple(filter(None, before)), " ".join(filter(None, notes)))


def tasks_of(config: StudySettings) -> list[str]:
    """The flags that name the training tasks, or families, and the held-out ones."""
    if families := config.get("families"):
        flag, training, reserve = "--family", families["searched"], families["left_out"]
    else:
        flag, training = "--task", [config["task"], *(other["task"] for other in config.get("further") or ())]
        reserve = named_reserve(config)
    return [flag, ",".join(map(str, training)), *(["--reserve", ",".join(map(str, reserve))] if reserve else [])]


def named_reserve(config: StudySettings) -> list[str]:
    """The held-out tasks that the user named. One that the study drew is drawn again: as a flag it would be tested, and
    what was learnt on its family left out."""
    return [other["task"] for other in config.get("reserve") or () if not other.get("variant")]


def drawn_again(config: StudySettings) -> str:
    """Which held-out task the study drew, where the command draws another."""
    drawn = [PurePath(other["task"]).name for other in config.get("reserve") or () if other.get("variant")]
    if not drawn or config.get("seed") is not None:
        return ""
    return f"The held-out task {', '.join(drawn)} was drawn at random; the command draws another of the same family."


def knowledge_of(config: StudySettings) -> tuple[list[str], str]:
    """(the flags that leave out the same measured tasks, a remark where those of this installation are others)."""
    from analysis.knowledge import SHIPPED, family_of, files_of

    used = config.get("knowledge")
    if not used:
        return [], ""
    held = families["left_out"] if (families := config.get("families")) else named_reserve(config)
    tasks = [task for name in held if (task := loaded(name))]
    implied = {name for task in tasks for name in (task.name, task.task_id, family_of(task))}
    without = [name for name in used.get("without") or () if name not in implied]
    files, known = set(used.get("files") or ()), {file.name for file in files_of((SHIPPED,))}
    differ = (
        (files - known, "the study also used {} of another knowledge base, to be passed with --knowledge"),
        (known - files if files else (), "this version of metaloop comes with {} that the study did not have"),
    )
    changed = [text.format(many(len(names), "measured task")) for names, text in differ if names]
    remark = f"What it starts from differs: {' and '.join(changed)}." if changed else ""
    return (["--without", ",".join(without)] if without else []), remark


def settings(config: StudySettings, dial: Sequence[str]) -> list[str]:
    """The flags that every command that creates a study has."""
    flags = [] if "--run-budget" in dial or is_default(config) else ["--run-budget", f"{config['run_budget']:g}"]
    flags += ["--seed", str(config["seed"])] if config.get("seed") is not None else []
    flags += ["--fixed-steps"] if config.get("fixed_steps") else []
    flags += ["--race-rule", rule] if (rule := (config.get("plan") or {}).get("race_rule")) else []
    flags += ["-r", who] if (who := config.get("researcher") or "scripted") != "scripted" else []
    flags += ["-m", ",".join(models)] if (models := (config.get("staff") or {}).get("models")) else []
    return flags + ([] if config.get("sandbox") else [WITHOUT_SANDBOX])


def is_default(config: StudySettings) -> bool:
    """Whether the budget of a run is the command's default: the task's, or that of the size flags."""
    task = task_of(config)
    if config["command"] in ("evolve", "improve"):
        return True  # `dial_of` adds the budget where the size flags do not imply it
    return task is not None and task.run_budget == config["run_budget"]


def has_roles(config: StudySettings) -> bool:
    """Whether the command would start from what was learnt on measured tasks."""
    from meta.learnt import knows_roles

    task = task_of(config)
    return task is not None and knows_roles([task])


def task_of(config: StudySettings) -> Task | None:
    """The task of a study, where it is on this machine."""
    return loaded(str(config["task"]))


def loaded(name: str) -> Task | None:
    try:
        return load_task(name)
    except (MetaloopError, OSError):
        return None


def dial_of(config: StudySettings, recorded: PlanSettings) -> tuple[list[str], str]:
    """(flags that make the recorded plan, a remark). Where no flags make it, those with the nearest plan."""
    from meta.cli.study_size import family_plan, plan_of
    from meta.plan import Plan
    from meta.reserve import seconds_on_reserved

    task = task_of(config)
    if task is None:
        return [
            "--run-budget",
            f"{config['run_budget']:g}",
        ], "Its task is not on this machine, so the flags for its size are unknown."
    plan, improves = read_as(Plan, recorded), config["command"] == "improve"
    if config.get("families"):
        return nearest(dials(plan, lambda dial: family_plan(task, dial, bool(plan.own_arm))), plan)
    try:
        further = [load_task(other["task"]) for other in config.get("further") or ()]
        reserve = [load_task(name) for name in named_reserve(config)]
    except (MetaloopError, OSError):
        further, reserve = [], []
    variant = task if plan.variant_runs and task.family is not None else None  # all members cost the same
    other_seconds = plan.seconds_on(task, further) + seconds_on_reserved(plan, task, reserve, variant)
    needed, least = plan.device_seconds(task) + other_seconds, task.cost_seconds
    budgets = [math.ceil(needed + extra * least) for extra in range(2 if plan.night else 1)]

    def sized(dial: Dial) -> Plan:
        return plan_of([task, *further], dial, reserve, own_arm=bool(plan.own_arm), variant=variant, improves=improves)

    made = (each for budget in budgets for each in dials(plan, sized, budget))
    return nearest(made, plan)


def nearest(made: Iterable[tuple[list[str], Plan]], plan: Plan) -> tuple[list[str], str]:
    """(the flags whose plan is nearest to the recorded one, a remark on what differs)."""
    best: tuple[int, list[str], Plan] | None = None
    for flags, one in made:
        candidate = (len(differing(one, plan)), flags, one)
        best = min((best, candidate), key=lambda one: (one[0], len(one[1]))) if best else candidate
    if best is None:
        return [], ""
    apart = differing(best[2], plan)
    changes = ", ".join(f"{name.replace('_', ' ')} {there} instead of {here}" for name, there, here in apart)
    return best[1], f"This version of metaloop plans slightly differently: {changes}." if apart else ""


def dials(plan: Plan, make: Callable[[Dial], Plan], budget: int | None = None) -> Iterator[tuple[list[str], Plan]]:
    """Flags with the plans that they make: every possible size, with and without single changes."""
    from itertools import product

    from meta.cli.study_size import Dial

    sizes: list[list[str]] = [[], ["--quick"]] + ([["--budget", f"{budget}"]] if budget is not None else [])
    changes = [
        ["--run-budget", f"{plan.run_budget:g}"],
        ["--seeds", str(plan.opening_runs)],
        ["--generations", str(plan.generations)],
        ["--harvest", str(plan.harvest_percent)],
    ]
    for size, taken in product(sizes, product((False, True), repeat=len(changes))):
        flags = [*size, *(word for change, use in zip(changes, taken, strict=True) if use for word in change)]
        dial = Dial(
            run_budget=plan.run_budget if taken[0] else None,
            budget=float(budget) if budget is not None and "--budget" in flags else None,
            quick="--quick" in flags,
            seeds=plan.opening_runs if taken[1] else None,
            generations=plan.generations if taken[2] else None,
            harvest=plan.harvest_percent if taken[3] else None,
            race_rule=None,
        )
        try:
            made = make(dial)
        except UsageError:  # too small a budget for any plan
            continue
        yield flags, made


def differing(made: Plan, recorded: Plan) -> list[tuple[str, Any, Any]]:
    """(name, as made, as recorded) of the numbers in which two plans differ. What was learnt sets ``learnt_runs``."""
    one, other = asdict(made) | {"learnt_runs": 0}, asdict(recorded) | {"learnt_runs": 0}
    return [(name, one[name], other[name]) for name in one if one[name] != other[name]]


def started_with(rows: Sequence[NamedText], plan: PlanSettings) -> list[NamedText]:
    """The programs that the command line named, without those that the command adds by itself."""
    from meta.population import starters
    from programs.shelf import in_library, starter

    ours = [row for row in rows if row["name"] not in ("stock", "one-line")]
    own = [row for row in ours if not in_library(row["name"], row["program_id"])]
    expected = starters(int(plan.get("starters", 0)), [parsed(row) for row in own])
    if {row["program_id"] for row in rows} <= {program.program_id for program in [*expected, starter("one-line")]}:
        return sorted(own, key=lambda row: row["program_id"] != plan.get("origin"))
    return ours


def parsed(row: NamedText) -> Program:
    from programs.program import Program

    return Program.parse(row["text"], row["name"])


def named_by(row: NamedText, study_name: str) -> tuple[str, str]:
    """(the program's name on a command line, the command that writes its file unless it is a library starter)."""
    from programs.shelf import in_library

    if in_library(row["name"], row["program_id"]):
        return row["name"], ""
    file = "".join(c if c.isalnum() or c in "-_." else "-" for c in row["name"]).strip("-.") or "program"
    text = "import json, sys; sys.stdout.write(json.load(sys.stdin)['text'])"
    shown = f"metaloop show {row['program_id']} -s {shlex.quote(study_name)} --json"
    return f"{file}.md", f'{shown} | python3 -c "{text}" > {shlex.quote(file)}.md'

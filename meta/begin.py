"""Creates a study of the outer loop, and reads an existing one to resume it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.ledger import read
from arena.setup import BASELINE_SEEDS, StudySetup, beside
from arena.study import Study
from inner_loop.run_context import ModelConfig
from meta.apply import PATH
from meta.learnt import Learnt
from meta.mutators.mix import MUTATORS, named_operators
from meta.past_study import PastStudy
from meta.plan import TURNS, Plan
from meta.population import starters, taking_turns
from meta.reserve import refuse_twice
from meta.task_families import DrawnTasks
from programs import shelf
from programs.errors import Corrupt
from programs.program import Program
from trainer.task import Task

if TYPE_CHECKING:
    from pydantic import JsonValue


def create(
    folder: Path, *, task: Task, plan: Plan, own: Sequence[Program] = (), workers: int, seed: int | None = None,
    fixed_steps: bool = False, sandbox: bool = True, command: str = "evolve", reserve: Sequence[Task] = (),
    further: Sequence[Task] = (), researcher: str = "scripted", model_config: ModelConfig | None = None,
    meta_program: Program | None = None, devices: int = 1, past: PastStudy | None = None, race_rule: str | None = None,
    learnt: Learnt | None = None, variant: Task | None = None, drawn: DrawnTasks | None = None, path: str | None = None,
    typed: Mapping[str, list[str]] | None = None,
) -> tuple[Study, list[Program]]:  # fmt: skip
    """A new study in ``folder`` and its starters. With ``command`` improve, the first of ``own`` is the program to
    improve. ``further``: tasks beside ``task`` that every match is also played on.

    ``meta_program`` instructs the models of ``model_config`` when they write programs (default: the library's). Whether
    they search traces is decided here, so that a later price list changes nothing. ``past``: its champion is a starter;
    ``learnt``: from measured tasks; ``variant``: a held-out task of its family on which the champion is shown;
    ``drawn``: the tasks of a study over families, whose first one is ``task``; ``path``: the user's program file;
    ``typed``: the command.
    """
    if model_config and model_config.models:
        from meta.mutators.llm.trace_access import trace_mode

        model_config = model_config.model_copy(update={"traces": trace_mode(model_config)})
    follows = (meta_program or shelf.meta_program()).text if model_config and model_config.models else None
    refuse_twice([task, *further], reserve)
    taught = learnt.program if learnt else None
    before = past.champion if past else None
    chosen = starters(plan.starters, own, None if plan.learnt_runs else taught, before)
    chosen += [taught] if taught and plan.learnt_runs else []
    turns = taking_turns(own[0], taught, task, researcher, before) if plan.night else []
    chosen = [*dict.fromkeys([own[0], *turns])] if turns else chosen
    origin = own[0].program_id if command == "improve" else None
    named = {"race_rule": race_rule, "origin": origin, PATH: path if origin else None}
    settings = plan_settings(plan, named) | ({TURNS: [one.program_id for one in turns]} if turns else {})
    unseen = beside(task, plan.run_budget, [variant] if variant else [], variant=True)
    reserved = beside(task, plan.run_budget, reserve) + unseen + (drawn.reserve if drawn else [])
    setup = StudySetup(
        command,
        task,
        plan.run_budget,
        workers=workers,
        devices=devices,
        seed=seed,
        fixed_steps=fixed_steps,
        researcher=researcher,
        plan=settings,
        programs=chosen,
        baseline_seeds=plan.baseline_seeds or BASELINE_SEEDS,
        confirm_seeds=plan.confirm_seeds or None,
        sandbox=sandbox,
        further=beside(task, plan.run_budget, further),
        reserve=reserved,
        fresh=drawn.fresh if drawn else (),
        families=drawn.families if drawn else None,
        model_config=model_config,
        meta_program=follows,
        from_study=past.used if past else None,
        start=past.main if past and plan.night else (),
        knowledge=learnt.used if learnt and learnt.program in chosen else None,
        typed=typed or {},
    )
    return Study.create(folder, setup), chosen


def plan_settings(plan: Plan, named: Mapping[str, str | None]) -> dict[str, JsonValue]:
    """The plan as study.toml holds it, with what else the study is to remember by name."""
    settings: dict[str, JsonValue] = asdict(plan)
    if MUTATORS.added:
        named_operators(MUTATORS.names)  # refused before anything is spent
        settings["operators"] = [*MUTATORS.names]
    return settings | {name: value for name, value in named.items() if value}


def take_up(folder: Path) -> tuple[Study, Plan, list[Program]]:
    """An existing study, its plan and its starters, to resume where its ledger ends."""
    study = Study.open(folder)
    beside_plan = ("origin", "operators", "race_rule", TURNS, PATH)
    given = {k: v for k, v in study.config.plan.items() if k not in beside_plan}
    try:
        plan = Plan(**given)
    except TypeError:
        raise Corrupt(
            f"{folder}/study.toml: [plan] is not a plan of this version",
            hint=f"this study was made by `metaloop {study.config.command}`; use that command",
        ) from None
    for name, value in given.items():
        # a whole number may stand for seconds; nothing is a number that is true or false
        if type(value) not in ((int, float) if name == "run_budget" else (int,)) or value < 0:
            message = f"{folder}/study.toml: [plan] {name} = {value!r} is not a valid number"
            raise Corrupt(message, hint="restore study.toml from a copy")
    began = [Program.parse(text, name) for name, text in study.config.programs]
    known, turns = {program.program_id for program in began}, study.config.plan.get(TURNS, [])
    origin = study.config.plan.get("origin")
    for name, program_id in [*[("origin", origin)] * bool(origin), *((TURNS, each) for each in turns)]:
        if program_id not in known:
            message = f"{folder}/study.toml: [plan] {name}: {program_id!r} is not one of its programs"
            raise Corrupt(message, hint="restore study.toml from a copy")
    if plan.night and len(turns) < 2:
        raise Corrupt(f"{folder}/study.toml: [plan] {TURNS} is missing", hint="restore study.toml from a copy")
    return study, plan, began


def champion_of(folder: Path) -> dict[str, JsonValue] | None:
    """The champion event of a finished study; None before it."""
    return next((event for event in read(folder / "ledger") if event["kind"] == "champion"), None)

"""Creates a study of the outer loop, and reads an existing one to resume it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from analysis.ledger import read
from arena.setup import BASELINE_SEEDS, StudySetup, beside
from arena.study import Study
from inner_loop.run_context import ModelConfig
from meta.kinds.past_study import PastStudy
from meta.kinds.plan import TEST, TURNS, Plan
from meta.learnt import Learnt
from meta.mutators.mix import MUTATORS, named_operators
from meta.population import starters, taking_turns
from meta.reserve import refuse_twice
from programs import shelf
from programs.errors import Corrupt
from programs.program import Program
from trainer.task import Task

PATH = "path"  # the file of the user's program
BESIDE_PLAN = ("origin", "operators", TEST, TURNS, PATH)  # what else the plan of study.toml remembers


def create(
    folder: Path, *, task: Task, plan: Plan, own: Sequence[Program] = (), command: str = "evolve",
    further: Sequence[Task] = (), reserve: Sequence[Task] = (), variant: Task | None = None,
    past: PastStudy | None = None, learnt: Learnt | None = None,
    model_config: ModelConfig | None = None, meta_program: Program | None = None, researcher: str = "scripted",
    path: str | None = None, **settings: Any,
) -> tuple[Study, list[Program]]:  # fmt: skip
    """A new study in ``folder`` and its starters. With ``command`` improve, the first of ``own`` is the program to
    improve. ``further``: tasks beside ``task`` that every match is also played on.

    ``meta_program`` instructs the models of ``model_config`` when they write programs (default: the library's).
    ``past``: its champion is a starter;
    ``learnt``: from measured tasks; ``variant``: a held-out task of its family on which the champion is shown;
    ``path``: the user's program file; ``settings``: others of `StudySetup`.
    """
    if model_config and model_config.models:
        meta_program = meta_program or shelf.meta_program()
    refuse_twice([task, *further], reserve)
    taught, before = learnt.program if learnt else None, past.champion if past else None
    turns = taking_turns(own[0], taught, task, researcher, before) if plan.night else []
    if turns:
        chosen = [*dict.fromkeys([own[0], *turns])]
    elif taught and plan.learnt_runs:
        chosen = [*starters(plan.starters, own, past=before), taught]
    else:
        chosen = starters(plan.starters, own, taught, before)
    kept: dict[str, JsonValue] = {TEST: plan.test, TURNS: [one.program_id for one in turns]}
    if command == "improve":
        kept |= {"origin": own[0].program_id, PATH: path}
    if MUTATORS.added:
        named_operators(MUTATORS.names)  # refused before anything is spent
        kept["operators"] = [*MUTATORS.names]
    unseen = beside(task, plan.run_budget, [variant] if variant else [], variant=True)
    setup = StudySetup(
        command,
        task,
        plan.run_budget,
        plan=asdict(plan) | {name: value for name, value in kept.items() if value},
        programs=chosen,
        baseline_seeds=plan.baseline_seeds or BASELINE_SEEDS,
        confirm_seeds=plan.confirm_seeds or None,
        researcher=researcher,
        further=beside(task, plan.run_budget, further),
        reserve=beside(task, plan.run_budget, reserve) + unseen,
        model_config=model_config,
        meta_program=(meta_program.name, meta_program.text) if meta_program else None,
        from_study=past.used if past else None,
        held_secret=past.held_secret if past else "",
        start=past.main if past and plan.night else (),
        knowledge=learnt.used if learnt and learnt.program in chosen else None,
        **settings,
    )
    return Study.create(folder, setup), chosen


def take_up(folder: Path) -> tuple[Study, Plan, list[Program]]:
    """An existing study, its plan and its starters, to resume where its ledger ends."""
    study = Study.open(folder)
    kept = study.config.plan
    given = {name: value for name, value in kept.items() if name not in BESIDE_PLAN}

    def corrupt(what: str) -> Corrupt:
        return Corrupt(f"{folder}/study.toml: [plan] {what}", hint="restore study.toml from a copy")

    try:
        plan = Plan(**given)
    except TypeError:
        raise corrupt(f"is not a plan of this version; use `metaloop {study.config.command}`, which made it") from None
    for name, value in given.items():
        # a whole number may stand for seconds; nothing is a number that is true or false
        if type(value) not in ((int, float) if name == "run_budget" else (int,)) or value < 0:
            raise corrupt(f"{name} = {value!r} is not a valid number")
    if kept.get(TEST, plan.test) != plan.test:  # older studies do not name it
        raise corrupt(f"{TEST} is not the one that this version makes")
    began = [Program.parse(text, name) for name, text in study.config.programs]
    known, turns = {program.program_id for program in began}, kept.get(TURNS, [])
    for name, ids in (("origin", [kept.get("origin")]), (TURNS, turns)):
        if unknown := {*ids} - {*known, None}:
            raise corrupt(f"{name}: {', '.join(map(repr, unknown))} is not one of its programs")
    if plan.night and len(turns) < 2:
        raise corrupt(f"{TURNS} is missing")
    return study, plan, began


def champion_of(folder: Path) -> dict[str, JsonValue] | None:
    """The champion event of a finished study; None before it."""
    return next((event for event in read(folder / "ledger") if event["kind"] == "champion"), None)

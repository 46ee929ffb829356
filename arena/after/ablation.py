"""Planned factorial ablation of a program's directives: the design, its programs, and the match that plays them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import cast

from pydantic import JsonValue

from analysis.effects import designs
from analysis.effects.designs import FactorialDesign
from analysis.ledger.events import AblationEvent
from arena.arms import Entry, Match, enter
from arena.match import play
from arena.race import Allocation
from arena.study.setup import RunCost
from arena.study.study import Study
from arena.study.task_study import TaskStudy
from arena.work.executor import Executor, Progress
from arena.work.executors import at_work
from inner_loop.behaviour import inert_directives
from inner_loop.contracts import TurnOrder
from programs.common.errors import NotFound, ProgramError, UsageError
from programs.common.ids import content_id
from programs.directives import CHARTER, ORDER, Directive
from programs.edit import without
from programs.program import Program
from trainer.task import Task

ROLE = "ablation"
BLOCKS = 4  # where no budget is named: two blocks and their mirrors


@dataclass(frozen=True)
class Switches:
    """The directives of a program that can be switched, and those left out, each with the reason."""

    factors: tuple[Directive, ...]
    left_out: tuple[tuple[Directive, str], ...]


def switches(
    program: Program, task: Task, researcher: str, only: Sequence[str] = (), is_prose: bool = False
) -> Switches:
    """The directives that an ablation of ``program`` switches on this task; ``only``: ids or prefixes to restrict it.

    It leaves out directives that a scripted researcher does not follow on this task, settings where only prose is to be
    switched (``is_prose``), the order of the ideas (it is switched with the list), and what cannot be removed from the
    text. Raises NotFound for an unknown id.
    """
    for prefix in only:
        if not any(d.directive_id.startswith(prefix) for d in program.directives):
            raise NotFound(f"no directive {prefix} in {program.name}", hint="metaloop show PROGRAM --json lists them")
    inert = {d.directive_id for d in inert_directives(program, task)} if researcher == "scripted" else set()
    factors: list[Directive] = []
    left_out: list[tuple[Directive, str]] = []
    for directive in program.directives:
        why = _why_not(program, directive, directive.directive_id in inert, only)
        why = "a setting" if is_prose and directive.kind == CHARTER else why
        if why:
            left_out.append((directive, why))
        else:
            factors.append(directive)
    return Switches(tuple(factors), tuple(left_out))


def _why_not(program: Program, directive: Directive, inert: bool, only: Sequence[str]) -> str:
    if inert:
        return "changes nothing here"
    if directive.kind == ORDER:
        return "switched together with its list"
    if only and not any(directive.directive_id.startswith(prefix) for prefix in only):
        return "not selected"
    try:
        without(program, directive.directive_id)
    except ProgramError as error:
        return error.message.partition(" ")[2]
    return ""


def variant(program: Program, gone: Sequence[str]) -> Program:
    """The program without these directives, removed from last to first so that the ids of the others stay."""
    left = program
    for directive in sorted(program.directives, key=lambda d: -d.position):
        if directive.directive_id in gone:
            try:
                left = without(left, directive.directive_id)
            except NotFound:  # it fell with the one it was nested in
                continue
    few = ", ".join(identity[:5] for identity in gone)
    named = few if len(gone) <= 3 else f"{len(gone)} directives ({left.program_id[:5]})"
    return left.with_text(left.text, f"{program.name} without {named}" if gone else program.name)


def require_factors(factors: Sequence[Directive], task: Task) -> None:
    """Raise UsageError where there is nothing to switch, or too much."""
    if not 1 <= len(factors) <= designs.MOST:
        raise UsageError(
            f"{len(factors)} directives can be switched on {task.name}; a design needs 1 to {designs.MOST}",
            hint="metaloop ablate … --dry-run lists what was left out, and why",
        )


def design_of_turns(factors: Sequence[Directive], lineages: int, blocks: int, seed: int) -> FactorialDesign:
    """The design of so many nights with ``blocks`` blocks each, in which the variants take turns on one script."""
    names = [d.directive_id for d in factors]
    design = designs.plan(names, designs.order_of(len(names)) * lineages * blocks, seed)
    return replace(design, of_turns=True)


def design_of(factors: Sequence[Directive], cost: RunCost, budget: float | None, seed: int) -> FactorialDesign:
    """The design over ``factors`` that fits a device budget in seconds; None: ``BLOCKS`` blocks.

    Raises UsageError as `require_factors`, or where the budget is too little for two blocks.
    """
    names = [d.directive_id for d in factors]
    require_factors(factors, cost.task)
    order = designs.order_of(len(names))
    runs = BLOCKS * order if budget is None else cost.runs_within(budget)
    if runs < 2 * order:
        raise UsageError(
            f"the budget pays for {runs} runs; {len(names)} directives need at least {2 * order}",
            hint=f"--budget {math.ceil(cost.seconds(2 * order))}s, or fewer directives with --only",
        )
    return designs.plan(names, runs, seed)


def design_seed(study: Study, program: Program, factors: Sequence[Directive]) -> int:
    """From the study's secret, so that the same program and factors give the same rows after a resume."""
    return study.streams.seed("search", "ablation", program.program_id, *(d.directive_id for d in factors))


def play_design(
    study: Study, executor: Executor, program: Program, design: FactorialDesign, progress: Progress, lineages: int = 0
) -> Match:
    """Record the plan, then play it as a match at equal budget with one run seed per run of an arm; with ``lineages``
    as so many nights, in which the variants take turns.

    Match and rows follow from the program and its factors, so the same command resumes, and a larger budget goes on.
    """
    study.admit(program, generation=0, operator="entry")
    rows = [row for block in design.turn_blocks for row in block] if lineages else [row for row, _ in design.arms]
    entries = variants = [Entry(program_of(program, design, row), ROLE) for row in rows]
    for entry in entries:
        study.admit(entry.program, generation=0, operator=ROLE, parent_ids=[program.program_id])
    if lineages:
        first, *beside = [entry.program for entry in entries]
        groups = len(design.turn_blocks)
        order = TurnOrder(design.blocks // (2 * lineages) * groups, groups)
        entries = [Entry(first, ROLE, tuple(beside), order)]
    label = "ablation-" + content_id("", program.program_id, *design.factors)
    match = enter(TaskStudy(study), label, entries, purpose="ablation", stream="selection")
    seats = [entry.program.program_id for entry in variants] if lineages else []
    write_down(study, program, design, match, seats)
    counts = [lineages] if lineages else [count for _, count in design.arms]
    runs = {arm.arm_id: count for arm, count in zip(match.arms, counts, strict=True)}
    play(TaskStudy(study), executor, match, Allocation(runs), progress)
    return match


def program_of(program: Program, design: FactorialDesign, row: Sequence[bool]) -> Program:
    return variant(program, [d for d, held in zip(design.factors, row, strict=True) if not held])


def write_down(
    study: Study, program: Program, design: FactorialDesign, match: Match, seats: Sequence[str] = ()
) -> None:
    """Record the plan before its first run; a resumed or a smaller plan is not recorded again. ``seats``: ids of the
    programs that take turns, in their order."""
    ablation_id = content_id("x", match.match_id)
    known = study.state.ablations.get(ablation_id)
    if known is not None and cast(int, known.plan["blocks"]) >= design.blocks:
        return
    rows: list[JsonValue] = [list(row) for row in design.plain]
    plan: dict[str, JsonValue] = {
        "blocks": design.blocks, "order": design.order, "runs": design.runs, "rows": rows,
        **({"seats": [*seats]} if seats else {}),
    }  # fmt: skip
    study.record(
        AblationEvent(
            ablation_id=ablation_id,
            method="factorial",
            match_id=match.match_id,
            program_id=program.program_id,
            task=study.task.name,
            stream=match.stream,
            factors=tuple(design.factors),
            planned_at=datetime.now(UTC).isoformat(),
            plan=plan,
        )
    )


def ablate(study: Study, program: Program, design: FactorialDesign, progress: Progress, lineages: int = 0) -> Match:
    """The whole ablation with an executor of its own; Ctrl-C drains it."""
    with at_work(study, progress) as executor:
        return play_design(study, executor, program, design, progress, lineages)

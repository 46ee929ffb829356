"""Planned factorial ablation of a program's directives: the design, its programs, and the match that plays them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from pydantic import JsonValue

from analysis import designs
from analysis.designs import FactorialDesign
from analysis.events import AblationEvent
from arena.drain import drain_on_interrupt
from arena.executor import Executor, Progress
from arena.inprocess import executor_of
from arena.match import Entry, Match, enter, play
from arena.race import Allocation
from arena.study import Study
from inner_loop.behaviour import inert_directives
from programs.directives import ORDER, Directive
from programs.edit import remove_directive
from programs.errors import NotFound, ProgramError, UsageError
from programs.ids import content_id
from programs.program import Program
from trainer.task import Task

ROLE = "ablation"
BLOCKS = 4  # where no budget is named: two blocks and their mirrors


@dataclass(frozen=True)
class Switches:
    """The directives of a program that can be switched, and those left out, each with the reason."""

    factors: tuple[Directive, ...]
    left_out: tuple[tuple[Directive, str], ...]


def switches(program: Program, task: Task, researcher: str, only: Sequence[str] = ()) -> Switches:
    """What an ablation of ``program`` switches on this task; ``only``: ids or prefixes that narrow it.

    Left out are directives that a scripted researcher does not follow here (no device time is spent on them), the order
    of the ideas (it goes with its list), and what cannot be taken out of the text. Raises NotFound for an unknown id.
    """
    for prefix in only:
        if not any(d.directive_id.startswith(prefix) for d in program.directives):
            raise NotFound(f"no directive {prefix} in {program.name}", hint="metaloop program show lists them")
    inert = {d.directive_id for d in inert_directives(program, task)} if researcher == "scripted" else set()
    factors: list[Directive] = []
    left_out: list[tuple[Directive, str]] = []
    for directive in program.directives:
        why = _why_not(program, directive, directive.directive_id in inert, only)
        if why:
            left_out.append((directive, why))
        else:
            factors.append(directive)
    return Switches(tuple(factors), tuple(left_out))


def _why_not(program: Program, directive: Directive, inert: bool, only: Sequence[str]) -> str:
    if inert:
        return "changes nothing here"
    if directive.kind == ORDER:
        return "goes with its list"
    if only and not any(directive.directive_id.startswith(prefix) for prefix in only):
        return "not asked for"
    try:
        Program.parse(remove_directive(program.text, directive.directive_id), program.name)
    except ProgramError as error:
        return error.message.partition(" ")[2]
    return ""


def variant(program: Program, gone: Sequence[str]) -> Program:
    """The program without these directives, taken out from the last to the first, so that no id changes on the way."""
    text = program.text
    named = ", ".join(identity[:5] for identity in gone) if len(gone) <= 3 else f"{len(gone)} directives"
    for directive in sorted(program.directives, key=lambda d: -d.position):
        if directive.directive_id in gone:
            try:
                text = remove_directive(text, directive.directive_id)
            except NotFound:  # it fell with the one it was nested in
                continue
    return Program.parse(text, f"{program.name} without {named}" if gone else program.name)


@dataclass(frozen=True)
class Price:
    """What runs and their verification take on a task, in device-seconds."""

    task: Task
    run_budget: float
    verify_seeds: int = 2
    baseline_seeds: int = 8

    @classmethod
    def of(cls, study: Study) -> Price:
        return cls(study.task, study.config.run_budget, study.config.verify_seeds, study.config.baseline_seeds)

    def seconds(self, runs: int) -> float:
        return runs * self.run_budget + (runs * self.verify_seeds + self.baseline_seeds) * self.task.cost_seconds

    def runs_within(self, budget: float) -> int:
        each = self.run_budget + self.verify_seeds * self.task.cost_seconds
        return max(0, int((budget - self.baseline_seeds * self.task.cost_seconds) / each + 1e-9))


def design_of(factors: Sequence[Directive], price: Price, budget: float | None, seed: int) -> FactorialDesign:
    """The design over ``factors`` that a device budget in seconds pays for; None: ``BLOCKS`` blocks.

    Raises UsageError where there is nothing to switch, or too little for two blocks.
    """
    names = [d.directive_id for d in factors]
    if not 1 <= len(names) <= designs.MOST:
        raise UsageError(
            f"{len(names)} directives can be switched on {price.task.name}, a design takes 1 to {designs.MOST}",
            hint="metaloop ablate … --dry-run tells what was left out, and why",
        )
    order = designs.order_of(len(names))
    runs = BLOCKS * order if budget is None else price.runs_within(budget)
    if runs < 2 * order:
        raise UsageError(
            f"the budget holds {runs} runs; {len(names)} directives take {2 * order} at least",
            hint=f"--budget {math.ceil(price.seconds(2 * order))}s, or fewer directives with --only",
        )
    return designs.plan(names, runs, seed)


def design_seed(study: Study, program: Program, factors: Sequence[Directive]) -> int:
    """From the study's secret: the same program and factors are switched by the same rows whenever one goes on."""
    return study.streams.seed("search", "ablation", program.program_id, *(d.directive_id for d in factors))


def play_design(
    study: Study, executor: Executor, program: Program, design: FactorialDesign, progress: Progress
) -> Match:
    """Write the plan down, then play it as a match at equal budget with one run seed per run of an arm.

    Match and rows follow from the program and its factors, so the same command resumes, and a larger budget goes on.
    """
    study.admit(program, generation=0, operator="entry")
    entries = [Entry(program_of(program, design, row), ROLE) for row, _ in design.arms]
    for entry in entries:
        study.admit(entry.program, generation=0, operator=ROLE, parent_ids=[program.program_id])
    label = "ablation-" + content_id("", program.program_id, *design.factors)
    match = enter(study, label, entries, purpose="ablation", stream="selection")
    write_down(study, program, design, match)
    runs = {arm.arm_id: count for arm, (_, count) in zip(match.arms, design.arms, strict=True)}
    play(study, executor, match, Allocation(runs), progress)
    return match


def program_of(program: Program, design: FactorialDesign, row: Sequence[bool]) -> Program:
    return variant(program, [d for d, held in zip(design.factors, row, strict=True) if not held])


def write_down(study: Study, program: Program, design: FactorialDesign, match: Match) -> None:
    """The plan, before anything of it is made; a resumed or a smaller one is not written again."""
    ablation_id = content_id("x", match.match_id)
    known = study.state.ablations.get(ablation_id)
    if known is not None and cast(int, known.plan["blocks"]) >= design.blocks:
        return
    rows: list[JsonValue] = [list(row) for row in design.plain]
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
            plan={"blocks": design.blocks, "order": design.order, "runs": design.runs, "rows": rows},
        )
    )


def ablate(study: Study, program: Program, design: FactorialDesign, progress: Progress) -> Match:
    """The whole ablation with an executor of its own; Ctrl-C drains it."""
    with (
        study,
        drain_on_interrupt(study, progress),
        executor_of(study, progress) as executor,
    ):
        return play_design(study, executor, program, design, progress)

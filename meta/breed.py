"""Breeding: draw an operator and parents, write a child, and admit it if it is valid and behaves differently."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np

from analysis.evidence.task_evidence import Evidence
from analysis.ledger.writing_events import MutationEvent, PromptMessage
from arena.study.study import Study
from meta.archive import Archive
from meta.mutators.base import ChildProposal
from meta.mutators.mix import Mix
from meta.mutators.offline.write_ideas import WriteIdeas
from meta.novelty import Novelty
from programs.common.bounded import fault_of
from programs.common.errors import ProgramError
from programs.edit import SETTINGS_HEADING, replace_ideas, state_settings, with_missing_patches
from programs.file_set import is_document
from programs.ideas import ProgramIdea
from programs.lint import lint
from programs.program import Program
from trainer.edits import EditSpace
from trainer.task import Task
from trainer.values.conditional import read as read_idea

TRIES = 12
VERSION = re.compile(r"-v\d+$")
Refusal = Callable[[Program, Program], str]  # child, parent → why the child is not worth a race; empty: it is


@dataclass(frozen=True)
class Attempt:
    """A proposal and its result. An empty ``refusal`` admits the child; a ``faulty`` proposal may be repaired."""

    proposal: ChildProposal
    program: Program | None
    refusal: str
    faulty: bool = False


def breed(
    study: Study,
    archive: Archive,
    evidence: Evidence,
    novelty: Novelty,
    mix: Mix,
    *,
    generation: int,
    count: int,
    first_among: Sequence[str] | None = None,
    gate: Callable[[Program], str] | None = None,
    worth: Refusal | None = None,
) -> list[Attempt]:
    """Try until ``count`` children are admitted, or the operators propose nothing new.

    The first child of a generation is written from the evidence; the others come from the mix.
    A model may repair a faulty reply once, also one whose child behaves like an earlier program. A job that it passes
    costs a proposal and no child.
    """

    def tried(proposal: ChildProposal, parent: Program, name: str) -> Attempt:
        # what a model proposes may be something of which the study knows nothing
        asked = None if proposal.calls else worth
        try:
            attempts.append(judge(proposal, parent, name, novelty, gate, asked))
        except Exception as error:
            attempts.append(Attempt(proposal, None, fault_of(error), faulty=True))
        mix.report(proposal, attempts[-1].refusal)
        return attempts[-1]

    rng = np.random.default_rng(study.streams.seed("search", "breed", generation))
    known = [p.name for p in study.state.programs.values() if (p.generation or 0) < generation]
    attempts: list[Attempt] = []
    for number in range(count * TRIES):
        admitted = [a.program.name for a in attempts if a.program is not None and not a.refusal]
        if len(admitted) == count:
            break
        mutator = mix.draw(rng) if number else WriteIdeas()
        parents = archive.parents(rng, mutator.parents, first_among)
        proposal = mutator.propose(parents, evidence, rng) if len(parents) == mutator.parents else None
        if proposal is None:
            continue
        proposal = _with_patches(proposal, study, [parent.program for parent in parents])
        if mutator.name == WriteIdeas.name:
            proposal = _for_its_study(proposal, study, novelty.tasks if novelty.researcher == "scripted" else ())
        name = next_version(parents[0].program.name, [*known, *admitted])
        attempt = tried(proposal, parents[0].program, name)
        if attempt.faulty and proposal.repair and (repaired := proposal.repair(attempt.refusal)):
            attempt = tried(repaired, parents[0].program, name)
        if not attempt.refusal:
            archive.children.update(proposal.parent_ids)
    return attempts


def _with_patches(proposal: ChildProposal, study: Study, parents: Sequence[Program]) -> ChildProposal:
    """The proposal with the code of the patches that its ideas name, from its parents or else another program."""
    if "patch" not in proposal.text or is_document(proposal.text):
        return proposal
    programs = [*parents, *map(study.program, study.state.programs)]
    try:
        return replace(proposal, text=with_missing_patches(proposal.text, [p for one in programs for p in one.patches]))
    except ProgramError:  # `judge` says so
        return proposal


def _for_its_study(proposal: ChildProposal, study: Study, tasks: Sequence[Task]) -> ChildProposal:
    """The list without ideas that were vetoed, and those whose edits none of the tasks, if any, has; a script would
    skip them."""
    vetoes = study.state.vetoes

    def holds(idea: ProgramIdea) -> bool:
        has_edits = bool(tasks) and any(map(EditSpace.names_edit, idea.terms))
        return idea.directive_id not in vetoes and (not has_edits or any(has_edit(idea, task) for task in tasks))

    ideas = Program.parse(proposal.text).ideas
    fitting = [idea.text for idea in ideas if holds(idea)]
    return replace(proposal, text=replace_ideas(proposal.text, fitting)) if 0 < len(fitting) < len(ideas) else proposal


def has_edit(idea: ProgramIdea, task: Task) -> bool:
    """Whether a script can make the edit of an idea on this task."""
    return read_idea(task.edits, idea.terms, idea.conditions) is not None


def next_version(name: str, taken: Sequence[str]) -> str:
    """The name of a program written from the one of that name: ``idea-queue`` gives ``idea-queue-v2``, then ``-v3``."""
    base = VERSION.sub("", name)
    return next(new for k in count(2) if (new := f"{base}-v{k}") not in taken)


def judge(
    proposal: ChildProposal,
    parent: Program,
    name: str,
    novelty: Novelty,
    gate: Callable[[Program], str] | None = None,
    worth: Refusal | None = None,
) -> Attempt:
    """Admit a child that parses, lints without errors, passes the gate, behaves like no other program of the study and
    is ``worth`` a race beside its ``parent``. Only the behaviour of an admitted child is recorded, because a later one
    may behave like a refused one. A proposal of one file keeps the other files of its parent."""
    if proposal.refusal:
        return Attempt(proposal, None, proposal.refusal, faulty=True)
    try:
        program = parent.with_text(proposal.text, name)
        if f"## {SETTINGS_HEADING}" in program.text:  # an export wrote its parent's settings there
            program = program.with_text(state_settings(program.text), name)
    except ProgramError as error:
        return Attempt(proposal, None, f"does not parse: {error.message}", faulty=True)
    if problem := lint_error(program):
        return Attempt(proposal, program, problem, faulty=True)
    if gate and (refusal := gate(program)):
        return Attempt(proposal, program, refusal)
    behaviour = novelty.behaviour(program)
    if twin := novelty.seen.get(behaviour):
        return Attempt(proposal, program, f"behaves like {twin}", faulty=True)
    if worth and (refusal := worth(program, parent)):
        return Attempt(proposal, program, refusal)
    novelty.seen[behaviour] = program.program_id
    return Attempt(proposal, program, "")


def lint_error(program: Program) -> str:
    """The first error that lint finds, with its line; empty if there is none."""
    errors = (f"lint: line {message.line}: {message.message}" for message in lint(program) if message.level == "error")
    return next(errors, "")


def write_down(study: Study, attempts: Sequence[Attempt], generation: int) -> list[Program]:
    """Record the children and every attempt, refused ones with the reason; returns the children."""
    for number, attempt in enumerate(attempts):
        p, program = attempt.proposal, attempt.program
        if program is not None and not attempt.refusal:
            study.admit(program, generation=generation, operator=p.operator, parent_ids=p.parent_ids)
        event = MutationEvent(
            generation=generation,
            attempt=number,
            child_id=program.program_id if program else None,
            parent_ids=p.parent_ids,
            operator=p.operator,
            accepted=not attempt.refusal,
            reason=attempt.refusal or p.reason,
            evidence_ids=p.evidence_ids,
            remark=p.remark or None,
        )
        if p.calls:
            prompt = tuple(PromptMessage(role, text) for role, text in p.calls.prompt)
            event = replace(event, **vars(p.calls) | {"prompt": prompt})
        study.record(event)
    return [a.program for a in attempts if a.program is not None and not a.refusal]

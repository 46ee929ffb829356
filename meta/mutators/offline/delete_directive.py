"""Deletes one statement, idea or charter field. Length is a cost, and added prose has rarely helped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from meta.mutators.base import ChildProposal, ParentProgram, parent_ids
from meta.mutators.charter_moves import group_of
from meta.mutators.edit_gains import GainTable
from programs.directives import Directive
from programs.edit import unset_charter, without
from programs.errors import ProgramError
from programs.program import Program

if TYPE_CHECKING:
    import numpy as np

    from analysis.evidence import Evidence


class DeleteDirective:
    """Ideas with a negative gain are the likeliest, then charter fields, then anything else."""

    name = "delete-directive"
    share = 0.10
    parents = 1

    def propose(
        self, parents: Sequence[ParentProgram], evidence: Evidence, rng: np.random.Generator
    ) -> ChildProposal | None:
        program, table = parents[0].program, GainTable(evidence)
        choices = [d for d in program.directives if d.kind != "order"]
        if len(choices) < 2:
            return None
        weights = [_weight(program, d, table) for d in choices]
        gone = choices[int(rng.choice(len(choices), p=[w / sum(weights) for w in weights]))]
        try:
            text = without_statement(program, gone)
        except ProgramError:  # nothing would be left, or its neighbours would change
            return None
        ids = table.credit_ids(gone.directive_id, _terms(program, gone)) if gone.kind == "idea" else []
        reason = f"deleted: {' '.join(gone.text.split())[:100]}"
        return ChildProposal(text, self.name, reason, tuple(ids), parent_ids(parents))


def without_statement(program: Program, gone: Directive) -> str:
    """The document without a statement; a field of the charter goes with those that mean nothing without it.

    Raises ProgramError where nothing would be left, or its neighbours would change.
    """
    if gone.kind != "charter":
        return without(program, gone.directive_id).document
    text = program.text
    for field in group_of(gone.text.partition(":")[0]):
        text = unset_charter(text, field)
    return text


def _weight(program: Program, directive: Directive, table: GainTable) -> float:
    if directive.kind == "charter":
        return 3.0
    if directive.kind != "idea":
        return 1.0
    gain = table.idea(directive.directive_id, _terms(program, directive))
    return 1.0 if gain is None else 4.0 if gain < 0 else 0.25


def _terms(program: Program, directive: Directive) -> tuple[str, ...]:
    return next((i.terms for i in program.ideas if i.directive_id == directive.directive_id), ())


make = DeleteDirective

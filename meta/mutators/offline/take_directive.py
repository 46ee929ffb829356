"""Takes one directive from another program: the second parent, or a starter program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meta.mutators.base import ChildProposal, ParentProgram, parent_ids
from meta.mutators.charter_moves import carry_out, describe, group_of
from meta.mutators.edit_gains import GainTable
from programs import shelf
from programs.directives import Directive
from programs.edit import add_directive, reorder_ideas
from programs.errors import ProgramError
from programs.program import Program

if TYPE_CHECKING:
    import numpy as np

    from analysis.evidence import Evidence

WEIGHTS = {"charter": 4.0, "idea": 2.0, "item": 1.0, "paragraph": 1.0}


@dataclass(frozen=True)
class TakeDirective:
    """``shelf_share``: how often the donor is a starter instead of the second parent."""

    name: str = "take-directive"
    share: float = 0.15
    parents: int = 2
    shelf_share: float = 0.5

    def propose(
        self, parents: Sequence[ParentProgram], evidence: Evidence, rng: np.random.Generator
    ) -> ChildProposal | None:
        program = parents[0].program
        from_shelf = rng.random() < self.shelf_share or len(parents) < 2
        names = shelf.names()
        donor = shelf.starter(names[int(rng.integers(len(names)))]) if from_shelf else parents[1].program
        offered = _offered(program, donor)
        if not offered:
            return None
        taken = _drawn(offered, rng)
        try:
            text, what = _take(program, donor, taken, GainTable(evidence), rng)
        except ProgramError:  # markdown would parse it differently at its new position
            return None
        source = f"the starter {donor.name}" if from_shelf else donor.name
        return ChildProposal(
            text, self.name, f"{what}, taken from {source}", (), parent_ids(parents[:1] if from_shelf else parents)
        )


def _drawn(offered: Sequence[Directive], rng: np.random.Generator) -> Directive:
    """First the kind, by weight, then one of that kind, so a long list of ideas does not dominate the charter."""
    kinds = sorted({d.kind for d in offered})
    weights = [WEIGHTS[kind] for kind in kinds]
    kind = kinds[int(rng.choice(len(kinds), p=[w / sum(weights) for w in weights]))]
    of_kind = [d for d in offered if d.kind == kind]
    return of_kind[int(rng.integers(len(of_kind)))]


def _offered(program: Program, donor: Program) -> list[Directive]:
    """Directives of its entry file that only the donor has; single lines only, because an item is one line."""
    own = {d.directive_id for d in program.directives}
    return [
        d
        for d in donor.directives
        if d.directive_id not in own
        and not d.file
        and d.kind in WEIGHTS
        and "\n" not in d.text
        and not (d.kind == "charter" and _equal(program, donor, d))
    ]


def _equal(program: Program, donor: Program, directive: Directive) -> bool:
    return all(program.charter.get(f) == donor.charter.get(f) for f in _fields(directive))


def _fields(directive: Directive) -> tuple[str, ...]:
    return group_of(directive.text.partition(":")[0])


def _take(
    program: Program, donor: Program, taken: Directive, table: GainTable, rng: np.random.Generator
) -> tuple[str, str]:
    if taken.kind == "charter":
        move = {field: donor.charter.get(field) for field in _fields(taken)}
        return carry_out(program.text, move), describe(program.charter, move)
    what = f"“{taken.text[:80]}”"
    if taken.kind == "idea":
        return _with_idea(program, taken, table, rng), what
    return add_directive(program.text, taken.heading, taken.text), what


def _with_idea(program: Program, taken: Directive, table: GainTable, rng: np.random.Generator) -> str:
    """The idea goes to the position of its gain; without evidence, anywhere."""
    heading = next((d.heading for d in program.directives if d.kind == "idea"), "Ideas")
    text = add_directive(program.text, heading, taken.text)
    ideas = Program.parse(text).ideas
    new = next(i for i, idea in enumerate(ideas) if idea.directive_id not in {o.directive_id for o in program.ideas})
    gains = [table.idea(idea.directive_id, idea.terms) for idea in ideas]
    others = [i for i in range(len(ideas)) if i != new]
    at = int(rng.integers(len(ideas)))
    if (gain := gains[new]) is not None:
        at = next((k for k, i in enumerate(others) if (gains[i] or 0.0) < gain), len(others))
    return reorder_ideas(text, [*others[:at], new, *others[at:]])


make = TakeDirective

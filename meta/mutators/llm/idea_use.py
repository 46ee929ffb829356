"""What runs did with ideas, as writers see it: those of a parent, and those of other programs that it lacks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from analysis.report.evidence import Evidence
from programs.ideas import ProgramIdea
from programs.program import Program

MOST_OTHER = 3  # ideas of other programs


@dataclass(frozen=True)
class IdeaMarks:
    """What a program's runs did with its ideas, in a few words by directive id. ``runs``: 0 if it has not run;
    ``experiments`` of one, the median."""

    runs: int
    experiments: float
    by_id: Mapping[str, str]

    @classmethod
    def of(cls, program: Program, facts: Evidence, figures: bool) -> IdeaMarks:
        if not figures:
            return cls(0, 0.0, {})
        parts = facts.parts or (facts,)
        own = [[use for use in part.uses if use.program_id == program.program_id] for part in parts]
        runs = sum(uses[0].runs for uses in own if uses)
        tried, kept = facts.tried_and_kept(program.program_id)
        gains = {use.directive_id: use.gain for use in own[0]} if len(parts) == 1 else {}
        said = {}
        for idea in program.ideas if runs else ():
            name = idea.directive_id
            gain = gains.get(name)
            figure = "" if gain is None else f", {gain:+.2g}"
            said[name] = f"{kept[name]}/{tried[name]}{figure}" if tried[name] else "not tried"
        return cls(runs, next((uses[0].experiments for uses in own if uses), 0.0), said)


@dataclass(frozen=True)
class OtherIdea:
    """An idea that the runs of another program mostly kept."""

    program: str  # its name
    text: str
    said: str


def kept_by_others(parents: Sequence[Program], facts: Evidence, programs: Mapping[str, Program]) -> list[OtherIdea]:
    """Ideas that no parent has and at least half of the runs that tried them kept, the largest median gain first."""
    held: set[Collection[object]] = {_asks(idea) for parent in parents for idea in parent.ideas}
    candidates = []
    for part in facts.parts or (facts,):
        for use in part.uses:
            own = programs.get(use.program_id)
            idea = next((i for i in own.ideas if i.directive_id == use.directive_id), None) if own else None
            if own is None or idea is None or 2 * use.kept < max(use.tried, 1) or (use.gain or 0.0) <= 0:
                continue
            scale = part.scale.size if part.scale else 1.0
            said = f"kept in {use.kept} of {use.tried}, {use.gain:+.2g}{f' on {part.task}' if facts.parts else ''}"
            candidates.append((-(use.gain or 0.0) / scale, _asks(idea), OtherIdea(own.name, idea.text, said)))
    chosen: list[OtherIdea] = []
    for _, asks, one in sorted(candidates, key=lambda row: (row[0], row[2].program, row[2].text)):
        if asks not in held:
            held.add(asks)
            chosen.append(one)
    return chosen[:MOST_OTHER]


def _asks(idea: ProgramIdea) -> Collection[object]:
    return frozenset((*idea.terms, *map(str, idea.conditions)))

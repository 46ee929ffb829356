"""What runs did with ideas, as writers see it: those of a parent, and those of other programs that it lacks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from analysis.evidence.task_evidence import Evidence
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
    def of(cls, program: Program, evidence: Evidence, figures: bool) -> IdeaMarks:
        parts = evidence.parts or (evidence,)
        uses = [[use for use in part.uses if use.program_id == program.program_id] for part in parts]
        by_task = [rows for rows in uses if rows]
        if not figures or not by_task:
            return cls(0, 0.0, {})
        tried, kept = evidence.tried_and_kept(program.program_id)
        gains = {use.directive_id: use.gain for use in uses[0]} if len(parts) == 1 else {}
        marks = {}
        for directive_id in (idea.directive_id for idea in program.ideas):
            gain = gains.get(directive_id)
            figure = "" if gain is None else f", {gain:+.2g}"
            count = tried[directive_id]
            marks[directive_id] = f"{kept[directive_id]}/{count}{figure}" if count else "not tried"
        return cls(sum(rows[0].runs for rows in by_task), by_task[0][0].experiments, marks)


@dataclass(frozen=True)
class OtherIdea:
    """An idea that the runs of another program mostly kept."""

    program: str  # its name
    text: str
    outcome: str  # in how many runs it was kept, and its gain


def kept_by_others(parents: Sequence[Program], evidence: Evidence, programs: Mapping[str, Program]) -> list[OtherIdea]:
    """Ideas that no parent has and at least half of the runs that tried them kept, the largest median gain first."""
    known: set[Collection[object]] = {_edits_of(idea) for parent in parents for idea in parent.ideas}
    candidates = []
    for part in evidence.parts or (evidence,):
        for use in part.uses:
            program = programs.get(use.program_id)
            ideas = program.ideas if program else ()
            idea = next((idea for idea in ideas if idea.directive_id == use.directive_id), None)
            if program is None or idea is None or 2 * use.kept < max(use.tried, 1) or (use.gain or 0.0) <= 0:
                continue
            scale = part.scale.size if part.scale else 1.0
            task = f" on {part.task}" if evidence.parts else ""
            outcome = f"kept in {use.kept} of {use.tried}, {use.gain:+.2g}{task}"
            other = OtherIdea(program.name, idea.text, outcome)
            candidates.append((-(use.gain or 0.0) / scale, _edits_of(idea), other))
    chosen: list[OtherIdea] = []
    for _, edits, other in sorted(candidates, key=lambda row: (row[0], row[2].program, row[2].text)):
        if edits not in known:
            known.add(edits)
            chosen.append(other)
    return chosen[:MOST_OTHER]


def _edits_of(idea: ProgramIdea) -> Collection[object]:
    return frozenset((*idea.terms, *map(str, idea.conditions)))

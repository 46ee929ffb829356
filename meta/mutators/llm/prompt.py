"""What a model is asked when it writes a program: the facts of a study, the parents, the job, the form of a reply."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic.fields import FieldInfo

from analysis.effects.rows import CreditRow, edit_key
from analysis.evidence.page_text import RowIds, label, page
from analysis.evidence.task_evidence import Evidence
from analysis.study import read_study
from analysis.views.tables import rows, statement, typed_rows
from arena.study.study import Study
from arena.study.task_study import tasks_of
from inner_loop.models.contract import Message
from meta.mutators.base import ParentProgram
from meta.mutators.llm.idea_use import IdeaMarks, kept_by_others
from meta.mutators.llm.templates import render
from meta.mutators.llm.traces import MOST_BYTES as MOST_TRACES
from meta.mutators.llm.traces import Trace, select_traces
from programs.charter import FIELDS
from programs.common.text import clipped, split_lines
from programs.edit import sections
from programs.program import Program
from trainer.constraints import sentences
from trainer.edits import Knob, format_value
from trainer.task import Task
from trainer.values.roles import meaning

UNREAD = ("version", "history", "standups")  # fields of the charter that change nothing for a scripted researcher
PROGRAM_ID = re.compile(r"\bp[0-9a-f]{12}\b")
MOST_BYTES = 40_000  # of the evidence page; earlier proposals have a quarter of that
TRIED, SIBLINGS = 7, 12  # proposals that are shown; equal ones count once
SHORT = 2_000  # bytes of a parent in the shortest prompt
# From the first to the last until a prompt fits: the share of the rows, of earlier proposals and of siblings.
SHARES = (1.0, 0.5, 0.25, 0.0)
_EXPECTED = re.compile(r" \(estimated to help on \d+ of \d+ measured tasks?: [\w, -]*\)")  # as `meta.learnt` writes it


@dataclass(frozen=True)
class Control:
    """Two arms of one program: mean gains, the smaller number of runs, and the standard error of the difference."""

    first: float
    second: float
    runs: int
    se: float | None

    @property
    def spread(self) -> float:
        return abs(self.first - self.second)


@dataclass(frozen=True)
class Tried:
    """A proposal. ``parents``, ``child``: their names. ``credit``: of a child that ran, with its short id. ``times``:
    how often it was proposed."""

    operator: str
    parents: str
    reason: str
    accepted: bool
    credit: CreditRow | None = None
    child: str = ""
    credit_id: str = ""
    times: int = 1


@dataclass(frozen=True)
class Job:
    """What is asked of a writer: ``name`` says what for, ``rejected`` is a reply of the same job that had a
    ``problem``."""

    name: str
    rejected: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Briefing:
    """The facts for the proposals of one generation. ``siblings``: those so far; ``names`` of programs by id, and
    ``programs`` themselves; ``turns``: of
    a night, what each program contributed; ``steps``: an experiment has a fixed number of steps, not a time."""

    tasks: Sequence[Task]
    researcher: str
    evidence: Evidence
    control: Control | None = None
    tried: Sequence[Tried] = ()
    turns: Sequence[Mapping[str, Any]] = ()
    steps: bool = False
    names: Mapping[str, str] = field(default_factory=dict)
    programs: Mapping[str, Program] = field(default_factory=dict)
    traces: Sequence[Trace] = ()
    siblings: list[Tried] = field(default_factory=list)
    _systems: dict[tuple[str, float], tuple[str, RowIds]] = field(default_factory=dict, compare=False)

    @property
    def scripted(self) -> bool:
        return self.researcher == "scripted"

    def note(self, operator: str, parent_ids: Sequence[str], reason: str, accepted: bool) -> None:
        """A proposal that later prompts of the generation show."""
        parents = ", ".join(self.names.get(p, p) for p in parent_ids)
        self.siblings.append(Tried(operator, parents, reason, accepted))

    def messages(
        self, parents: Sequence[ParentProgram], job: Job, instruction: Program, share: float
    ) -> tuple[list[Message], dict[str, str]]:
        """The prompt, and the rows that it shows by their short ids."""
        system, ids = self._system(instruction, share)
        programs = [parent.program for parent in parents]
        marks = [IdeaMarks.of(program, self.evidence, share > 0) for program in programs]
        parent_ids = [program.program_id for program in programs]
        best = next((p for p in self.evidence.programs if p.program_id in {*self.programs} - {*parent_ids}), None)
        others = kept_by_others(programs, self.evidence, self.programs) if self.scripted and share == 1.0 else []
        traces = [] if job.rejected else select_traces(self.traces, parent_ids, int(MOST_TRACES * share))
        user = render(
            "write.md.j2",
            parents=[
                (parent, mark, self._number_ideas(programs, n, mark, share))
                for n, (parent, mark) in enumerate(zip(parents, marks, strict=True))
            ],
            job=job,
            scripted=self.scripted,
            queued=programs[0].charter.has_queue,
            charter=self.charter_fields(programs, job.name != "prune"),
            short=share < 0.5,
            kept_ideas=others,
            best=(best, self.programs[best.program_id]) if best and share == 1.0 and not self.scripted else None,
            unit=self.evidence.unit,
            siblings=_counted(self.siblings)[-int(SIBLINGS * share) :] if share else [],
            names=_parts(programs[0]),
            others=_parts(programs[-1]),
            traces=traces,
            patches=bool(traces) and self.scripted,
            has_edits=any(task.edits.knobs for task in self.tasks),
        )
        return [Message("system", system), Message("user", user)], dict(ids.by_short)

    def _system(self, instruction: Program, share: float) -> tuple[str, RowIds]:
        """The same for all proposals of a generation with that instruction, so providers may cache it."""
        key = instruction.program_id, share
        if key not in self._systems:
            ids = RowIds()
            facts = clipped(page(self.evidence, ids, list_untried(self.evidence, self.tasks), share), MOST_BYTES)
            tried = [
                replace(proposal, credit_id=ids.of(proposal.credit.credit_id, "c") if proposal.credit else "")
                for proposal in _counted(self.tried)[: int(TRIED * share)]
            ]
            text = render(
                "system.md.j2",
                instruction=instruction.text,
                tasks=self.tasks,
                sentences=sentences,
                name_value=name_value,
                scripted=self.scripted,
                control=self.control,
                turns=self.turns,
                steps=self.steps,
                seed_sd=self.tasks[0].seed_sd,
                page=facts,
                tried=clipped(render("tried.md.j2", tried=tried) if tried else "", MOST_BYTES // 4),
                share=share,
            )
            self._systems[key] = text, ids
        return self._systems[key]

    def charter_fields(self, programs: Sequence[Program], new: bool) -> list[tuple[str, FieldInfo]]:
        """The fields that the researcher follows: all where a job may set ``new`` ones, else those of the parents."""
        set_there = {d.text.partition(":")[0] for p in programs for d in p.directives if d.kind == "charter"}
        unread = UNREAD if self.scripted else ()
        return [(name, info) for name, info in FIELDS.items() if name not in unread and (new or name in set_there)]

    def _number_ideas(self, programs: Sequence[Program], n: int, marks: IdeaMarks, share: float) -> str:
        """A parent's text with its ideas numbered on from those of the parents before it; for the scripted researcher
        without the sections that it does not read."""
        before = {idea.text: k for k, idea in enumerate((i for p in programs[:n] for i in p.ideas), 1)}
        program, first = programs[n], sum(len(p.ideas) for p in programs[:n]) + 1
        lines = split_lines(program.text)
        for number, idea in enumerate(program.ideas, first):
            line, mark = lines[idea.line - 1], marks.by_id.get(idea.directive_id)
            same = before.get(idea.text)
            text = f"as {same}\n" if same else _EXPECTED.sub("", line.lstrip())
            lines[idea.line - 1] = f"({number}: {mark}) {text}" if mark else f"({number}) {text}"
        text = "".join(lines)
        if self.scripted and not program.is_set:
            text = _read_by_script(text, program)
        return clipped(text, SHORT) if not share and n else text


def _read_by_script(text: str, program: Program) -> str:
    """The front matter and the ideas, and the names of the sections that are left out."""
    every = sections(text)
    with_ideas = {d.heading for d in program.directives if d.kind == "idea"}
    front = text.removesuffix("".join(section.text for section in every))
    kept = [section.text for section in every if section.heading in with_ideas]
    left = [section.heading for section in every if section.level and section.heading not in with_ideas]
    note = f"\n(left out, because the researcher does not read them: {', '.join(left)})\n" if left else ""
    return f"{front}{''.join(kept).rstrip()}\n{note}"


def _parts(program: Program) -> list[str]:
    """Headings with their paths, then the other files of a program."""
    return list(dict.fromkeys([*(s.heading for s in sections(program.text) if s.level), *program.further]))


def _counted(tried: Sequence[Tried]) -> list[Tried]:
    """Those that say the same are one, in the place of the first."""
    groups: dict[tuple[str, str, str], list[Tried]] = {}
    for proposal in tried:
        groups.setdefault((proposal.operator, proposal.parents, proposal.reason), []).append(proposal)
    return [
        replace(group[0], credit=next((same.credit for same in group if same.credit), None), times=len(group))
        for group in groups.values()
    ]


def name_value(knob: Knob, value: object) -> str:
    """A value, with the name that a role gives it where that is another: ``adamw (adam)``."""
    text = format_value(value) if isinstance(value, str | int | float) else "?"
    general = meaning(knob.role, text)
    return text if general == text.lower() else f"{text} ({general})"


def list_untried(evidence: Evidence, tasks: Sequence[Task]) -> dict[str, list[str]]:
    """By task, the edits that no experiment has tried, as ideas name them."""
    by_task = {
        part.task: {edit.key for edit in part.edits} | set(part.effects.column if part.effects else ())
        for part in evidence.parts or (evidence,)
    }
    untried: dict[str, list[str]] = {}
    for task, tried in ((task, by_task[task.name]) for task in tasks if by_task.get(task.name)):
        untouched, listed = task.edits.config(task.baseline()), untried.setdefault(task.name, [])
        for knob in task.edits.knobs:
            for value in (True,) if knob.kind == "patch" else knob.values:
                key = edit_key(knob.name, value)
                if key not in tried and untouched.get(knob.name) != value:
                    listed.append(label(key))
    return untried


def write_briefing(study: Study, evidence: Evidence, traces: Sequence[Trace] = ()) -> Briefing:
    """From the study's ledger as it is now."""
    names = {program_id: program.name for program_id, program in study.state.programs.items()}
    with read_study(study.folder, views=("contributions",)) as con:
        turns = rows(con.execute(statement("writers/night_contributed")))
        control = typed_rows(con.execute(statement("writers/null_control"), {"task": study.task.name}), Control)
    credit = {m.child_id: m for m in evidence.mutations}
    tried = [
        Tried(
            m.operator,
            ", ".join(names.get(p, p) for p in m.parent_ids),
            PROGRAM_ID.sub(lambda match: names.get(match[0], match[0]), m.reason),
            m.accepted,
            credit.get(m.child_id) if m.accepted and m.child_id else None,
            names.get(m.child_id or "", ""),
        )
        for m in reversed(study.state.mutations)
    ]
    return Briefing(
        [task_study.task for task_study in tasks_of(study)],
        study.config.researcher,
        evidence,
        control[0] if control else None,
        tried,
        turns,
        study.config.fixed_steps,
        names,
        {program_id: study.program(program_id) for program_id in study.state.programs},
        traces,
    )

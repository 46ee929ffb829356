"""The system message of a mutation: the instruction, the task, the null control, the evidence, and what was tried."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from analysis.effects.rows import Key, canonical, plain
from analysis.ledger.writing_events import MutationEvent, ReflectionEvent
from analysis.report.evidence_text import RowIds, page, quoted
from analysis.study import read_study
from analysis.tables import statement, typed_rows
from arena.task_study import tasks_of
from meta.mutators.llm import prompts
from meta.mutators.llm.kinds import ProgramReader
from meta.mutators.llm.prompt_detail import FULL, PromptDetail
from meta.mutators.llm.trace_access import NO_TRACES, TURNS, TraceAccess
from meta.novelty import Novelty
from programs.charter import fields
from programs.program import Program
from programs.text import clipped
from trainer.cards.card_summary import summary
from trainer.constraints import sentences
from trainer.edits import Knob, format_value
from trainer.task import Task
from trainer.values.roles import meaning

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from analysis.report.evidence import Evidence, MutationCredit
    from arena.study import Study
    from meta.mutators.llm.traces import Trace

UNREAD = ("version", "history", "standups")  # fields of the charter that change nothing for a scripted researcher
PROGRAM_ID = re.compile(r"\bp[0-9a-f]{12}\b")
MOST_BYTES = 40_000  # of the evidence page; earlier proposals have a quarter of that


@dataclass(frozen=True)
class Control:
    """Two arms of one program: mean gains, the difference between them, and its standard error."""

    first: float
    second: float
    runs: int
    se: float | None

    @property
    def spread(self) -> float:
        return abs(self.first - self.second)


@dataclass(frozen=True)
class ControlArm:
    """The gains of an arm of stock."""

    n: int
    mean: float
    var: float | None


@dataclass(frozen=True)
class TriedMutation:
    """A proposal. ``credit``: of a child that ran."""

    operator: str
    parent_ids: tuple[str, ...]
    reason: str
    accepted: bool
    credit: MutationCredit | None = None


@dataclass(frozen=True)
class ShownMutation:
    """The same as the prompt shows it: with names of programs and short ids. ``times``: how often it was proposed."""

    operator: str
    parents: str
    reason: str
    accepted: bool
    credit: MutationCredit | None
    credit_id: str
    times: int


@dataclass(frozen=True)
class MutationBriefing:
    """``tried``: mutations of earlier generations, oldest first; ``siblings``: proposals of this one. ``names``: of
    programs by id; ``programs`` themselves. ``long_ids``: ids of rows that may be cited though the prompt has a short
    one for them or none."""

    instruction: Program
    task: Task
    researcher: str
    control: Control | None
    tried: Sequence[MutationEvent]
    siblings: list[TriedMutation] = field(default_factory=list)
    access: TraceAccess = NO_TRACES
    traces: Sequence[Trace] = ()
    further: Sequence[Task] = ()  # training tasks beside the first
    families: bool = False  # these are examples of the families that the study is over
    names: Mapping[str, str] = field(default_factory=dict)
    programs: Mapping[str, Program] = field(default_factory=dict)  # those that have run, and more
    novelty: Novelty | None = None
    long_ids: dict[str, str] = field(default_factory=dict)
    reflections: list[ReflectionEvent] = field(default_factory=list)  # oldest first
    _systems: dict[tuple[int, PromptDetail, int], tuple[Evidence, str, RowIds]] = field(
        default_factory=dict, compare=False
    )

    @property
    def tasks(self) -> list[Task]:
        return [self.task, *self.further]

    @cached_property
    def reader(self) -> ProgramReader:
        return ProgramReader(self.novelty or Novelty(self.tasks, self.researcher))

    def system(self, evidence: Evidence, detail: PromptDetail = FULL) -> tuple[str, RowIds]:
        """The system message, and the rows that it shows by their short ids. It is the same for all proposals of a
        generation."""
        key = id(evidence), detail, len(self.reflections)
        if key not in self._systems:
            self._systems[key] = (evidence, *self._system(evidence, detail))  # it is kept, so its id stays its own
        _, text, ids = self._systems[key]
        return text, deepcopy(ids)

    def _system(self, evidence: Evidence, detail: PromptDetail) -> tuple[str, RowIds]:
        ids = RowIds()
        facts = clipped(page(evidence, ids, untried(evidence, self.tasks), detail.rows), MOST_BYTES)
        credit = {m.child_id: m for m in evidence.mutations}
        tried = [
            TriedMutation(
                m.operator,
                m.parent_ids,
                m.reason,
                m.accepted,
                credit.get(m.child_id) if m.accepted and m.child_id else None,
            )
            for m in reversed(self.tried)
        ]
        seen = self.shown(tried, ids)[: detail.tried]
        shown = clipped(prompts.render("tried.md.j2", tried=seen) if seen else "", MOST_BYTES // 4)
        text = prompts.render(
            "system.md.j2",
            instruction=self.instruction.text,
            task=self.task,
            sentences=sentences,
            tasks=self.tasks,
            known_as=known_as,
            families=self.families,
            scripted=self.researcher == "scripted",
            control=self.control,
            seed_sd=known.seed_sd if (known := summary(self.task)).state == "measured" else None,
            page=facts,
            tried=shown,
            notes=self.notes(ids, detail.notes),
            detail=detail,
            searches=self.access.how == "tools" and detail.traces,
            patches=self.access.how != "none" and self.researcher == "scripted" and detail.traces,
            turns=TURNS,
        )
        self.long_ids.update({
            c.credit_id: c.credit_id
            for part in evidence.parts or (evidence,)
            for c in (*part.edits, *part.directives, *part.mutations)
        })  # fmt: skip
        return text, ids

    def charter(self, parents: Sequence[Program], new: bool) -> list[tuple[str, FieldInfo]]:
        """The fields that the researcher follows: all where a job may set ``new`` ones, else those of the parents."""
        set_there = {d.text.partition(":")[0] for p in parents for d in p.directives if d.kind == "charter"}
        unread = UNREAD if self.researcher == "scripted" else ()
        return [(name, info) for name, info in fields() if name not in unread and (new or name in set_there)]

    def notes(self, ids: RowIds, most: int = FULL.notes) -> str:
        """The notes of this generation and earlier ones, latest first; empty without any."""
        lines = [
            f"- [{ids.of(note.note_id, 'r')}] generation {each.generation}: "
            + ids.shortened(named(note.text, self.names))
            for each in reversed(self.reflections)
            for note in each.notes
        ]
        return "\n".join(lines[:most])

    def shown(self, tried: Sequence[TriedMutation], ids: RowIds) -> list[ShownMutation]:
        """Proposals with names in the place of ids; those that say the same are one."""
        counts: dict[tuple[str, str, str], list[TriedMutation]] = {}
        for one in tried:
            parents = ", ".join(self.names.get(p, p) for p in one.parent_ids)
            counts.setdefault((one.operator, parents, ids.shortened(named(one.reason, self.names))), []).append(one)
        return [
            ShownMutation(
                operator,
                parents,
                reason,
                same[0].accepted,
                credit := next((one.credit for one in same if one.credit), None),
                ids.of(credit.credit_id, "c") if credit else "",
                len(same),
            )
            for (operator, parents, reason), same in counts.items()
        ]


def known_as(knob: Knob, value: object) -> str:
    """A value, with the name that a role gives it where that is another: ``adamw (adam)``."""
    shown = format_value(value) if isinstance(value, str | int | float) else "?"
    general = meaning(knob.role, shown)
    return shown if general == shown.lower() else f"{shown} ({general})"


def named(text: str, names: Mapping[str, str]) -> str:
    """A text with the names of programs in the place of their ids."""
    return PROGRAM_ID.sub(lambda match: names.get(match[0], match[0]), text)


def untried(evidence: Evidence, tasks: Sequence[Task]) -> dict[str, list[str]]:
    """By task, the edits that no experiment has tried, as ideas name them."""
    by_task = {
        part.task: {edit.key for edit in part.edits} | set(part.effects.column if part.effects else ())
        for part in evidence.parts or (evidence,)
    }
    return {task.name: list(_untried(task, by_task[task.name])) for task in tasks if by_task.get(task.name)}


def _untried(task: Task, tried: set[Key]) -> Iterator[str]:
    own = task.edits.config(task.baseline())
    for knob in task.edits.knobs:
        name = knob.name.lower()
        for value in (True,) if knob.kind == "patch" else knob.values:
            if (name, canonical(value)) not in tried and own.get(knob.name) != value:
                yield quoted(name if value is True else f"{name}={plain(value)}")


def brief(
    study: Study,
    instruction: Program,
    access: TraceAccess = NO_TRACES,
    traces: Sequence[Trace] = (),
    novelty: Novelty | None = None,
) -> MutationBriefing:
    """From the study's ledger as it is now."""
    query = statement("null_control")
    with read_study(study.folder, views=()) as con:
        arms = typed_rows(con.execute(query, {"task": study.task.name}), ControlArm)
    tried = study.state.mutations
    return MutationBriefing(
        instruction,
        study.task,
        study.config.researcher,
        control_of(arms),
        tried,
        access=access,
        traces=traces,
        further=[on.task for on in tasks_of(study)[1:]],
        families=study.config.families is not None,
        names={program_id: program.name for program_id, program in study.state.programs.items()},
        programs={program_id: study.program(program_id) for program_id in study.state.programs},
        novelty=novelty,
        reflections=sorted(study.state.reflections.values(), key=lambda each: each.generation),
    )


def control_of(arms: Sequence[ControlArm]) -> Control | None:
    """From the arms of stock and of its twin."""
    if len(arms) != 2:
        return None
    first, second = arms
    known = first.var is not None and second.var is not None
    se = math.sqrt((first.var or 0.0) / first.n + (second.var or 0.0) / second.n) if known else None
    return Control(first.mean, second.mean, min(first.n, second.n), se)

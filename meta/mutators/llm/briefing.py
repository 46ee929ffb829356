"""The system message of a mutation: the instruction, the task, the null control, the evidence, and what was tried."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from analysis.events import MutationEvent
from analysis.study import open_study
from analysis.tables import statement, typed_rows
from arena.task_study import tasks_of
from meta.mutators.llm import prompts
from meta.mutators.llm.trace_access import NO_TRACES, TURNS, TraceAccess
from programs.charter import fields
from programs.program import Program
from programs.text import clipped
from trainer.constraints import sentences
from trainer.task import Task

if TYPE_CHECKING:
    from analysis.evidence import Evidence, MutationCredit
    from arena.study import Study
    from meta.mutators.llm.traces import Trace

TRIED = 30  # mutations that are shown, newest first
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
    """A proposal as the prompt shows it; ``credit``: of a child that ran."""

    operator: str
    parents: str
    reason: str
    accepted: bool
    credit: MutationCredit | None = None


@dataclass(frozen=True)
class MutationBriefing:
    """``tried``: mutations of earlier generations, oldest first; ``siblings``: proposals of this one."""

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

    def system(self, evidence: Evidence) -> tuple[str, frozenset[str]]:
        """The system message, and the ids of the rows that it shows."""
        from analysis.evidence_text import page

        credit = {m.child_id: m for m in evidence.mutations}
        tried = [
            TriedMutation(
                m.operator,
                ", ".join(m.parent_ids),
                m.reason,
                m.accepted,
                credit.get(m.child_id) if m.accepted and m.child_id else None,
            )
            for m in list(self.tried)[: -TRIED - 1 : -1]
        ]
        shown = clipped(prompts.render("tried.md.j2", tried=tried) if tried else "", MOST_BYTES // 4)
        facts = clipped(page(evidence), MOST_BYTES)
        text = prompts.render(
            "system.md.j2",
            instruction=self.instruction.text,
            task=self.task,
            sentences=sentences,
            tasks=[self.task, *self.further],
            families=self.families,
            charter=list(fields()),
            scripted=self.researcher == "scripted",
            control=self.control,
            page=facts,
            tried=shown,
            searches=self.access.how == "tools",
            turns=TURNS,
        )
        known = {
            c.credit_id
            for part in evidence.parts or (evidence,)
            for c in (*part.edits, *part.directives, *part.mutations)
        }
        return text, frozenset(c for c in known if f"[{c}]" in facts or f"[{c}]" in shown)


def brief(
    study: Study, instruction: Program, access: TraceAccess = NO_TRACES, traces: Sequence[Trace] = ()
) -> MutationBriefing:
    """From the study's ledger as it is now."""
    with open_study(study.folder, views=()) as con:
        arms = typed_rows(con.execute(statement("null_control"), {"task": study.task.name}), ControlArm)
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
    )


def control_of(arms: Sequence[ControlArm]) -> Control | None:
    """From the arms of stock and of its twin."""
    if len(arms) != 2:
        return None
    first, second = arms
    known = first.var is not None and second.var is not None
    se = math.sqrt((first.var or 0.0) / first.n + (second.var or 0.0) / second.n) if known else None
    return Control(first.mean, second.mean, min(first.n, second.n), se)

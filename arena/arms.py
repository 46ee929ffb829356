"""The arms of a match: each is one entry of a program."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from arena.study.task_study import TaskStudy
from inner_loop.contracts import UNPLANNED, TurnOrder
from programs.common.ids import content_id
from programs.common.text import in_turns
from programs.diff import diff
from programs.directives import CHARTER
from programs.program import Program
from trainer.streams import Stream

RACED = ("program", "control")
PAIRED = ("race", "generation")  # purposes; the test of a confirmation needs independent arms


@dataclass(frozen=True)
class Entry:
    """A program and the role in which it takes part: program, control, a/a, champion, without-ideas, learnt, night.
    ``beside``: those that take turns with it in a night, in this ``order``."""

    program: Program
    role: str = "program"
    beside: tuple[Program, ...] = ()
    order: TurnOrder = UNPLANNED


@dataclass(frozen=True)
class Arm:
    """One entry of a program in a match. ``twin`` counts the arms of the same program before it.

    ``paired_with`` is the id of an earlier arm whose program differs by one setting. The proposals of both are drawn
    from the same seeds, run by run, so that they differ by their programs alone. Empty: seeds of its own.
    """

    arm_id: str
    program: Program
    role: str
    twin: int
    paired_with: str = ""
    beside: tuple[Program, ...] = ()  # see `Entry`
    order: TurnOrder = UNPLANNED

    @property
    def names(self) -> str | None:
        """Of the programs that are this arm: they behave alike, or take turns. None: it is the only one."""
        name = in_turns([self.program.name, *(other.name for other in self.beside)])
        return name if self.beside or " = " in name else None

    @property
    def raced(self) -> bool:
        return self.role in RACED


@dataclass(frozen=True)
class Match:
    """The arms of a match, its stream of seeds, and its purpose.

    ``label`` names it within its study and, with it, its list of run seeds.
    """

    match_id: str
    label: str
    purpose: str
    stream: Stream
    arms: tuple[Arm, ...]
    generation: int | None = None


@dataclass(frozen=True)
class TaskMatch:
    """A match on one task of a study."""

    on: TaskStudy
    match: Match


def enter(
    on: TaskStudy, label: str, entries: Iterable[Entry], *, purpose: str, stream: Stream, generation: int | None = None
) -> Match:
    """Give every entry its arm. Two entries of one program are two arms with different run seeds.

    A match that the ledger has already keeps the pairs that it was announced with.
    """
    match_id = content_id("m", on.config.study_id, label)
    announced = on.state.matches.get(match_id)
    pairs = {arm.arm_id: arm.kin or "" for arm in announced.arms} if announced else None
    arms: list[Arm] = []
    for entry in entries:
        twin = sum(arm.program.program_id == entry.program.program_id for arm in arms)
        arm_id = content_id("a", match_id, entry.program.program_id, str(twin))
        partner = partner_of(entry.program, arms) if purpose in PAIRED and not twin else ""
        partner = partner if pairs is None else pairs.get(arm_id, "")
        arms.append(Arm(arm_id, entry.program, entry.role, twin, partner, entry.beside, entry.order))
    return Match(match_id, label, purpose, stream, tuple(arms), generation)


def partner_of(program: Program, arms: Iterable[Arm]) -> str:
    """The first arm whose program differs by one setting of its front matter, or the arm that this one is paired with.

    Only there did pairing help: gains correlate by .3 to .9 then, by .1 to .2 where an idea differs, and not at all
    between unrelated programs.
    """
    own = {(d.directive_id, d.kind) for d in program.directives}
    for arm in arms:
        other = {(d.directive_id, d.kind) for d in arm.program.directives}
        if any(kind != CHARTER for _, kind in own ^ other):
            continue  # comparing the texts takes long
        difference = diff(arm.program, program)
        single = [*difference.added, *difference.removed, *(new for _, new in difference.changed)]
        if len(single) == 1 and single[0].kind == CHARTER and not arm.twin:
            return arm.paired_with or arm.arm_id
    return ""

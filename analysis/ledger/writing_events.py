"""The events of writing programs: who wrote which program, from which parents, and why."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import JsonValue

from inner_loop.events import Event
from programs.program import Program


@dataclass(frozen=True)
class DirectiveEntry:
    directive_id: str
    heading: str
    kind: str
    text: str
    position: int

    @classmethod
    def all_of(cls, program: Program) -> tuple[DirectiveEntry, ...]:
        return tuple(cls(d.directive_id, d.heading, d.kind, d.text, d.position) for d in program.directives)


class ProgramEvent(Event, kind="program"):
    """A program was added to the study."""

    program_id: str
    name: str
    generation: int | None
    operator: str
    parent_ids: tuple[str, ...]
    words: int
    text: str
    directives: tuple[DirectiveEntry, ...]


class GenerationEvent(Event, kind="generation"):
    """The programs of a generation, written after all its proposals: nothing is proposed again after it."""

    generation: int
    program_ids: tuple[str, ...]
    elite_ids: tuple[str, ...]


class SteerEvent(Event, kind="steer"):
    """A wish of a person, taken in before a generation was written. ``what``: program or veto; ``text``: of the
    program, or the id of the program or directive that is vetoed."""

    wish_id: str
    what: str
    text: str
    name: str
    because: str
    asked_at: str
    generation: int


@dataclass(frozen=True)
class PromptMessage:
    role: str
    text: str


class MutationEvent(
    Event, kind="mutation", sparse=("call", "prompt", "meta_program_id", "repairs", "remark", "limits")
):
    """One proposal of a generation, accepted or not, with the language model if there was one.

    ``reason``: the proposer's, or why it was refused or passed. ``usd`` is None if no price is known. ``remark``: what
    of a model's reply was left out. ``limits``: what limited the parents' runs, as a model read it.
    """

    generation: int
    attempt: int
    child_id: str | None
    parent_ids: tuple[str, ...]
    operator: str
    accepted: bool
    reason: str
    evidence_ids: tuple[str, ...] = ()
    model: str | None = None
    tokens: int = 0
    usd: float | None = 0.0
    call: int | None = None  # number of the study's own call
    prompt: tuple[PromptMessage, ...] | None = None
    meta_program_id: str | None = None
    repairs: str | None = None  # the operator whose reply it repairs
    remark: str | None = None
    limits: str | None = None

    def to_record(self) -> dict[str, JsonValue]:
        """The record; a proposal of a model always has ``repairs``."""
        record = super().to_record()
        if self.call is not None and self.repairs is None:
            record["repairs"] = None
        return record

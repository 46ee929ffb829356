"""The interface of mutators: they write a child program from parents and evidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from analysis.evidence.task_evidence import Evidence, ProgramScore
from programs.program import Program


@dataclass(frozen=True)
class ParentProgram:
    """A program that may get children, with its posterior score if it has been measured."""

    program: Program
    score: ProgramScore | None


@dataclass(frozen=True)
class ModelCalls:
    """The model call behind a proposal. ``usd`` is None if no price is known."""

    model: str | None  # that answered; None: no answer
    tokens: int
    usd: float | None
    call: int  # number of the study's own `call` event
    prompt: tuple[tuple[str, str], ...]  # role and text of each message
    meta_program_id: str  # the instruction that it followed
    repairs: str | None = None  # the operator whose reply it repairs
    limits: str | None = None  # what limited the parents' runs, as the model read it


@dataclass(frozen=True)
class ChildProposal:
    """The text of a child, its parents, and the rows of evidence that it is based on.

    ``refusal`` says why a reply contains no child. ``remark``: what of the reply was left out. ``repair`` calls the
    model once more, with the problem of the text.
    """

    text: str
    operator: str
    reason: str  # one line: what was changed, and why
    evidence_ids: tuple[str, ...]
    parent_ids: tuple[str, ...]
    calls: ModelCalls | None = None
    refusal: str = ""
    remark: str = ""
    repair: Callable[[str], ChildProposal | None] | None = field(default=None, compare=False)


class Mutator(Protocol):
    """Proposals are a function of parents, evidence and the state of ``rng``, so a study can be replayed."""

    @property
    def name(self) -> str: ...

    @property
    def parents(self) -> int:
        """The number of parents; the child is based on the text of the first."""

    def propose(
        self, parents: Sequence[ParentProgram], evidence: Evidence, rng: np.random.Generator
    ) -> ChildProposal | None:
        """A child that differs from its parents; None if this evidence and these parents offer nothing."""


class ModelMutator(Mutator, Protocol):
    """One that calls a model, the same for all proposals of a generation."""

    @property
    def model(self) -> str:
        """The preferred one."""

    @property
    def open(self) -> bool:
        """Whether it can still call."""

    def report(self, proposal: ChildProposal, refusal: str) -> None:
        """What became of a proposal, of any mutator: later prompts show it."""


class OfflineMutator(Mutator, Protocol):
    """One that calls no model."""

    @property
    def share(self) -> float:
        """Its relative frequency; the operators with the largest measured gains have most."""


def parent_ids(parents: Sequence[ParentProgram]) -> tuple[str, ...]:
    """Ids in order, each once."""
    return tuple(dict.fromkeys(parent.program.program_id for parent in parents))

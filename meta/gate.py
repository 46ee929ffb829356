"""The surrogate model as a gate: a child with a low predicted gain gets no device time, if predictions have been
good."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.study import read_study
from arena.task_study import TaskStudy
from meta.confirmation import FINAL
from programs.program import Program

if TYPE_CHECKING:
    from analysis.surrogate import ProgramGain

SHARE = 0.25  # children predicted to rank below this share of the programs that ran are rejected


@dataclass(frozen=True)
class Gate:
    """On one task. ``predict`` and ``bar`` in metric units."""

    predict: Callable[[Program], float]
    bar: float

    def __call__(self, program: Program) -> str:
        """The reason to reject a program; empty if there is none."""
        expected = self.predict(program)
        if expected >= self.bar:
            return ""
        return f"a model of the programs so far predicts a gain of {expected:.3g}; below {self.bar:.3g} none runs"


@dataclass
class Gates:
    """The gates of all tasks. A program that passes on one of them may run, and after ``most`` rejections every program
    may, so that a generation is never empty."""

    gates: Sequence[Gate]
    most: int
    refused: int = 0

    def __call__(self, program: Program) -> str:
        """Why a program is rejected; empty if it may run."""
        if self.refused >= self.most:
            return ""
        said = [gate(program) for gate in self.gates]
        if not all(said):
            return ""
        self.refused += 1
        return said[0]


def gate_over(studies: Sequence[TaskStudy], most: int) -> Gates | None:
    """The gates of a study's tasks; None if one of them has none."""
    gates = [gate for on in studies if (gate := gate_of(on)) is not None]
    return Gates(gates, most) if len(gates) == len(studies) else None


def gate_of(on: TaskStudy) -> Gate | None:
    """The gate on one task from the ledger as it is now, without confirmations; see `gate_among`."""
    from analysis.surrogate import known_programs

    last = [m for m, event in on.state.matches.items() if event.purpose in FINAL]
    with read_study(on.folder, views=()) as con:
        known = known_programs(con, on.task.name, last)
    return gate_among(on.task.name, known)


def gate_among(task: str, known: Sequence[ProgramGain]) -> Gate | None:
    """None unless the surrogate ranks held-out programs better than chance."""
    from analysis.surrogate import fit, skill

    measured, _ = skill(task, known)
    if not measured.beats_chance:
        return None
    predict = fit(known)
    ranked = sorted(predict(k.program) for k in known)
    return Gate(predict, ranked[int(SHARE * len(ranked))])

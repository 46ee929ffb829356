"""The surrogate as a gate: a child foretold to be poor gets no device time, where the surrogate has shown skill."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.study import open_study
from arena.study import Study
from meta.confirmation import FINAL
from programs.program import Program

if TYPE_CHECKING:
    from analysis.surrogate import ProgramGain

SHARE = 0.25  # children foretold to rank below this share of the programs that ran are turned away


@dataclass(frozen=True)
class Gate:
    """On one task. ``predict`` and ``bar`` in metric units."""

    predict: Callable[[Program], float]
    bar: float

    def __call__(self, program: Program) -> str:
        """What speaks against a program; empty where nothing does."""
        expected = self.predict(program)
        return f"the surrogate expects {expected:.3g}, below {self.bar:.3g}" if expected < self.bar else ""


@dataclass
class Gates:
    """Of all home tasks: who passes on one of them may run, and after ``most`` refusals everybody may, so that a
    generation is never empty."""

    gates: Sequence[Gate]
    most: int
    refused: int = 0

    def __call__(self, program: Program) -> str:
        """Why a program is turned away; empty where it may run."""
        if self.refused >= self.most:
            return ""
        said = [gate(program) for gate in self.gates]
        if not all(said):
            return ""
        self.refused += 1
        return said[0]


def gate_over(places: Sequence[Study], most: int) -> Gates | None:
    """The gates of a study's home tasks. None where one of them has none."""
    gates = [gate for place in places if (gate := gate_of(place)) is not None]
    return Gates(gates, most) if len(gates) == len(places) else None


def gate_of(study: Study) -> Gate | None:
    """The gate of a study on one task as its ledger stands now, confirmations left out; see `gate_among`."""
    from analysis.surrogate import known_programs

    last = [m for m, event in study.state.matches.items() if event.purpose in FINAL]
    with open_study(study.folder, views=()) as con:
        known = known_programs(con, study.task.name, last)
    return gate_among(study.task.name, known)


def gate_among(task: str, known: Sequence[ProgramGain]) -> Gate | None:
    """None unless the surrogate ranks held-out programs better than chance does."""
    from analysis.surrogate import fit, skill

    told, _ = skill(task, known)
    if not told.beats_chance:
        return None
    predict = fit(known)
    ranked = sorted(predict(k.program) for k in known)
    return Gate(predict, ranked[int(SHARE * len(ranked))])

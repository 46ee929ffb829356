"""Evidence with planted effects, as the mutators get it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from analysis.effects.rows import DirectiveCredit, Value
from analysis.report.evidence import EditCredit, Evidence, ProgramScore
from meta.mutators.base import ChildProposal, Mutator, ParentProgram
from programs.program import Program


def edit(knob: str, value: Value, gain: float, se: float | None = 0.01, runs: int = 8, **more: Any) -> EditCredit:
    label = f"+{knob}" if value is True else f"{knob.lower()}={value}"
    made = EditCredit(
        f"c-{knob}-{value}", "t", gain, se, None, None, 2 * runs, None, "randomised", "nats", knob=knob, value=value,
        label=label, failures=0, runs=runs, device_seconds=1.0,
    )  # fmt: skip
    return replace(made, **more)


def idea(directive_id: str, text: str, kept_gain: float) -> DirectiveCredit:
    return DirectiveCredit(
        f"c-{directive_id}", "t", kept_gain, None, None, None, 10, None, "observational", "nats", text, "Ideas", "idea",
        (), device_seconds=1.0, failures=0, runs_held=10, directive_id=directive_id, runs=10,
    )  # fmt: skip


def evidence(*edits: EditCredit, ideas: tuple[DirectiveCredit, ...] = ()) -> Evidence:
    return Evidence("t", "nats", edits, ideas, mutations=(), programs=(), runs=1, experiments=1)


def score(program_id: str) -> ProgramScore:
    return ProgramScore(program_id, "p", "t", 0.1, 0.01, 4, 0.1, 0.01, None, None, None, words=10, generation=0)


PLANTED = evidence(
    *(edit("MOMENTUM", value, gain) for value, gain in ((0.9, 0.2), (0.95, 0.15), (0.5, 0.08), (0.99, -0.3))),
    *(edit("BATCH", value, gain) for value, gain in ((64, 0.12), (32, 0.1), (512, -0.2))),
    edit("conv", True, 0.3, se=0.02), edit("pool", True, -0.05), edit("NORM", "batch", 0.16),
    edit("NORM", "layer", 0.05), edit("WIDTH", 64, 0.01, se=0.05), edit("DEPTH", 4, -0.25),
)  # fmt: skip


def propose(
    mutator: Mutator, first: Program, second: Program, seed: int, facts: Evidence = PLANTED
) -> ChildProposal | None:
    parents = [ParentProgram(first, score(first.program_id)), ParentProgram(second, None)][: mutator.parents]
    return mutator.propose(parents, facts, np.random.default_rng(seed))

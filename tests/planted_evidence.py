"""Evidence with planted effects, as the mutators get it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from analysis.effects.experiments import Effects, RowFinder
from analysis.effects.mixed_model import ExperimentTable, fit
from analysis.effects.rows import CreditRow, Value, edit_key, figures, value_text
from analysis.evidence.task_evidence import Evidence, ProgramScore
from analysis.statistics import Estimate
from meta.mutators.base import ChildProposal, Mutator, ParentProgram
from programs.program import Program

SEEDS = 4


def edit(knob: str, value: Value, gain: float, se: float | None = 0.01, runs: int = 8, **more: Any) -> CreditRow:
    label = f"+{knob}" if value is True else f"{knob.lower()}={value}"
    row = CreditRow(
        f"c-{knob}-{value}", "t", "edit", "randomised", "nats", label, **figures(Estimate(gain, se)), n=2 * runs,
        knob=knob, value=value_text(edit_key(knob, value)), constant=value, failures=0, runs=runs, device_seconds=1.0,
    )  # fmt: skip
    return replace(row, **more)


def idea(directive_id: str, text: str, kept_gain: float) -> CreditRow:
    return CreditRow(
        f"c-{directive_id}", "t", "directive", "observational", "nats", text, **figures(Estimate(kept_gain)), n=10,
        kind="idea", device_seconds=1.0, failures=0, runs_held=10, directive_id=directive_id, runs=10,
    )  # fmt: skip


def evidence(*edits: CreditRow, ideas: tuple[CreditRow, ...] = ()) -> Evidence:
    return Evidence("t", "nats", edits, ideas, mutations=(), programs=(), runs=1, experiments=1)


def with_model(facts: Evidence) -> Evidence:
    """The same with a model of experiments that agree with its edits: under each of SEEDS seeds the untouched script,
    and each edit alone with a normal error of its SE."""
    keys, size = [edit.key for edit in facts.edits], 1 + len(facts.edits)
    gains, errors = [0.0, *(edit.gain for edit in facts.edits)], [0.01, *(edit.se or 0.0 for edit in facts.edits)]
    outcome = np.random.default_rng(1).normal(gains, errors, (SEEDS, size)).ravel()
    seed, number = np.repeat(np.arange(SEEDS), size), np.tile(np.arange(size), SEEDS)
    held = csr_array(np.eye(size)[number, 1:])
    fitted = fit(ExperimentTable(outcome, seed, np.zeros_like(seed), number, held, len(keys)))
    seeds, column = np.full(len(keys), SEEDS), {key: at for at, key in enumerate(keys)}
    parent = np.full(len(seed), -1)
    return replace(facts, effects=Effects(fitted, column, seeds, seeds, held, parent, RowFinder(seed, number), []))


def score(program_id: str) -> ProgramScore:
    return ProgramScore(
        program_id, "p", "t", Estimate(0.1, 0.01, n=4), Estimate(0.1, 0.01), None, words=10, generation=0
    )


PLANTED = evidence(
    *(edit("MOMENTUM", value, gain) for value, gain in ((0.9, 0.2), (0.95, 0.15), (0.5, 0.08), (0.99, -0.3))),
    *(edit("BATCH", value, gain) for value, gain in ((64, 0.12), (32, 0.1), (512, -0.2))),
    edit("conv", True, 0.3, se=0.02), edit("pool", True, -0.05), edit("NORM", "batch", 0.16),
    edit("NORM", "layer", 0.05), edit("WIDTH", 64, 0.01, se=0.05), edit("DEPTH", 4, -0.25),
)  # fmt: skip
FITTED = with_model(PLANTED)


def propose(
    mutator: Mutator, first: Program, second: Program, seed: int, facts: Evidence = FITTED
) -> ChildProposal | None:
    parents = [ParentProgram(first, score(first.program_id)), ParentProgram(second, None)][: mutator.parents]
    return mutator.propose(parents, facts, np.random.default_rng(seed))

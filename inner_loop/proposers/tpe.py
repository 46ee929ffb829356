"""Tree-structured Parzen estimator (Bergstra et al. 2011), with Optuna's sampler, near the kept source.

Over all knobs at once it needs more experiments than a run has. So each proposal frees only a few random knobs, keeps
the others at the parent's values, and lets the estimator choose: a trust region of coordinates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from inner_loop.contracts import Proposal, ProposerStart, Situation
from inner_loop.moves import others, rung
from trainer.edits import Knob, Value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import Trial

#: Knobs that one proposal may change; trials before the estimator takes over from uniform draws; asks before giving up.
FREE, STARTUP, ASKS = 3, 5, 8


class TpeProposer:
    """Each proposal rebuilds the study from this run's history, so it depends on nothing else."""

    name = "tpe"

    def __init__(self, because: tuple[str, ...] = ()) -> None:
        self._because = because

    def propose(self, situation: Situation, rng: np.random.Generator) -> Proposal | None:
        movable = [knob for knob in situation.knobs if others(knob, situation.parent.config)]
        if not movable:
            return None
        study = _study(situation, int(rng.integers(2**31)))
        for _ in range(ASKS):
            free = rng.choice(len(movable), size=min(FREE, len(movable)), replace=False)
            trial = study.ask()
            wanted = dict(situation.parent.config)
            for at in sorted(free):
                knob = movable[at]
                wanted[knob.name] = _suggest(trial, knob)
            edit = situation.space.between(situation.parent.config, wanted)
            if edit and situation.allowed(edit):
                return Proposal(edit, self.name, self._because)
        return None


def make(start: ProposerStart) -> TpeProposer:
    return TpeProposer(start.because)


def _study(situation: Situation, seed: int) -> Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP, multivariate=False)
    study = optuna.create_study(sampler=sampler, direction="maximize")
    gains = _gains(situation)
    knobs = [knob for knob in situation.space.knobs if len(knob.values) > 1]
    for record in situation.history:
        if record.number in gains:
            params = {k.name: rung(k, record.config[k.name]) for k in knobs if k.name in record.config}
            distributions = {k.name: _distribution(k) for k in knobs if k.name in record.config}
            study.add_trial(
                optuna.trial.create_trial(params=params, distributions=distributions, value=gains[record.number])
            )
    return study


def _gains(situation: Situation) -> dict[int, float]:
    """Record number → gain over the baseline; a failed experiment counts as the worst that was seen.

    Fractions are left out: their metric belongs to another budget.
    """
    base = situation.history[0].metric or 0.0
    full = [r for r in situation.history if r.full]
    measured = {r.number: situation.sign * (base - r.metric) for r in full if r.metric is not None}
    worst = min(measured.values(), default=0.0)
    return {r.number: measured.get(r.number, worst) for r in full}


def _distribution(knob: Knob) -> BaseDistribution:
    """Rungs of a ladder are whole numbers, so that near ones are near; choices and patches have no order."""
    from optuna.distributions import CategoricalDistribution, IntDistribution

    if knob.kind in ("float", "int"):
        return IntDistribution(0, len(knob.values) - 1)
    return CategoricalDistribution(tuple(range(len(knob.values))))


def _suggest(trial: Trial, knob: Knob) -> Value:
    last = len(knob.values) - 1
    if knob.kind in ("float", "int"):
        return knob.values[trial.suggest_int(knob.name, 0, last)]
    return knob.values[trial.suggest_categorical(knob.name, tuple(range(last + 1)))]

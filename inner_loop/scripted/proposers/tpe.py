"""Tree-structured Parzen estimator (Bergstra et al. 2011), with Optuna's sampler, near the kept source.

Over all knobs at once it needs more experiments than a run has. So each proposal frees only a few random knobs, keeps
the others at the parent's values, and lets the estimator choose: a trust region of coordinates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from inner_loop.contracts import CitingProposer, Situation
from inner_loop.events import Experiment, Proposal
from inner_loop.moves import others, rung
from trainer.edits import Knob, Value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import Trial

#: Knobs that one proposal may change; trials before the estimator takes over from uniform draws; asks before giving up.
FREE, STARTUP, ASKS = 3, 5, 8


class TpeProposer(CitingProposer):
    """Each proposal depends on this run's history alone, with a sampler of its own seed.

    The last proposal's study is kept where the history has only grown since: to make all its trials anew takes a time
    that grows with the square of the run's experiments.
    """

    name = "tpe"

    _study: Study | None = None
    _knobs: Sequence[Knob] = ()
    _measured: Sequence[tuple[Experiment, float]] = ()

    def propose(self, situation: Situation, rng: np.random.Generator) -> Proposal | None:
        movable = [knob for knob in situation.knobs if others(knob, situation.parent.config)]
        if not movable:
            return None
        study = self._known(situation, int(rng.integers(2**31)))
        for _ in range(ASKS):
            free = rng.choice(len(movable), size=min(FREE, len(movable)), replace=False)
            trial = study.ask()
            wanted = dict(situation.parent.config)
            for at in sorted(free):
                knob = movable[at]
                wanted[knob.name] = _suggest(trial, knob)
            edit = situation.space.between(situation.parent.config, wanted)
            if edit and situation.allowed(edit):
                return Proposal(edit, self.name, self._directive_ids)
        return None

    def _known(self, situation: Situation, sampler_seed: int) -> Study:
        """A study with the experiments so far and their gains, in order."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        gains = _gains(situation)
        measured = [(record, gains[record.number]) for record in situation.history if record.number in gains]
        knobs = [knob for knob in situation.space.knobs if len(knob.values) > 1]
        sampler = optuna.samplers.TPESampler(seed=sampler_seed, n_startup_trials=STARTUP, multivariate=False)
        # a known gain may have changed, as that of a failed experiment does with the worst gain
        if self._study is None or knobs != self._knobs or self._measured != measured[: len(self._measured)]:
            self._study, self._knobs, self._measured = optuna.create_study(direction="maximize"), knobs, []
        study = self._study
        study.sampler = sampler
        for running in study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.RUNNING]):
            study.tell(running.number, state=optuna.trial.TrialState.FAIL)  # the sampler keeps away from those that run
        for record, gain in measured[len(self._measured) :]:
            known = [knob for knob in knobs if knob.name in record.config]
            params = {knob.name: rung(knob, record.config[knob.name]) for knob in known}
            distributions = {knob.name: _distribution(knob) for knob in known}
            study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=gain))
        self._measured = measured
        return study


make = TpeProposer


def _gains(situation: Situation) -> dict[int, float]:
    """Experiment number → gain over the baseline; a failed experiment counts as the worst that was seen.

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

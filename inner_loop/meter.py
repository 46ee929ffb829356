"""The cost of a run's experiments: charged to its budget, actually spent, and expected next."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from inner_loop.events import Experiment
from trainer.task import Task

#: Slack for sums of floats: a billionth of a second.
EPSILON = 1e-9


@dataclass
class RunMeter:
    """Device-seconds of one run.

    `budget` is the most that the run may be charged, `prior` the expected cost of a full experiment before one was
    measured, `soft` the part of it that shrinks with the fraction (launch and scoring do not). `sandbox` is an
    agent's CPU time outside its experiments, a part of `charged` and `spent`.
    """

    budget: float
    prior: float
    soft: float
    aside: float = 0.0
    charged: float = 0.0
    spent: float = 0.0
    cached: float = 0.0
    sandbox: float = 0.0
    _seen: dict[float, list[float]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def of_run(cls, task: Task, budget: float, fixed_steps: bool) -> RunMeter:
        """Starts from the task's card; in fixed-step mode only the nominal time per step counts."""
        if fixed_steps:
            nominal = task.steps * task.seconds_per_step
            return cls(budget, prior=nominal, soft=nominal)
        return cls(budget, prior=task.cost_seconds, soft=task.budget_seconds)

    @property
    def remaining(self) -> float:
        """Device-seconds left to spend now, without those set aside for later."""
        return max(0.0, self.budget - self.charged - self.aside)

    @property
    def forfeited(self) -> float:
        """The rest of the budget, too small for an experiment; a finished run is charged it all the same."""
        return max(0.0, self.budget - self.charged)

    @property
    def overshoot(self) -> float:
        """What the last experiment used beyond the budget."""
        return max(0.0, self.charged - self.budget)

    def add(self, experiment: Experiment) -> None:
        self.charged += experiment.device_seconds_charged
        self.spent += experiment.device_seconds_spent
        if experiment.cached:
            self.cached += experiment.device_seconds_charged
        if experiment.ok:
            self._seen[experiment.fraction].append(experiment.device_seconds_charged)

    def use_sandbox(self, seconds: float) -> None:
        """Charge an agent's use outside its experiments, given its total device-seconds since the run began."""
        more = max(0.0, seconds - self.sandbox)
        self.sandbox += more
        self.charged += more
        self.spent += more

    def expected(self, fraction: float = 1.0) -> float:
        """Expected charge: the mean at this fraction so far, else derived from a full experiment."""
        if seen := self._seen.get(fraction):
            return sum(seen) / len(seen)
        full = self.prior if fraction == 1.0 else self.expected(1.0)
        return max(full * fraction, full - (1.0 - fraction) * self.soft)

    def affords(self, seconds: float) -> bool:
        return self.remaining + EPSILON >= seconds

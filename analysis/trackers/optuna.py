"""Optuna: one study for each run in a SQLite storage, its experiments as trials with the constants that they set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.trackers.contract import Step, TrackedRun, Tracker, local
from trainer.constants import is_number
from trainer.edits import Value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


class OptunaStorage(Tracker):
    def __init__(self, folder: Path) -> None:
        import optuna

        folder.mkdir(parents=True, exist_ok=True)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.url = f"sqlite:///{folder.resolve() / 'optuna.db'}"
        self.where = f"optuna-dashboard {self.url}"
        self._storage = optuna.storages.RDBStorage(self.url)
        self._project, self._steps = "", dict[str, list[Step]]()

    def owner(self, project: str) -> str | None:
        for summary in self._storage.get_all_studies():
            if summary.study_name.startswith(f"{project} "):
                return str(summary.user_attrs.get("study", ""))
        return None

    def begin(self, project: str, study_id: str) -> None:
        self._project = project

    def start(self, run: TrackedRun) -> None:
        self._steps.setdefault(run.run_id, [])

    def log(self, run: TrackedRun, steps: Sequence[Step]) -> None:
        self._steps[run.run_id] += steps  # the ranges of the constants are known at the end

    def end(self, run: TrackedRun) -> None:
        import optuna

        steps = self._steps[run.run_id]
        directions = optuna.study.StudyDirection
        direction = directions.MAXIMIZE if run.settings.get("direction") == "higher" else directions.MINIMIZE
        name = f"{self._project} {run.name}"
        made = optuna.create_study(storage=self._storage, study_name=name, direction=direction, load_if_exists=True)
        for key, value in {**run.settings, **run.figures, **run.facts}.items():
            made.set_user_attr(key, value)
        ranges = distributions(steps)
        made.add_trials([_trial(step, ranges) for step in steps[len(made.trials) :]])

    def close(self) -> None:
        self._storage.remove_session()


def distributions(steps: Sequence[Step]) -> dict[str, BaseDistribution]:
    """The range of each constant over the steps that have it: numbers between the smallest and the largest, else the
    values themselves."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    seen: dict[str, list[Value]] = {}
    for step in steps:
        for key, value in step.config.items():
            seen.setdefault(key, []).append(value)
    made: dict[str, BaseDistribution] = {}
    for key, values in seen.items():
        numbers = [value for value in values if is_number(value)]
        if len(numbers) == len(values):
            made[key] = FloatDistribution(min(numbers), max(numbers))
        elif all(value is None or isinstance(value, bool | int | float | str) for value in values):
            made[key] = CategoricalDistribution(list(dict.fromkeys(values)))
    return made


def _trial(step: Step, ranges: Mapping[str, BaseDistribution]) -> Any:
    import optuna

    states = optuna.trial.TrialState
    short = states.PRUNED if "metric_screening" in step.values else states.FAIL
    at = local(step.at)
    return optuna.trial.FrozenTrial(
        number=-1,
        trial_id=-1,
        state=states.COMPLETE if "metric" in step.values else short,
        value=step.values.get("metric"),
        params={key: value for key, value in step.config.items() if key in ranges},
        distributions={key: ranges[key] for key in step.config if key in ranges},
        user_attrs={
            **step.values,
            "number": step.number,
            "status": step.status,
            "decision": step.decision,
            "description": step.description,
        },
        system_attrs={},
        intermediate_values={},
        datetime_start=at,
        datetime_complete=at,
    )


def make(folder: Path) -> OptunaStorage:
    return OptunaStorage(folder)

"""What a command will cost: its runs on each task, their device time, and the time by the clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from arena.study.settings import StudyConfig
from arena.study.setup import RunCost
from arena.work import sandbox
from inner_loop.researchers import turn_size
from meta.kinds.looks import PlannedLooks, planned_looks
from programs.common.errors import UsageError
from trainer.task import Task

OVERHEAD = 1.25  # CPU-seconds of a whole study over its device-seconds: 1.32 of a quick one, 1.19 of a default one
SETUP = 6.0  # start of the workers and the data of a new study, wall seconds
COMMAND_SECONDS = 0.1  # start and end of a command's sandbox, wall seconds, not charged
LAW_SECONDS = 0.003  # a simulated experiment with its records, wall seconds
BEFORE_TURNS = 6  # trainings before the first of the planned turns, with a reserve for slow ones
FREE = "no cost: this machine, no model is called"
WHOLE = "its command takes no budget, so a program with `screen` gives every candidate a full experiment"


@dataclass(frozen=True)
class Work:
    """Equal runs on one task. ``use``: held out, where it is; ``device_seconds``: with the verification of results."""

    task: str
    use: str
    runs: int
    experiments: int  # of a run
    run_budget_s: float
    device_seconds: float

    @classmethod
    def of(cls, cost: RunCost, runs: int, device_seconds: float | None = None, use: str = "") -> Work:
        """``device_seconds``: where they are not those of equal runs and their baselines."""
        seconds = cost.seconds(runs) if device_seconds is None else device_seconds
        return cls(cost.task.name, use, runs, cost.experiments, cost.run_budget, seconds)


@dataclass(frozen=True)
class Cost:
    """``facts``: what is said before the start, by name; ``details``: what only ``--dry-run`` says; ``stages``: of an
    evolution, with their programs and runs; ``plan``: its numbers; ``looks``: at the rows of each task with a command.
    """

    works: Sequence[Work]
    workers: int
    wall_seconds: float
    devices_per_run: int = 1
    harvest: int = 0  # experiments on each task of the search
    facts: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    stages: Sequence[Mapping[str, str]] = ()
    plan: Mapping[str, Any] = field(default_factory=dict)
    looks: Sequence[PlannedLooks] = ()

    @classmethod
    def of(cls, task: Task, works: Sequence[Work], workers: int, devices: int, sandboxed: bool, **more: Any) -> Cost:
        """Of works of which ``task`` is the first."""
        cost = cls(works, workers, 0.0, devices, **more)
        wall = seconds_of(works) / min(workers, max(cost.runs, 1)) * OVERHEAD + SETUP
        wall += COMMAND_SECONDS * cost.experiments / workers if task.run is not None else 0.0
        if not sandbox.runs_code(task):
            workers, wall = 1, 1.0 + LAW_SECONDS * cost.experiments
        cost = replace(cost, workers=workers, wall_seconds=round(wall, 1))
        return cost.with_facts(price=FREE).with_details(sandbox=sandbox.said(task, sandboxed))

    def with_facts(self, **facts: str) -> Cost:
        """With these facts, those that are empty apart."""
        return replace(self, facts={**self.facts, **{name: text for name, text in facts.items() if text}})

    def with_details(self, **details: Any) -> Cost:
        return replace(self, details={**self.details, **details})

    @property
    def runs(self) -> int:
        return sum(work.runs for work in self.works)

    @property
    def experiments(self) -> int:
        return sum(work.runs * work.experiments for work in self.works)

    @property
    def device_seconds(self) -> float:
        return round(seconds_of(self.works), 1)

    @property
    def charged(self) -> float:
        """Device-seconds that will be charged to the runs, without their verification."""
        return sum(work.runs * work.run_budget_s for work in self.works)

    def record(self) -> dict[str, Any]:
        """As JSON."""
        whole = {
            "task": ", ".join(work.task for work in self.works if not work.use), "runs": self.runs,
            "experiments": self.experiments, "device_seconds": self.device_seconds,
            "charged_seconds": round(self.charged, 1), "wall_seconds": self.wall_seconds, "workers": self.workers,
            "devices_per_run": self.devices_per_run, "works": [rounded(asdict(work)) for work in self.works],
        }  # fmt: skip
        looks = {"looks": [rounded(asdict(each)) for each in self.looks]} if self.looks else {}
        more = {"harvest_experiments": self.harvest, "stages": list(self.stages), "plan": self.plan}
        return {**whole, **self.facts, **looks, **self.details, **{key: value for key, value in more.items() if value}}


def looks_of(tasks: Sequence[Task], works: Sequence[Work], seeds: int, harvest: int = 0) -> list[PlannedLooks]:
    """At the rows of each task whose metric lacks their noise. ``seeds``: with which each final script is trained;
    ``harvest``: experiments of the last search on each task."""
    experiments = [sum(w.runs * w.experiments for w in works if w.task == task.name and not w.use) for task in tasks]
    looks = [planned_looks(task, n + harvest, seeds) for task, n in zip(tasks, experiments, strict=True)]
    return [look for look in looks if look is not None]


def rounded(work: Mapping[str, Any]) -> dict[str, Any]:
    return {name: round(value, 6) if isinstance(value, float) else value for name, value in work.items()}


def seconds_of(works: Sequence[Work]) -> float:
    """Device-seconds."""
    return sum(work.device_seconds for work in works)


def study_cost(config: StudyConfig, tasks: Sequence[Task], works: Sequence[Work], seeds: int, **more: Any) -> Cost:
    """Of a study, whether it exists or not; the first ``works`` are those on ``tasks``, its tasks of the search.
    ``seeds``: with which each final script is trained; ``more``: other fields of a `Cost`. Raises UsageError where a
    run's budget is too small for one experiment on a task."""
    for task, work in zip(tasks, works, strict=False):
        refuse_small(task, work.run_budget_s, config.fixed_steps)
    cost = Cost.of(tasks[0], works, config.workers, config.devices, config.sandbox, **more)
    cost = replace(cost, looks=looks_of(tasks, works, seeds, cost.harvest))
    is_whole = tasks[0].run is not None and not tasks[0].scales
    return cost.with_facts(screens=f"{tasks[0].name}: {WHOLE}" if is_whole else "")


def training_seconds(task: Task, fixed_steps: bool) -> float:
    """Device-seconds that a training of the untouched script is charged."""
    return task.steps * task.seconds_per_step if fixed_steps else task.cost_seconds


def seconds_of_turns(task: Task, fixed_steps: bool, researcher: str, turns: int) -> float:
    """Device-seconds of a night with so many planned turns, at most: all experiments of each trained twice, and what it
    begins with."""
    return (2 * turns * turn_size(researcher) + BEFORE_TURNS) * training_seconds(task, fixed_steps)


def refuse_small(task: Task, run_budget: float, fixed_steps: bool) -> None:
    """Raise UsageError where a run's budget (device-seconds) is too small for the baseline's experiment."""
    seconds = training_seconds(task, fixed_steps)
    if run_budget < seconds * (1 - 1e-9):
        raise UsageError(
            f"a run budget of {run_budget:g} s is too small for an experiment of {task.name}, which takes "
            f"{seconds:.3g} s",
            hint=f"--run-budget {seconds * 2:.2g}s or more; the task's default is {task.run_budget:.3g}s",
        )

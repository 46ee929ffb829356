"""A new study before it exists: its settings, and what runs cost."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from pydantic import JsonValue

from arena.study.settings import FromStudy, FurtherTask, HeldOutTask, StudyConfig, UsedKnowledge, Versions
from arena.work.choice import hardware_of_jobs
from arena.work.sandbox import holds
from inner_loop.run_context import ModelConfig
from programs.common.distribution import VERSION
from programs.common.errors import UsageError
from programs.common.ids import content_id
from programs.program import Program
from trainer.streams import Streams
from trainer.task import Task

BASELINE_SEEDS = 8
VERIFY_SEEDS = 2
CONFIRM_SEEDS = 4  # of runs that decide a claim
FINALISTS, CHOOSING_SEEDS, FRESH_SEEDS = 4, 3, 8  # of the harvest (`arena.after.harvest`)
LEAST_HARVEST = FINALISTS * CHOOSING_SEEDS + FRESH_SEEDS + 8  # its experiments, 8 of them of the search


@dataclass(frozen=True)
class RunCost:
    """Device-seconds of runs on one task: the budget of each, and the trainings by which the arena verifies it."""

    task: Task
    run_budget: float
    verify_seeds: int = VERIFY_SEEDS
    baseline_seeds: int = BASELINE_SEEDS

    @classmethod
    def of(cls, config: StudyConfig, task: Task) -> RunCost:
        """Of the runs of a study on ``task``, for which the budget of ``config`` is."""
        return cls(task, config.run_budget, config.verify_seeds, config.baseline_seeds)

    def on(self, task: Task) -> RunCost:
        """As many experiments on another task."""
        return replace(self, task=task, run_budget=self.run_budget / self.task.cost_seconds * task.cost_seconds)

    @property
    def run(self) -> float:
        return self.run_budget + self.verify_seeds * self.task.cost_seconds

    @property
    def experiments(self) -> int:
        """Of a run."""
        return max(1, int(self.run_budget / self.task.cost_seconds))

    def seconds(self, runs: int, trainings: int | None = None) -> float:
        """Of ``runs`` runs, and of ``trainings`` that belong to no run (default: those of the baseline)."""
        trainings = self.baseline_seeds if trainings is None else trainings
        return runs * self.run_budget + (runs * self.verify_seeds + trainings) * self.task.cost_seconds

    def runs_within(self, seconds: float) -> int:
        return max(0, int((seconds - self.baseline_seeds * self.task.cost_seconds) / self.run + 1e-9))


@dataclass(frozen=True)
class StudySetup:
    """The settings of a new study. ``run_budget`` in device-seconds, of a run on the first task.

    ``plan`` is what its kind needs to go on with it; ``further`` tasks are played on like the first, those in
    ``held_out`` once, at the end; ``line``: the command line, for the record.
    """

    kind: str
    task: Task
    run_budget: float
    workers: int = 1
    devices: int = 1
    seed: int | None = None
    fixed_steps: bool = False
    researcher: str = "scripted"
    plan: Mapping[str, JsonValue] = field(default_factory=dict)
    programs: Sequence[Program] = ()
    verify_seeds: int = VERIFY_SEEDS
    baseline_seeds: int = BASELINE_SEEDS
    confirm_seeds: int | None = None
    sandbox: bool = True
    confined: bool | None = None  # whether the task's data.py, which comes from a stranger, runs in a sandbox
    further: Sequence[FurtherTask] = ()
    held_out: Sequence[HeldOutTask] = ()
    model_config: ModelConfig | None = None
    meta_program: tuple[str, str] | None = None
    from_study: FromStudy | None = None
    start: Sequence[tuple[str, str]] = ()
    knowledge: UsedKnowledge | None = None
    line: str = ""
    held_secret: str = ""

    def config(self) -> StudyConfig:
        """As study.toml holds it, with a new secret, or that of the seed."""
        streams = Streams.fresh() if self.seed is None else Streams.from_seed(self.seed)
        created = datetime.now(UTC).isoformat(timespec="seconds")
        others = [Task.load(entry.task) for entry in (*self.further, *self.held_out)]
        return StudyConfig(
            study_id=content_id("y", streams.secret, created if self.seed is None else "seeded"),
            created_at=created,
            kind=self.kind,
            task=reference(self.task),
            task_id=self.task.task_id,
            run_budget=self.run_budget,
            further=[*self.further],
            held_out=[*self.held_out],
            verify_seeds=self.verify_seeds,
            baseline_seeds=self.baseline_seeds,
            confirm_seeds=self.confirm_seeds,
            workers=self.workers,
            devices=self.devices,
            fixed_steps=self.fixed_steps,
            sandbox=all(holds(entry, self.sandbox) for entry in (self.task, *others)),
            confined=self.confined,
            researcher=self.researcher,
            llm=self.model_config or ModelConfig(),
            meta_program=self.meta_program,
            from_study=self.from_study,
            start=[*self.start],
            knowledge=self.knowledge,
            seed=self.seed,
            secret=streams.secret.hex(),
            held_secret=self.held_secret,
            hardware_class=hardware_of_jobs(self.task.device),
            versions=versions(),
            plan=dict(self.plan),
            line=self.line,
            programs=[(program.name, program.document) for program in self.programs],
        )


def require_free(folder: Path) -> None:
    """Raise UsageError where no study can be created."""
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise UsageError(f"{str(folder)!r} is not UTF-8", hint="name another folder with --study") from None
    if folder.is_file():
        raise UsageError(f"{folder} is a file", hint="name another folder with --study")
    # a creation that was interrupted leaves study.partial
    if folder.exists() and {path.name for path in folder.iterdir()} - {"study.partial"}:
        raise UsageError(f"{folder} exists and is not a study", hint="name another folder with --study")


def reference(task: Task) -> str:
    """How study.toml names a task: a built-in by name, another by its absolute folder."""
    from trainer.task import builtin_tasks

    builtin = task.name in builtin_tasks() and Task.load(task.name).task_id == task.task_id
    return task.name if builtin else str(task.folder.resolve())


def beside(first: Task, run_budget: float, others: Sequence[Task]) -> list[FurtherTask]:
    """Other tasks as study.toml names them. The budget scales, so that a run has as many experiments on each task."""
    cost = RunCost(first, run_budget)
    return [FurtherTask(task=reference(t), task_id=t.task_id, run_budget=cost.on(t).run_budget) for t in others]


def held_out_tasks(first: Task, run_budget: float, tasks: Sequence[Task], tested: bool) -> list[HeldOutTask]:
    """Held-out tasks as study.toml names them; see `beside`."""
    return [HeldOutTask(**dict(each), tested=tested) for each in beside(first, run_budget, tasks)]


def versions() -> Versions:
    return Versions(metaloop=VERSION, python=platform.python_version(), torch=version("torch"))

"""Creates the folder of a contest: study, rules, database with the controls."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from arena.contest import accounts
from arena.contest.contest import Contest
from arena.contest.database import Database
from arena.contest.entries import store
from arena.contest.race import MOST_LEADERS, looks_until
from arena.contest.rules import rules_text
from arena.contest.settings import MARK, RULES, ContestConfig, hidden_hash, hidden_runs, text_hash
from arena.scratch import secret_hash
from arena.settings import Reserved
from arena.setup import RunCost, StudySetup, beside
from arena.study import Study
from inner_loop.run_context import ModelConfig
from programs.errors import UsageError
from programs.ids import content_id
from programs.shelf import starter
from trainer.task import Task

SCREEN_SHARE, SCREEN_LEAST = 0.1, 3.5  # of a run's budget; experiments that must fit


@dataclass(frozen=True)
class ContestOptions:
    """The options of `contest init`."""

    title: str
    task: Task
    opens: datetime
    closes: datetime
    run_budget: float
    runs: int
    confirm_runs: int
    entries_per_person: int
    sealed: bool
    join_open: bool
    workers: int
    fixed_steps: bool
    sandbox: bool
    hidden: tuple[Task, ...] = ()
    devices: int = 1  # of one run
    further: tuple[Task, ...] = ()  # visible, beside ``task``
    researcher: str = "scripted"
    models: ModelConfig = field(default_factory=ModelConfig)
    contact: str = ""

    @property
    def run_seconds(self) -> float:
        """Device-seconds of a run on every task, verification included."""
        return self._seconds((self.task, *self.further))

    @property
    def hidden_seconds(self) -> float:
        """Device-seconds of all runs of one leader on the hidden tasks."""
        return hidden_runs(self.runs, self.confirm_runs) * self._seconds(self.hidden)

    def _seconds(self, tasks: Sequence[Task]) -> float:
        return sum(RunCost(self.task, self.run_budget).on(task).run for task in tasks)


@dataclass(frozen=True)
class NewContest:
    """A new contest with the host token and the join code, which are shown once."""

    contest: Contest
    admin_token: str
    join_code: str


def create_contest(folder: Path, options: ContestOptions) -> NewContest:
    """Write study, rules and database, then contest.toml: a folder without it is not a contest."""
    further, hidden = checked_options(folder, options)
    setup = StudySetup(
        "contest",
        options.task,
        options.run_budget,
        workers=options.workers,
        devices=options.devices,
        fixed_steps=options.fixed_steps,
        researcher=options.researcher,
        plan={"seeds": options.runs, "confirm": options.confirm_runs},
        sandbox=options.sandbox,
        further=further,
        reserve=hidden,
        model_config=options.models,
    )
    study = Study.create(folder, setup)
    config = config_of(study, options)
    text = rules_text(config, study.config, [study.task, *options.further])
    (folder / RULES).write_text(text, encoding="utf-8")
    database = Database(folder)
    database.create()
    admin, code = accounts.create_tokens(database)
    with database.write() as connection:
        for role in ("control", "a/a"):
            store(connection, config, starter("stock"), role=role)
    config = config.model_copy(update={"rules_hash": text_hash(text.encode())})
    config.dump(folder)
    return NewContest(Contest(folder, config, study.config, database), admin, code)


def checked_options(folder: Path, options: ContestOptions) -> tuple[list[Reserved], list[Reserved]]:
    """The further and the hidden tasks. Raises UsageError where no contest can be created; writes nothing."""
    if options.closes <= options.opens:
        raise UsageError("--closes must be after --opens", hint="--closes 7d means seven days after the opening")
    refuse_public((options.task, *options.further, *options.hidden))
    refuse_taken(folder)
    return other_tasks(options)


def refuse_public(tasks: Sequence[Task]) -> None:
    """Raises UsageError for a task whose hidden data entrants can read."""
    if public := next((task for task in tasks if task.public), None):
        raise UsageError(
            f"task {public.name} cannot be used in a contest: its hidden text is public",
            hint="choose a task whose data are generated from the contest's secret, e.g. tinylm",
        )


def refuse_taken(folder: Path) -> None:
    """Raises UsageError unless the folder is new, empty, or left by an interrupted creation."""
    if (folder / MARK).exists():
        quoted = shlex.quote(str(folder))
        raise UsageError(f"{folder} is a contest already", hint=f"metaloop contest serve {quoted} continues it")
    if folder.is_file():
        raise UsageError(f"{folder} is a file", hint="name a new folder")
    if folder.exists() and {path.name for path in folder.iterdir()} - {"study.partial"}:
        raise UsageError(f"{folder} is not empty", hint="name a new folder")


def other_tasks(options: ContestOptions) -> tuple[list[Reserved], list[Reserved]]:
    """The further and the hidden tasks for study.toml; their budgets allow as many experiments as on the first task.

    Raises UsageError for two tasks of one name.
    """
    names = [task.name for task in (options.task, *options.further, *options.hidden)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"task {twice[0]} is named twice", hint="--task and --hidden take tasks of different names")
    home, budget = options.task, options.run_budget
    return beside(home, budget, options.further), beside(home, budget, options.hidden)


def config_of(study: Study, options: ContestOptions) -> ContestConfig:
    cost = study.task.steps * study.task.seconds_per_step if options.fixed_steps else study.task.cost_seconds
    screen = min(options.run_budget, max(SCREEN_SHARE * options.run_budget, SCREEN_LEAST * cost))
    hidden = [task.name for task in options.hidden]
    return ContestConfig(
        contest_id=content_id("k", study.config.study_id, options.title),
        title=options.title,
        task=study.config.task,
        further=[task.name for task in options.further],
        opens=options.opens,
        closes=options.closes,
        run_budget=options.run_budget,
        screen_budget=math.ceil(screen * 1000) / 1000,
        runs=options.runs,
        confirm_runs=options.confirm_runs,
        looks=looks_until(options.confirm_runs),
        most_leaders=MOST_LEADERS,
        entries_per_person=options.entries_per_person,
        sealed=options.sealed,
        join="open" if options.join_open else "code",
        contact=options.contact,
        secret_hash=secret_hash(study.streams),
        hidden=len(hidden),
        hidden_hash=hidden_hash(study.streams.secret, hidden) if hidden else "",
    )

"""How a contest's folder is created: study, rules, database with the controls in it."""

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
from arena.contest.rules import rules_text
from arena.contest.settings import MARK, RULES, ContestConfig, hidden_hash, text_hash
from arena.scratch import secret_hash
from arena.settings import Reserved
from arena.study import Study, beside
from inner_loop.run_context import ModelConfig
from programs.errors import UsageError
from programs.ids import content_id
from programs.shelf import starter
from trainer.task import Task

SCREEN_SHARE, SCREEN_LEAST = 0.1, 3.5  # of a run's budget; experiments that must fit


@dataclass(frozen=True)
class ContestOptions:
    """What the host asks for at `contest init`."""

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
    staff: ModelConfig = field(default_factory=ModelConfig)


@dataclass(frozen=True)
class NewContest:
    """A new contest with what is told once: the host's token and the code to join with."""

    contest: Contest
    admin_token: str
    join_code: str


def create_contest(folder: Path, options: ContestOptions) -> NewContest:
    """Make the folder: study, rules, database with the controls in it; contest.toml last, which makes it a contest."""
    if options.closes <= options.opens:
        raise UsageError("--closes is not after --opens", hint="--closes 7d means seven days after the opening")
    refuse_public((options.task, *options.further, *options.hidden))
    away = other_tasks(options)
    refuse_taken(folder)
    study = Study.create(
        folder, task=options.task, run_budget=options.run_budget, command="contest", workers=options.workers,
        devices=options.devices, fixed_steps=options.fixed_steps, sandbox=options.sandbox,
        plan={"seeds": options.runs, "confirm": options.confirm_runs}, further=away["further"],
        reserve=away["reserve"], researcher=options.researcher, staff=options.staff,
    )  # fmt: skip
    config = config_of(study, options)
    text = rules_text(config, study.config, [study.task, *options.further])
    (folder / RULES).write_text(text, encoding="utf-8")
    database = Database(folder)
    database.create()
    admin, code = accounts.found(database)
    with database.write() as connection:
        for role in ("control", "a/a"):
            store(connection, config, starter("stock"), role=role)
    config = config.model_copy(update={"rules_hash": text_hash(text.encode())})
    config.dump(folder)
    return NewContest(Contest(folder, config, study.config, database), admin, code)


def refuse_public(tasks: Sequence[Task]) -> None:
    """Raises UsageError for a task whose hidden data an entrant has at hand: its score would show who looked."""
    if public := next((task for task in tasks if task.public), None):
        raise UsageError(
            f"task {public.name} can decide no contest: its hidden text is at hand on every machine",
            hint="take one whose data come from the contest's secret, e.g. tinylm; a study may use this one",
        )


def refuse_taken(folder: Path) -> None:
    """Raises UsageError for a folder that holds anything but what a founding that was cut off has left."""
    if (folder / MARK).exists():
        place = shlex.quote(str(folder))
        raise UsageError(f"{folder} is a contest already", hint=f"metaloop contest serve {place} goes on")
    if folder.is_file():
        raise UsageError(f"{folder} is a file", hint="name a new folder")
    if folder.exists() and {path.name for path in folder.iterdir()} - {"study.partial"}:
        raise UsageError(f"{folder} is not empty", hint="a contest begins in a new folder: name another")


def other_tasks(options: ContestOptions) -> dict[str, list[Reserved]]:
    """The further and the hidden tasks as study.toml names them; a run there has as many experiments as at home.

    Raises UsageError for two tasks of one name.
    """
    names = [task.name for task in (options.task, *options.further, *options.hidden)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"task {twice[0]} is named twice", hint="--task and --hidden take tasks of different names")
    home, budget = options.task, options.run_budget
    return {"further": beside(home, budget, options.further), "reserve": beside(home, budget, options.hidden)}


def config_of(study: Study, options: ContestOptions) -> ContestConfig:
    cost = study.task.steps * study.task.seconds_per_step if options.fixed_steps else study.task.cost_seconds
    screen = min(options.run_budget, max(SCREEN_SHARE * options.run_budget, SCREEN_LEAST * cost))
    hidden = [task.name for task in options.hidden]
    return ContestConfig(
        contest_id=content_id("k", study.config.study_id, options.title), title=options.title, task=study.config.task,
        further=[task.name for task in options.further],
        opens=options.opens, closes=options.closes, run_budget=options.run_budget,
        screen_budget=math.ceil(screen * 1000) / 1000, runs=options.runs, confirm_runs=options.confirm_runs,
        entries_per_person=options.entries_per_person, sealed=options.sealed,
        join="open" if options.join_open else "code", secret_hash=secret_hash(study.streams), hidden=len(hidden),
        hidden_hash=hidden_hash(study.streams.secret, hidden) if hidden else "",
    )  # fmt: skip

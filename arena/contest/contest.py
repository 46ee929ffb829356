"""A contest on disk: one folder that is a study too, with its rules and its database."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from arena.contest import accounts
from arena.contest.database import Database
from arena.contest.entries import store
from arena.contest.queue import Costs
from arena.contest.rules import rules_text
from arena.contest.settings import MARK, RULES, ContestConfig, Phase, hidden_hash, text_hash, utc_now
from arena.scratch import secret_hash
from arena.settings import Reserved, StudyConfig
from arena.study import Study, beside
from inner_loop.kit import Staff
from programs.errors import Corrupt, UsageError
from programs.ids import content_id
from programs.shelf import starter
from trainer.task import Task

SCREEN_SHARE, SCREEN_LEAST = 0.1, 3.5  # of a run's budget; experiments that must fit


@dataclass(frozen=True)
class Contest:
    """The folder, opened. Holds no lock: whoever carries out runs holds that of the study."""

    folder: Path
    config: ContestConfig
    study: StudyConfig
    database: Database

    @classmethod
    def open(cls, folder: Path) -> Contest:
        """Raises NotFound, or Corrupt where config, rules and study do not belong together."""
        config = ContestConfig.read(folder)
        study = StudyConfig.read(folder / "study.toml")
        if secret_hash(study.streams) != config.secret_hash:
            hint = "restore study.toml from a copy"
            raise Corrupt(f"{folder}/study.toml: not the secret that {MARK} committed to", hint=hint)
        database = Database(folder)
        if not database.path.is_file():
            raise Corrupt(f"{database.path} is missing", hint="restore it from a copy: it holds the entries")
        database.complete()
        return cls(folder, config, study, database)

    def phase(self, now: datetime | None = None) -> Phase:
        state = self.database.fact("state")
        asked, deciding, decided = (bool(state.get(key)) for key in ("close_asked", "deciding", "decided"))
        return self.config.phase(now or utc_now(), asked, deciding, decided)

    def state(self, **changes: Any) -> Mapping[str, Any]:
        """What has been asked and done so far, with ``changes`` taken in."""
        state = self.database.fact("state")
        if changes:
            state |= changes
            self.database.tell("state", **state)
        return state

    @property
    def task(self) -> Task:
        """The first; the only one that entries are screened on."""
        return Task.load(self.study.task)

    @cached_property
    def tasks(self) -> list[Task]:
        """All that entries are ranked on, the first first."""
        return [self.task, *(Task.load(away.task) for away in self.study.further)]

    @property
    def hidden(self) -> list[Task]:
        """Where the leaders run after the decision; secret until then."""
        return [Task.load(away.task) for away in self.study.reserve]

    @property
    def costs(self) -> Costs:
        """Device-seconds of a screening and of a run. Entries go round the tasks: a run counts as the tasks' mean."""
        budgets = [self.config.run_budget, *(away.run_budget for away in self.study.further)]
        return Costs(self.config.screen_budget, math.fsum(budgets) / len(budgets))


@dataclass(frozen=True)
class Wishes:
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
    staff: Staff = field(default_factory=Staff)


@dataclass(frozen=True)
class Founded:
    """A new contest with what is told once: the host's token and the code to join with."""

    contest: Contest
    admin_token: str
    join_code: str


def found(folder: Path, wishes: Wishes) -> Founded:
    """Make the folder: study, rules, database with the controls in it; contest.toml last, which makes it a contest."""
    if wishes.closes <= wishes.opens:
        raise UsageError("--closes is not after --opens", hint="--closes 7d means seven days after the opening")
    refuse_public((wishes.task, *wishes.further, *wishes.hidden))
    away = elsewhere(wishes)
    refuse_taken(folder)
    study = Study.create(
        folder, task=wishes.task, run_budget=wishes.run_budget, command="contest", workers=wishes.workers,
        devices=wishes.devices, fixed_steps=wishes.fixed_steps, sandbox=wishes.sandbox,
        plan={"seeds": wishes.runs, "confirm": wishes.confirm_runs}, further=away["further"],
        reserve=away["reserve"], researcher=wishes.researcher, staff=wishes.staff,
    )  # fmt: skip
    config = config_of(study, wishes)
    text = rules_text(config, study.config, [study.task, *wishes.further])
    (folder / RULES).write_text(text, encoding="utf-8")
    database = Database(folder)
    database.create()
    admin, code = accounts.found(database)
    with database.write() as connection:
        for role in ("control", "a/a"):
            store(connection, config, starter("stock"), role=role)
    config = config.model_copy(update={"rules_hash": text_hash(text.encode())})
    config.dump(folder)
    return Founded(Contest(folder, config, study.config, database), admin, code)


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


def elsewhere(wishes: Wishes) -> dict[str, list[Reserved]]:
    """The further and the hidden tasks as study.toml names them; a run there has as many experiments as at home.

    Raises UsageError for two tasks of one name.
    """
    names = [task.name for task in (wishes.task, *wishes.further, *wishes.hidden)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"task {twice[0]} is named twice", hint="--task and --hidden take tasks of different names")
    home, budget = wishes.task, wishes.run_budget
    return {"further": beside(home, budget, wishes.further), "reserve": beside(home, budget, wishes.hidden)}


def config_of(study: Study, wishes: Wishes) -> ContestConfig:
    cost = study.task.steps * study.task.seconds_per_step if wishes.fixed_steps else study.task.cost_seconds
    screen = min(wishes.run_budget, max(SCREEN_SHARE * wishes.run_budget, SCREEN_LEAST * cost))
    return ContestConfig(
        contest_id=content_id("k", study.config.study_id, wishes.title), title=wishes.title, task=study.config.task,
        further=[task.name for task in wishes.further],
        opens=wishes.opens, closes=wishes.closes, run_budget=wishes.run_budget,
        screen_budget=math.ceil(screen * 1000) / 1000, runs=wishes.runs, confirm_runs=wishes.confirm_runs,
        entries_per_person=wishes.entries_per_person, sealed=wishes.sealed,
        join="open" if wishes.join_open else "code", secret_hash=secret_hash(study.streams), hidden=len(wishes.hidden),
        hidden_hash=hidden_hash(study.streams.secret, [task.name for task in wishes.hidden]) if wishes.hidden else "",
    )  # fmt: skip

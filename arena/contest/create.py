"""Creates the folder of a contest: study, rules, database with the controls."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.wording import duration, many
from arena.audit.scratch import secret_hash
from arena.contest.contest import Contest
from arena.contest.entering import accounts
from arena.contest.entering.entries import store
from arena.contest.ranking.race import MOST_LEADERS, looks_until
from arena.contest.settings import MARK, RULES, ContestConfig, text_hash
from arena.contest.tables import ContestDatabase
from arena.serving.clock import shown
from arena.study.setup import RunCost, StudySetup
from arena.study.study import Study
from inner_loop.behaviour import behaviour_id
from inner_loop.run_context import ModelConfig
from programs.common.errors import UsageError
from programs.common.ids import content_id
from programs.common.templates import jinja_environment
from programs.shelf import starter
from trainer.task import Task
from trainer.user_files import write_private

if TYPE_CHECKING:
    from jinja2 import Template

    from arena.study.settings import StudyConfig

MOST_ENTRIES = 1000  # of all people together
#: Options that are settings of contest.toml.
SETTINGS = (
    "title", "opens", "closes", "run_budget", "runs", "confirm_runs", "entries_per_person", "most_entries",
    "texts_after_close", "contact",
)  # fmt: skip
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
    join_open: bool
    workers: int
    fixed_steps: bool
    sandbox: bool
    devices: int = 1  # of one run
    researcher: str = "scripted"
    models: ModelConfig = field(default_factory=ModelConfig)
    contact: str = ""
    texts_after_close: bool = False
    most_entries: int = MOST_ENTRIES
    join_codes: int = 0  # for one person each; 0: one code for all

    @property
    def run_seconds(self) -> float:
        """Device-seconds of a run, verification included."""
        return RunCost(self.task, self.run_budget).run


@dataclass(frozen=True)
class NewContest:
    """A new contest with the host token, and the join code or the codes for one person each, which are shown once."""

    contest: Contest
    admin_token: str
    join_code: str
    join_codes: list[str]


def create_contest(folder: Path, options: ContestOptions) -> NewContest:
    """Write study, rules and database, then contest.toml: a folder without it is not a contest."""
    check_options(folder, options)
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
        model_config=options.models,
    )
    study = Study.create(folder, setup.config())
    config = config_of(study, options)
    text = rules_text(config, study.config, study.task)
    write_private(folder / RULES, text)
    database = ContestDatabase(folder)
    database.create()
    admin, code, codes = accounts.create_tokens(database, options.join_codes)
    with database.write() as connection:
        for role in ("control", "a/a"):
            stock = starter("stock")
            behaviour = behaviour_id(stock, study.task, study.config.researcher)
            store(connection, config, stock, role=role, behaviour=behaviour)
    config = config.model_copy(update={"rules_hash": text_hash(text.encode())})
    config.dump(folder)
    return NewContest(Contest(folder, config, study.config, database), admin, code, codes)


def check_options(folder: Path, options: ContestOptions) -> None:
    """Raises UsageError where no contest can be created; writes nothing."""
    if options.closes <= options.opens:
        raise UsageError("--closes must be after --opens", hint="--closes 7d means seven days after the opening")
    refuse_public(options.task)
    refuse_taken(folder)


def refuse_public(task: Task) -> None:
    """Raises UsageError for a task whose hidden data entrants can read."""
    if task.public:
        raise UsageError(
            f"task {task.name} cannot be used in a contest: its hidden data are public",
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


def config_of(study: Study, options: ContestOptions) -> ContestConfig:
    cost = study.task.steps * study.task.seconds_per_step if options.fixed_steps else study.task.cost_seconds
    screen = min(options.run_budget, max(SCREEN_SHARE * options.run_budget, SCREEN_LEAST * cost))
    return ContestConfig(
        **{name: getattr(options, name) for name in SETTINGS},
        contest_id=content_id("k", study.config.study_id, options.title),
        task=study.config.task,
        screen_budget=math.ceil(screen * 1000) / 1000,
        looks=looks_until(options.confirm_runs),
        most_leaders=MOST_LEADERS,
        join="open" if options.join_open else "code",
        secret_hash=secret_hash(study.streams),
    )


def rules_text(config: ContestConfig, study: StudyConfig, task: Task) -> str:
    """The text of the rules, with every number that the decision depends on."""
    return _template().render(contest=config, study=study, task=task, duration=duration, many=many, shown=shown)


@cache
def _template() -> Template:
    return jinja_environment(Path(__file__).with_name("templates"), whole=True).get_template("rules.md.j2")

"""The settings of a study in study.toml. They stay the same until its end."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from analysis.ledger import SCHEMA, schema_problem
from inner_loop.run_context import ModelConfig
from programs.common.bounded import toml_table
from programs.common.errors import Corrupt, Imported, NotComparable, NotFound
from programs.common.files import read_regular
from trainer.devices import MOST_DEVICES
from trainer.streams import DECIDING, Streams
from trainer.task import Task
from trainer.user_files import write_private

MOST_WORKERS = 256


class Versions(BaseModel):
    """Versions of what computed the numbers."""

    model_config = ConfigDict(frozen=True)

    metaloop: str
    python: str
    torch: str


class FurtherTask(BaseModel):
    """A task of a study after its first. run_budget in device-seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str
    task_id: str
    run_budget: float = Field(gt=0, allow_inf_nan=False)


class HeldOutTask(FurtherTask):
    """A task on which the champion runs once, at the end."""

    tested: bool = Field(default=True, description="else the champion's gain is only shown")


class FromStudy(BaseModel):
    """The past study that a study started from: its folder as it was named, the SHA-256 of the state of its ledger, the
    names of all tasks that were searched on up to its end, and its champion. ``origin``: the user's program from which
    the champion descends, of improve."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: str
    study_id: str
    ledger: str
    searched: list[str]
    program_id: str
    name: str
    origin: str | None = None


class UsedKnowledge(BaseModel):
    """What a study started from beside its programs: files of knowledge bases (their names carry the hash of their
    content), what was left out of them, and the program that holds what was learnt."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: list[str]
    families: list[str]
    tasks: int = Field(ge=1)
    without: list[str] = []
    program_id: str


class StudyConfig(BaseModel):
    """The config of a study. Times are device-seconds; the secret is 32 hex digits (128 bits)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_: int = Field(default=SCHEMA, alias="schema")
    study_id: str
    created_at: str
    kind: str
    task: str
    task_id: str
    run_budget: float = Field(gt=0, allow_inf_nan=False)
    further: list[FurtherTask] = Field(default_factory=list, description="every match is also played on these")
    held_out: list[HeldOutTask] = Field(default_factory=list)
    verify_seeds: int = Field(default=2, ge=1)
    confirm_seeds: int | None = Field(default=None, ge=1, description="instead, where arms are compared for good")
    baseline_seeds: int = Field(default=8, ge=2)
    researcher: str = "scripted"
    llm: ModelConfig = Field(default_factory=ModelConfig)
    workers: int = Field(default=1, ge=1, le=MOST_WORKERS)
    devices: int = Field(default=1, ge=1, le=MOST_DEVICES, description="of one run, for its waves")
    fixed_steps: bool = False
    sandbox: bool = False
    confined: bool | None = Field(default=None, description="whether the task's data.py runs in a sandbox")
    seed: int | None = None
    secret: str = Field(pattern=r"^[0-9a-f]{32}$")
    held_secret: str = Field(
        default="", pattern=r"^([0-9a-f]{32})?$", description="of the study before: it drew the rows that are held back"
    )
    hardware_class: str
    versions: Versions
    meta_program: tuple[str, str] | None = Field(
        default=None, description="name and text of the instruction for models that write programs"
    )
    from_study: FromStudy | None = Field(default=None, description="the past study whose champion is a starter")
    start: list[tuple[str, str]] = Field(default_factory=list, description="`main` of the night before: its files")
    knowledge: UsedKnowledge | None = Field(default=None, description="learnt on other tasks, as it was used")
    plan: dict[str, Any] = Field(default_factory=dict)
    line: str = Field(default="", description="the command line that created it, for the record")
    programs: list[tuple[str, str]] = Field(default_factory=list, description="name and text of the starters")

    def seeds_on(self, stream: str) -> int:
        """Number of fresh seeds that verify a run of a match on that stream."""
        return self.confirm_seeds if self.confirm_seeds and stream in DECIDING else self.verify_seeds

    def at(self, task_id: str) -> StudyConfig:
        """The config with the task and budget of one of its tasks; empty is the first. Raises NotFound."""
        if task_id in ("", self.task_id):
            return self
        other = next((entry for entry in self.others if entry.task_id == task_id), None)
        if other is None:
            raise NotFound(f"this study has no task {task_id!r}"[:80], hint="study.toml names its tasks")
        return self.model_copy(update={name: getattr(other, name) for name in FurtherTask.model_fields})

    def loaded_task(self) -> Task:
        """The task. Raises NotComparable where its files are no longer those that the study was made on."""
        task = Task.load(self.task)
        if task.task_id != self.task_id:
            raise NotComparable(
                f"task {self.task} is now {task.task_id}, this study was made on {self.task_id}"
                f"{task.newer_files(self.created_at)}",
                hint="restore the task's files, or start a new study",
                ids=[self.task_id, task.task_id],
            )
        return task

    @property
    def others(self) -> list[FurtherTask]:
        """All tasks after the first."""
        return [*self.further, *self.held_out]

    @property
    def streams(self) -> Streams:
        return Streams(bytes.fromhex(self.secret), bytes.fromhex(self.held_secret))

    def dump(self, path: Path) -> None:
        """Write study.toml atomically, readable by its owner only, for its secret."""
        body = self.model_dump(by_alias=True, exclude_none=True)
        body["plan"] = {k: v for k, v in body["plan"].items() if v is not None}
        partial = path.with_suffix(".partial")
        write_private(partial, tomli_w.dumps(body))
        partial.replace(path)

    @classmethod
    def read(cls, path: Path) -> StudyConfig:
        """Raises NotFound where there is no study, Corrupt where study.toml is unusable, NotComparable: an import."""
        if not path.is_file():
            raise NotFound(
                f"{path.parent} is not a study: it has no study.toml",
                hint="name a study folder, or start one: metaloop evolve --quick",
            )
        try:
            body = toml_table(read_regular(path).decode())
        except ValueError as error:
            raise Corrupt(f"{path}: {error}", hint="restore study.toml from a copy; the ledger is untouched") from None
        if body.get("kind") == "import":
            raise Imported(
                f"{path.parent} contains imported logs; nothing can run in it",
                hint=f"metaloop status {shlex.quote(str(path.parent))} shows it; metaloop evolve starts a study",
            )
        if body.get("schema") != SCHEMA:
            raise schema_problem(path, body.get("schema"))
        try:
            return cls.model_validate(body)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise Corrupt(f"{path}: {where}: {first['msg']}", hint="restore study.toml from a copy") from None

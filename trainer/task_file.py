"""Reads task.toml: its sections as pydantic models, with line numbers in error messages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal, NoReturn, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from programs.common.bounded import BeyondLimits, toml_table
from programs.common.errors import TaskError
from trainer.constraints import ConstraintSection, one_group
from trainer.scoring import ScoreSettings
from trainer.source import task_file_bytes
from trainer.values.constants import is_number
from trainer.values.roles import ROLES

Value = bool | int | float | str
Positive = Annotated[float, Field(ge=1e-6, le=1e9)]
ROW_FILES = (".csv", ".txt", ".npy", ".jsonl")  # forms of the file with a value for each row
Most = 1 << 30  # upper bound of counts: more than any task needs, and below the kernel's limits


class TomlSection(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, allow_inf_nan=False)


def refuse_first(*faults: tuple[bool, str]) -> None:
    """Raise ValueError with the message of the first fault that is true."""
    if message := next((message for is_true, message in faults if is_true), None):
        raise ValueError(message)


class TaskSection(TomlSection):
    name: str = Field(pattern=r"^[a-z][a-z0-9_-]*$", description="short name, lower case")
    description: str = ""
    metric: str = Field(description="what is measured, e.g. nll")
    unit: str = Field(default="", description="unit of the metric, e.g. nats")
    direction: Literal["lower", "higher"] = "lower"
    editable: list[str] = Field(default=["train.py"], min_length=1)
    read_only: list[str] = ["prepare.py"]
    repository: str = Field(default="", description="of a copy: where it was copied from, for improve --apply")
    timed: bool = Field(
        default=False, description="the metric is a time or a rate: nothing else runs beside, and wall time is charged"
    )
    torch: bool = Field(default=True, description="false: its experiments start without torch and use NumPy arrays")


class BudgetSection(TomlSection):
    seconds: Positive = Field(description="soft training budget of one full experiment, CPU-seconds")
    cost: Positive | None = Field(default=None, description="typical charge of one full experiment, CPU-seconds")
    run: Positive | None = Field(default=None, description="default --run-budget, seconds; unset: 24 experiments")
    steps: int = Field(default=100, gt=0, le=Most, description="fixed-step mode: steps of a full experiment")
    seconds_per_step: Positive | None = Field(default=None, description="fixed-step mode: nominal charge of a step")
    hard_factor: float = Field(default=1.25, ge=1, description="hard limit as a multiple of the soft budget")
    hard_extra: float = Field(default=0.1, ge=0, description="added to the hard limit, CPU-seconds")
    wall_factor: float = Field(
        default=20.0, ge=1, description="limit of wall time as a multiple of the hard limit (at least 10 s)"
    )
    memory_mb: int = Field(default=2048, ge=64, le=Most, description="address space in addition to torch's own, MB")
    device: Literal["cpu", "gpu"] = Field(default="cpu", description="gpu: seconds are wall time of an exclusive GPU")


class DataSection(TomlSection):
    seed: int = Field(default=1, ge=0, description="seed of the training split")
    grammar: int | None = Field(default=None, ge=0, le=Most, description="number of a generated language")
    variant: int | None = Field(
        default=None, ge=0, le=Most, description="number of the data set, if data.py has several"
    )
    public: bool = Field(default=False, description="anyone can read its hidden data: not allowed in contests")


class ScoreSection(TomlSection):
    kind: str = Field(
        default="classification",
        description="classification, regression, language_model, printed, simulated, or an entry point",
    )
    classes: int = Field(
        default=10,
        ge=1,
        le=Most,
        description="width of the logits: classes, symbols of a language model, or 1 for a regression",
    )
    chunk: int = Field(default=500, gt=0, le=Most, description="rows per call of logits()")
    checkpoint_mb: int = Field(default=64, gt=0, le=Most, description="largest checkpoint that is scored")
    stream_kb: int = Field(default=48, gt=0, le=Most >> 10, description="language_model: hidden text that is streamed")
    tolerance: float = Field(default=1e-3, gt=0, le=1, description="allowed difference of two predictions of a row")
    seconds: Positive = Field(default=600, description="limit of one conversation with the model, wall seconds")
    pattern: str = Field(
        default="", max_length=200, description="printed: regular expression whose only group is the metric"
    )
    file: str = Field(
        default="", max_length=400, description="printed, by a command: file to which it writes the metric"
    )
    key: str = Field(default="", max_length=200, description="printed: path of the metric in JSON, e.g. gemm.seconds")
    rows: str = Field(
        default="", max_length=400, description="printed, by a command: file with a value for each validation row"
    )
    n_rows: int | None = Field(
        default=None, ge=1, le=Most, description="printed: rows of that file; without one, of the share that is printed"
    )
    held_back: float | None = Field(default=None, ge=0, le=0.9, description="share of these rows that no search sees")
    exact: bool = Field(default=False, description="printed: the metric is a count or a size, the same on any data")

    def settings(self) -> ScoreSettings:
        return cast(ScoreSettings, self.model_dump())

    _one_group = field_validator("pattern")(one_group)

    @field_validator("rows")
    @classmethod
    def _readable_rows(cls, name: str) -> str:
        if name and (name.startswith("/") or ".." in name.split("/") or not name.endswith(ROW_FILES)):
            raise ValueError(f"must be a file in the task's folder that ends with {', '.join(ROW_FILES)}")
        return name

    @model_validator(mode="after")
    def _consistent(self) -> ScoreSection:
        reads = bool(self.pattern or self.key or self.rows)
        refuse_first(
            (self.kind == "regression" and self.classes != 1, "a regression has one output: classes = 1"),
            (self.kind in ("classification", "language_model") and self.classes == 1,
             f"{self.kind} needs two classes or more"),
            ((self.kind == "printed") != reads or bool(self.pattern and self.key),
             "kind printed needs either pattern or key, or rows; other kinds have neither"),
            (self.exact and bool(self.rows or self.n_rows),
             "exact = true says that there are no rows: remove it, or rows and n_rows"),
            (bool(self.rows) and not self.n_rows, "rows needs n_rows, the number of values in that file"),
            (self.held_back is not None and not self.rows,
             "held_back needs rows, the file with a value for each row"),
        )  # fmt: skip
        return self


class RunSection(TomlSection):
    """For a task that runs a command, see `trainer.attempts.command`. A text is a line for sh, a list its words."""

    command: str | list[str] = Field(
        min_length=1, description="command of an experiment; {seed}, {budget}, {split} are filled in"
    )
    environment: dict[str, str] = {}
    readable: list[str] = Field(default=[], description="further paths of this machine that it may read")
    executable: list[str] = Field(default=[], description="files to make executable")
    links: dict[str, str] = Field(default={}, description="name in its folder → a readable or relative path")
    seed_constant: str = Field(default="", description="FILE:NAME, set to the training seed before the run")
    budget_constant: str = Field(default="", description="FILE:NAME, reduced for a fraction of the budget")
    score_command: str | list[str] = Field(default="", description="runs afterwards, separately, on the artifacts")
    artifacts: list[str] = Field(default=[], description="files or folders from training for score_command")
    score_files: list[str] = Field(default=[], description="read-only files that score_command alone sees")
    disk_mb: int = Field(default=1024, gt=0, le=Most >> 10, description="size of the work copy, in memory, MB")
    processes: int = Field(default=512, gt=0, le=Most, description="limit of processes and threads")
    threads: int = Field(
        default=0, ge=0, le=1024, description="threads of numerical libraries; 0: as many as the machine gives"
    )

    @field_validator("seed_constant", "budget_constant")
    @classmethod
    def _file_and_name(cls, text: str) -> str:
        if text and not re.fullmatch(r"[^:]+\.py:[A-Za-z_]\w*", text):
            raise ValueError("must have the form FILE.py:NAME")
        return text

    @field_validator("links")
    @classmethod
    def _inside(cls, links: dict[str, str]) -> dict[str, str]:
        for name in links:
            if not name or name.startswith("/") or ".." in name.split("/"):
                raise ValueError(f"{name!r} is outside the task's folder")
        return links

    @property
    def words(self) -> str:
        """All texts in which {seed}, {budget} and {split} are filled in."""
        return f"{self.command} {self.score_command} {self.environment}"

    @model_validator(mode="after")
    def _scored_on_something(self) -> RunSection:
        refuse_first(
            (bool(self.score_command) != bool(self.artifacts), "score_command and artifacts need each other"),
            (bool(self.score_files) and not self.score_command,
             "score_files needs score_command, which alone sees them"),
            (self.score_command == self.command,
             "score_command is the training command; it must be another one, which reads the artifacts"),
        )  # fmt: skip
        return self


def is_artifact(name: str, artifacts: Sequence[str]) -> bool:
    """Whether a file is what the training leaves for scoring: an artifact, or in the folder of one."""
    return any(Path(name).is_relative_to(path) for path in artifacts)


class ReplaceSection(TomlSection):
    file: str = "train.py"
    find: str = Field(min_length=1)
    with_: str = Field(alias="with")


class EditSection(TomlSection):
    kind: Literal["float", "int", "choice", "patch"]
    values: list[Value] = []
    low: float | None = None
    high: float | None = None
    role: str = Field(default="", description="what the knob is in any task: a name of docs/ideas.md")
    group: str = ""
    note: str = ""
    file: str = "train.py"
    at: str = Field(default="", max_length=200, description="address of the value, if it is no constant")
    replace: list[ReplaceSection] = []

    @model_validator(mode="after")
    def _complete(self) -> EditSection:
        if self.kind == "patch":
            if self.at:
                raise ValueError("a patch has no address")
            if not self.replace:
                raise ValueError("a patch needs at least one [[edits.NAME.replace]] with find and with")
        elif len(self.values) < 2:
            raise ValueError("needs values = [...] with two values or more")
        elif len({(isinstance(value, bool), value) for value in self.values}) < len(self.values):
            raise ValueError("a value occurs twice in values = [...]")
        numbers = [v for v in self.values if is_number(v)]
        if self.kind in ("float", "int") and len(numbers) != len(self.values):
            raise ValueError(f"values of a knob of kind {self.kind} must be numbers")
        if self.kind == "int" and any(number != int(number) for number in numbers):
            raise ValueError("values of a knob of kind int must be whole numbers")
        if self.role and self.role not in ROLES:
            near = get_close_matches(self.role, ROLES, 3)
            raise ValueError(
                f"no role {self.role!r}; {'near: ' + ', '.join(near) if near else 'docs/ideas.md lists all'}"
            )
        low, high = self.low, self.high
        if any((low is not None and n < low) or (high is not None and n > high) for n in numbers):
            raise ValueError("values must be between low and high")
        return self


Gain = Annotated[float, Field(ge=-1e9, le=1e9)]
Spread = Annotated[float, Field(ge=0, le=1e9)]
Share = Annotated[float, Field(ge=0, le=1)]


class InteractionSection(TomlSection):
    edits: list[str] = Field(min_length=2, max_length=2, description="two edits as an idea names them")
    gain: Gain = Field(description="gain of both together beyond the sum of their effects")


class LawSection(TomlSection):
    """For a task of kind simulated; all values are in the metric's unit, see `trainer.laws.law`."""

    metric: Gain = Field(default=2.0, description="expected metric of the untouched source")
    seed: int = Field(default=1, ge=0, description="of all random draws of the law")
    noise: Spread = Field(default=0.0, description="SD between training seeds at the baseline")
    shrink: Share = Field(default=0.0, description="share by which it decreases when all headroom is reached")
    trajectory: Spread = Field(default=0.0, description="SD of an edit's effect between training seeds")
    drift: Spread = Field(default=0.0, description="SD of the metric of verifications from match to match")
    crash_rate: Share = Field(default=0.0, description="share of edited sources that crash")
    slow: Spread = Field(default=0.0, description="how much worse the metric is with almost no training")
    misleading: Spread = Field(default=0.0, description="SD, from source to source, of the error that shortening adds")
    tail: float = Field(default=0.0, description="degrees of freedom of the noise, above 2 (Student's t); 0: normal")
    effects: dict[str, Gain] = Field(default={}, description="edit as in an idea: its gain over the baseline")
    interactions: list[InteractionSection] = []
    crashes: list[str] = Field(default=[], description="edits that always crash")

    @field_validator("tail")
    @classmethod
    def _has_an_sd(cls, value: float) -> float:
        if value != 0.0 and not 2.0 < value < 1000.0:
            raise ValueError("must be above 2 and below 1000, or 0 for normal noise")
        return value


class FamilySection(TomlSection):
    """For a task that has relatives, see `trainer.variants`."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]*$", description="name that all members share")
    baseline: dict[str, list[str | float | int]] = Field(
        default={}, description="knobs whose value in train.py a member draws, each with the values to draw from"
    )
    share: Share = Field(default=0.5, description="share of them that a member draws; the others stay")


class TaskFile(TomlSection):
    task: TaskSection
    budget: BudgetSection
    data: DataSection = DataSection()
    score: ScoreSection = ScoreSection()
    family: FamilySection | None = None
    edits: dict[str, EditSection] = {}
    law: LawSection | None = None
    run: RunSection | None = None
    constraints: dict[str, ConstraintSection] = {}

    @model_validator(mode="after")
    def _consistent(self) -> TaskFile:
        run, score = self.run, self.score
        needs_command = next((key for key in ("file", "key", "rows", "n_rows", "exact") if getattr(score, key)), "")
        refuse_first(
            (self.budget.device == "gpu" and run is None, "[budget] device gpu needs a section [run] with a command"),
            (score.kind == "language_model" and not self.task.torch,
             "[score] kind language_model needs torch: its symbols are tensors"),
            (run is not None and score.kind != "printed",
             "[score] kind must be printed if there is a section [run]"),
            (run is None and bool(needs_command), f"[score] {needs_command} needs a section [run] with a command"),
            (run is not None and score.exact and "{split}" in run.words,
             "[score] exact = true says that other data change nothing, but [run] takes {split}"),
            ((score.kind == "simulated") != (self.law is not None),
             "[score] kind simulated needs a section [law]; other kinds have none"),
        )  # fmt: skip
        return self

    @model_validator(mode="after")
    def _baseline_of_knobs(self) -> TaskFile:
        for name, values in self.family.baseline.items() if self.family else ():
            if name not in self.edits or self.edits[name].kind == "patch":
                raise ValueError(f"[family.baseline] {name}: there is no constant [edits.{name}]")
            if not values or any(value not in self.edits[name].values for value in values):
                raise ValueError(f"[family.baseline] {name}: {values} are not values of [edits.{name}]")
        return self


def line_of(text: str, location: Sequence[str | int]) -> int:
    """The line (from 1) of the deepest part of ``location`` in the file: a key or a table header, or line 1."""
    names = [str(part) for part in location if not isinstance(part, int)]
    best, best_depth = 1, 0
    table: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        header = line.lstrip().startswith("[")
        key = re.match(r"\s*([\w\"'.-]+)\s*=", line)
        if header:
            table = [part.strip().strip("\"'") for part in line.partition("]")[0].strip(" \t[").split(".")]
            path = table
        elif key:
            path = table + [part.strip("\"'") for part in key[1].split(".")]
        else:
            continue
        if path == names[: len(path)] and len(path) > best_depth:
            best, best_depth = number, len(path)
    return best


def complain(path: Path, text: str, location: Sequence[str | int], message: str, hint: str = "") -> NoReturn:
    """Raise TaskError ``file:line: where: message``."""
    where = ".".join(str(part) for part in location)
    raise TaskError(f"{path}:{line_of(text, location)}: {where}: {message}", hint=hint)


def _explain(error: ErrorDetails) -> tuple[str, str]:
    """The message and hint for a pydantic error."""
    kind, last = error["type"], error["loc"][-1] if error["loc"] else ""
    if "values" in error["loc"][:-1]:  # the errors of a union mention internal types
        return "a value must be a finite number, a text, true or false", "correct the values"
    if kind == "missing":
        return "is missing", f"add {last} = …"
    if kind == "extra_forbidden":
        return "unknown key", "remove it, or check its spelling"
    return str(error["msg"]).removeprefix("Value error, "), "correct the value"


def read(path: Path) -> tuple[TaskFile, str]:
    """The parsed file and its text; TaskError with file:line for any error in it."""
    try:
        text = task_file_bytes(path.parent, path.name).decode("utf-8")
        data = toml_table(text)
    except UnicodeDecodeError as error:
        raise TaskError(f"{path}:1: not UTF-8 (byte {error.start})", hint="save the file as UTF-8") from None
    except ValueError as error:
        match = re.search(r"\(at line (\d+), column \d+\)", str(error))
        line = match[1] if match else str(text.count("\n") + 1)
        message = re.sub(r"\s*\(at .*\)$", "", str(error))
        kind = "" if isinstance(error, BeyondLimits) else "not valid TOML: "
        raise TaskError(f"{path}:{line}: {kind}{message}", hint="correct that line") from None
    try:
        return TaskFile.model_validate(data), text
    except ValidationError as error:
        first = error.errors()[0]
        message, hint = _explain(first)
        location = first["loc"]
        complain(
            path, text, location[: location.index("values") + 1] if "values" in location else location, message, hint
        )

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
ROW_FILES = (".csv", ".txt", ".npy", ".jsonl")  # forms of the file with a value for each row
Most = 1 << 30  # upper bound of counts: more than any task needs, and below the kernel's limits
Positive = Annotated[float, Field(ge=1e-6, le=1e9)]
Count = Annotated[int, Field(ge=1, le=Most)]
Kilo = Annotated[int, Field(ge=1, le=Most >> 10)]  # of KB or MB
Number = Annotated[int, Field(ge=0, le=Most)]
Share = Annotated[float, Field(ge=0, le=1)]
Id = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]
Text = Annotated[str, Field(max_length=200)]


class TomlSection(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def refuse_first(*faults: tuple[bool, str]) -> None:
    """Raise ValueError with the message of the first fault that is true."""
    if message := next((message for is_true, message in faults if is_true), None):
        raise ValueError(message)


class TaskSection(TomlSection):
    name: Id
    description: str = ""
    metric: str  # what is measured, e.g. nll
    unit: str = ""  # of the metric, e.g. nats
    direction: Literal["lower", "higher"] = "lower"
    editable: list[str] = Field(default=["train.py"], min_length=1)
    read_only: list[str] = ["prepare.py"]
    repository: str = ""  # of a copy: where it was copied from, for improve --apply
    timed: bool = False  # the metric is a time or a rate: nothing else runs beside, and wall time is charged
    torch: bool = True  # false: its experiments start without torch and use NumPy arrays


class BudgetSection(TomlSection):
    """Seconds are CPU-seconds, on a GPU wall seconds."""

    seconds: Positive  # soft training budget of one full experiment
    cost: Positive | None = None  # typical charge of one full experiment
    run: Positive | None = None  # default --run-budget; unset: 24 experiments
    steps: Count = 100  # fixed-step mode: steps of a full experiment
    seconds_per_step: Positive | None = None  # fixed-step mode: nominal charge of a step
    hard_factor: float = Field(default=1.25, ge=1)  # hard limit as a multiple of the soft budget
    hard_extra: float = Field(default=0.1, ge=0)  # added to the hard limit
    wall_factor: float = Field(default=20.0, ge=1)  # limit of wall time over the hard limit (at least 10 s)
    memory_mb: int = Field(default=2048, ge=64, le=Most)  # address space in addition to torch's own
    device: Literal["cpu", "gpu"] = "cpu"  # gpu: seconds are wall time of an exclusive GPU


class DataSection(TomlSection):
    seed: int = Field(default=1, ge=0)  # of the training split
    grammar: Number | None = None  # number of a generated language
    variant: Number | None = None  # number of the data set, if data.py has several
    public: bool = False  # anyone can read its hidden data: not allowed in contests


class ScoreSection(TomlSection):
    kind: str = "classification"  # or regression, language_model, printed, simulated, or an entry point
    classes: Count = 10  # width of the logits: classes, symbols of a language model, or 1 for a regression
    chunk: Count = 500  # rows per call of logits()
    checkpoint_mb: Count = 64  # largest checkpoint that is scored
    stream_kb: Kilo = 48  # language_model: hidden text that is streamed
    tolerance: float = Field(default=1e-3, gt=0, le=1)  # allowed difference of two predictions of a row
    seconds: Positive = 600  # limit of one conversation with the model, wall seconds
    pattern: Text = ""  # printed: regular expression whose only group is the metric
    file: str = Field(default="", max_length=400)  # printed, by a command: file to which it writes the metric
    key: Text = ""  # printed: path of the metric in JSON, e.g. gemm.seconds
    rows: str = Field(default="", max_length=400)  # printed, by a command: file with a value for each validation row
    n_rows: Count | None = None  # printed: rows of that file; without one, of the share that is printed
    held_back: float | None = Field(default=None, ge=0, le=0.9)  # share of these rows that no search sees
    exact: bool = False  # printed: the metric is a count or a size, the same on any data

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

    command: str | list[str] = Field(min_length=1)  # of an experiment; {seed}, {budget}, {split} are filled in
    environment: dict[str, str] = {}
    readable: list[str] = []  # further paths of this machine that it may read
    executable: list[str] = []  # files to make executable
    links: dict[str, str] = {}  # name in its folder → a readable or relative path
    seed_constant: str = ""  # FILE:NAME, set to the training seed before the run
    budget_constant: str = ""  # FILE:NAME, reduced for a fraction of the budget
    score_command: str | list[str] = ""  # runs afterwards, separately, on the artifacts
    artifacts: list[str] = []  # files or folders from training for score_command
    score_files: list[str] = []  # read-only files that score_command alone sees
    disk_mb: Kilo = 1024  # size of the work copy, in memory
    processes: Count = 512  # limit of processes and threads
    threads: int = Field(default=0, ge=0, le=1024)  # of numerical libraries; 0: as many as the machine gives

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
    role: str = ""  # what the knob is in any task: a name of docs/ideas.md
    group: str = ""
    note: str = ""
    file: str = "train.py"
    at: Text = ""  # address of the value, if it is no constant
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


class InteractionSection(TomlSection):
    edits: list[str] = Field(min_length=2, max_length=2)  # two edits as an idea names them
    gain: Gain  # of both together beyond the sum of their effects


class LawSection(TomlSection):
    """For a task of kind simulated; all values are in the metric's unit, see `trainer.laws.law`."""

    metric: Gain = 2.0  # expected metric of the untouched source
    seed: int = Field(default=1, ge=0)  # of all random draws of the law
    noise: Spread = 0.0  # SD between training seeds at the baseline
    shrink: Share = 0.0  # share by which it decreases when all headroom is reached
    trajectory: Spread = 0.0  # SD of an edit's effect between training seeds
    drift: Spread = 0.0  # SD of the metric of verifications from match to match
    crash_rate: Share = 0.0  # share of edited sources that crash
    slow: Spread = 0.0  # how much worse the metric is with almost no training
    misleading: Spread = 0.0  # SD, from source to source, of the error that shortening adds
    tail: float = 0.0  # degrees of freedom of the noise, above 2 (Student's t); 0: normal
    effects: dict[str, Gain] = {}  # edit as in an idea: its gain over the baseline
    interactions: list[InteractionSection] = []
    crashes: list[str] = []  # edits that always crash

    @field_validator("tail")
    @classmethod
    def _has_an_sd(cls, value: float) -> float:
        if value != 0.0 and not 2.0 < value < 1000.0:
            raise ValueError("must be above 2 and below 1000, or 0 for normal noise")
        return value


class FamilySection(TomlSection):
    """For a task that has relatives, see `trainer.variants`."""

    name: Id  # that all members share
    baseline: dict[str, list[str | float | int]] = {}  # knob → values of which a member draws that of its train.py
    share: Share = 0.5  # of these knobs that a member draws; the others stay


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


Fault = tuple[tuple[str, ...], str, str]  # where in task.toml; what is wrong; what helps


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

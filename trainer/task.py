"""Task: a folder with task.toml, which defines the editable files, the metric and the cost of an experiment."""

from __future__ import annotations

import importlib.util
import json
import math
import py_compile
import re
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import JsonValue

from programs.common.bounded import json_value, python_tree
from programs.common.errors import NotFound, TaskError
from programs.common.ids import content_id
from trainer import constraints, task_file
from trainer.constraints import Constraints
from trainer.edits import Edit, EditSpace
from trainer.gpu import Device
from trainer.laws.law import Law, law_of
from trainer.rows import COUNT, DRAWN, EXACT, SPLIT, UNKNOWN, VALUES, held_rows
from trainer.scoring import ScoreSettings, scorer_kind
from trainer.source import Source, imported_modules, task_file_bytes
from trainer.values.constants import is_number
from trainer.values.declared_edits import edit_space

TASKS = Path(__file__).resolve().parent / "tasks"
_NOT_MEASURED = re.compile(
    rb"(?m)^(?:role = \"\w*\"|repository = \".*\")\r?\n|(?:^\r?\n)?^\[family[\].].*\r?\n(?:[^\[\r\n].*\r?\n)*"
)
EXPERIMENTS_PER_RUN = 24  # default run budget, if task.toml names none


def builtin_tasks() -> list[str]:
    """The names of metaloop's built-in tasks."""
    return sorted(path.parent.name for path in TASKS.glob("[a-z]*/task.toml"))


@dataclass(frozen=True)
class Task:
    """A loaded task. Times are CPU-seconds on a CPU, wall seconds on a GPU. A gain is ``sign * (baseline - metric)``.

    A task for a GPU does not run on a machine without one.
    """

    name: str
    task_id: str
    folder: Path
    description: str
    metric: str
    unit: str  # the metric's name, if the task names no unit
    direction: Literal["lower", "higher"]
    budget_seconds: float
    cost_seconds: float
    steps: int
    seconds_per_step: float
    run_budget: float
    editable: tuple[str, ...]
    read_only: tuple[str, ...]
    scoring: ScoreSettings
    edits: EditSpace
    hard_factor: float = 1.25
    hard_extra: float = 0.1
    wall_factor: float = 20.0
    memory_mb: int = 2048
    data_seed: int = 1
    family: task_file.FamilySection | None = None
    public: bool = False  # anyone can read its hidden data, so contests must not use it
    card: dict[str, JsonValue] | None = field(default=None, hash=False)
    law: Law | None = field(default=None, hash=False)  # of a simulated task, which trains nothing
    run: task_file.RunSection | None = field(default=None, hash=False)  # of a task that runs a command
    device: Device = "cpu"
    torch: bool = True  # whether its processes start with torch imported and use tensors instead of NumPy arrays
    timed: bool = False  # the metric is a time: nothing else may run beside, and wall time is charged
    constraints: Constraints = field(default_factory=dict, hash=False)
    repository: str = ""  # of a copy: the folder that it was copied from

    @property
    def sign(self) -> float:
        return 1.0 if self.direction == "lower" else -1.0

    @property
    def scales(self) -> bool:
        """Whether an experiment can run with a part of its budget; a command must take its budget as an input."""
        run = self.run
        return run is None or bool(run.budget_constant or "{budget}" in f"{run.command} {run.environment}")

    def hard_line(self, fraction: float = 1.0) -> float:
        """CPU-seconds after which an experiment is killed; by default 1.25 times the soft budget plus 0.1 s."""
        return self.hard_factor * self.budget_seconds * fraction + self.hard_extra

    def steps_of(self, fraction: float = 1.0) -> int:
        """Number of training steps in fixed-step mode."""
        return max(1, round(self.steps * fraction))

    @property
    def scoring_seconds(self) -> float:
        """Device-seconds of launch and scoring in a typical experiment, beyond its budget."""
        return max(0.0, self.cost_seconds - self.budget_seconds)

    def wall_cap(self, fraction: float = 1.0) -> float:
        return max(10.0, self.wall_factor * self.hard_line(fraction))

    def baseline(self) -> Source:
        return self._baseline

    @cached_property
    def _baseline(self) -> Source:
        return Source.from_folder(self.folder, self.editable)

    def declared_edits(self, source: Source | None = None) -> list[tuple[Edit, str]]:
        """Every declared edit that changes the untouched source, or another one, with its group."""
        now = self.edits.config(source or self.baseline())
        return [
            (edit, knob.group)
            for knob in self.edits.knobs
            for value in knob.values
            if value != now.get(knob.name) and (edit := self.edits.edit({knob.name: value}))
        ]

    @cached_property
    def imports(self) -> list[str]:
        """Names of the modules that its untouched Python files import, without its own."""
        texts = dict(self.baseline().files)
        texts |= {name: data.decode("utf-8", "replace") for name, data in self.read_only_files}
        names = set[str]()
        for name, text in texts.items():
            if name.endswith(".py"):
                with suppress(SyntaxError):
                    names |= imported_modules(python_tree(text))
        return sorted(names - {Path(name).stem for name in texts})

    @cached_property
    def read_only_files(self) -> tuple[tuple[str, bytes], ...]:
        return tuple((name, task_file_bytes(self.folder, name)) for name in self.read_only)

    @property
    def shared_files(self) -> tuple[tuple[str, bytes], ...]:
        """The read-only files that trainings and researchers see: not those of the scoring command alone."""
        hidden = self.run.score_files if self.run else []
        return tuple((name, data) for name, data in self.read_only_files if name not in hidden)

    @cached_property
    def _compiled(self) -> tuple[tuple[str, bytes], ...]:
        """Bytecode of the read-only modules, so that experiments need not compile them (1.5 CPU-ms each time)."""
        files: list[tuple[str, bytes]] = []
        with tempfile.TemporaryDirectory() as folder:
            target = str(Path(folder) / "module.pyc")
            for name in self.read_only:
                cached = importlib.util.cache_from_source(name)
                if name.endswith(".py"):
                    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
                    try:
                        py_compile.compile(str(self.folder / name), target, name, doraise=True, invalidation_mode=mode)
                    except py_compile.PyCompileError:
                        continue  # the experiment then fails with the same message, in its own log
                    files.append((cached, Path(target).read_bytes()))
        return tuple(files)

    @property
    def is_builtin(self) -> bool:
        """Whether it is part of metaloop, so that its files are as trusted as our own."""
        return self.folder.resolve().parent == TASKS

    @property
    def draws_splits(self) -> bool:
        """Whether each verification is scored on hidden rows of its own."""
        return self.has_data and self.law is None and self.scoring["kind"] != "printed"

    @cached_property
    def takes_split(self) -> bool:
        """Whether a command gets which rows to use: by {split}, or by METALOOP_SPLIT in its files."""
        return self.run is not None and ("{split}" in self.run.words or self._names(b"METALOOP_SPLIT"))

    @cached_property
    def takes_seed(self) -> bool:
        """Whether a command uses the training seed: by {seed}, a constant, or METALOOP_TRAIN_SEED in its files."""
        run = self.run
        if run is None or run.seed_constant or "{seed}" in f"{run.command} {run.environment}":
            return True
        return self._names(b"METALOOP_TRAIN_SEED")

    def _names(self, variable: bytes) -> bool:
        """Whether a file of the task has the name of a variable."""
        texts = (*(text.encode() for _, text in self.baseline().files), *self.laid_files().values())
        return any(variable in text for text in texts)

    def card_number(self, *keys: str) -> float | None:
        """A finite number of the card, which is an untrusted file; None where it has none."""
        value: JsonValue = self.card
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return float(value) if is_number(value) and math.isfinite(value) else None

    @property
    def is_card_current(self) -> bool:
        """Whether the card was measured on these files."""
        card = self.card or {}
        return (card.get("task_id"), card.get("baseline_source")) == (self.task_id, self.baseline().source_id)

    @property
    def seed_sd(self) -> float | None:
        """SD of the metric between training seeds of the untouched source; None if no card of these files has it."""
        return self.card_number("baseline", "sd") if self.is_card_current else None

    @property
    def data_noise(self) -> str:
        """What is known of the noise of the rows: a word of `trainer.rows`. A law is its own data and has all noise."""
        if self.draws_splits or self.law is not None:
            return DRAWN
        if self.scoring["exact"]:
            return EXACT
        if self.scoring["rows"]:
            return VALUES
        if self.takes_split:
            return SPLIT
        return COUNT if self.scoring["n_rows"] else UNKNOWN

    @property
    def counted_rows(self) -> int | None:
        """The number of rows of which the metric is a share; None where that is not known."""
        return self.scoring["n_rows"] if self.data_noise in (COUNT, SPLIT) else None

    @property
    def held_share(self) -> float | None:
        """The share of its rows that no search sees, 0 without any; None: the usual one, `trainer.rows.HELD_BACK`."""
        return self.scoring["held_back"] if self.data_noise == VALUES and not self.takes_split else 0.0

    def held_rows(self, rows: int) -> int:
        """How many of so many rows are held back."""
        return held_rows(rows, self.held_share)

    @property
    def has_data(self) -> bool:
        """Whether metaloop generates its data.

        False for a command: a data.py in its repository is untrusted and never runs outside the sandbox.
        """
        return self.run is None and (self.folder / "data.py").is_file()

    def newer_files(self, time: str) -> str:
        """``; newer files: prepare.py``, those that researchers do not edit and that were written after an ISO time, as
        the end of a message; empty if there are none."""
        names, since = _fixed_files(self.folder, self), datetime.fromisoformat(time)
        newer = [name for name in names if (self.folder / name).stat().st_mtime > since.timestamp()]
        return f"; newer files: {', '.join(newer)}" if newer else ""

    def laid_files(self) -> dict[str, bytes]:
        """The files beside the source in an experiment's folder: the read-only ones and their bytecode."""
        return dict(self.read_only_files + self._compiled)

    @classmethod
    def load(cls, ref: str | Path) -> Task:
        """Load a built-in task by name, or a task folder. TaskError (file:line) or NotFound, with a hint."""
        folder = _find(ref)
        path = folder / "task.toml"
        parsed, text = task_file.read(path)
        for fault in _faults(folder, parsed):
            task_file.complain(path, text, *fault)
        edits = edit_space(path, text, parsed)
        card, budget = _card(folder / "card.json"), parsed.budget
        measured = (card or {}).get("cost_seconds")
        cost = budget.cost or float(measured if isinstance(measured, int | float) else 1.5 * budget.seconds)
        return cls(
            name=parsed.task.name,
            task_id=_task_id(folder, parsed),
            folder=folder,
            description=parsed.task.description,
            metric=parsed.task.metric,
            unit=parsed.task.unit or parsed.task.metric,
            direction=parsed.task.direction,
            budget_seconds=budget.seconds,
            cost_seconds=cost,
            steps=budget.steps,
            seconds_per_step=budget.seconds_per_step or cost / budget.steps,
            run_budget=budget.run or EXPERIMENTS_PER_RUN * cost,
            editable=tuple(parsed.task.editable),
            read_only=tuple(parsed.task.read_only),
            scoring=parsed.score.settings(),
            edits=edits,
            hard_factor=budget.hard_factor,
            hard_extra=budget.hard_extra,
            wall_factor=budget.wall_factor,
            memory_mb=budget.memory_mb,
            data_seed=parsed.data.seed,
            family=parsed.family,
            public=parsed.data.public,
            card=card,
            law=law_of(path, text, parsed, edits, Source.from_folder(folder, parsed.task.editable)),
            run=parsed.run,
            device=budget.device,
            torch=parsed.task.torch,
            timed=parsed.task.timed,
            constraints=parsed.constraints,
            repository=parsed.task.repository,
        )


def _find(ref: str | Path) -> Path:
    if isinstance(ref, str) and (TASKS / ref / "task.toml").is_file() and "/" not in ref:
        return TASKS / ref
    folder = Path(ref).expanduser().resolve()
    if folder.name == "task.toml" and folder.is_file():
        folder = folder.parent
    if not folder.is_dir():
        raise NotFound(
            f"no task {str(ref)!r}", hint=f"built-in tasks: {', '.join(builtin_tasks())}; or name a task folder"
        )
    if not (folder / "task.toml").is_file():
        arguments = f"{'--from ' if any(folder.iterdir()) else ''}{shlex.quote(str(ref))}"
        raise TaskError(f"{folder}: no task.toml", hint=f"metaloop task init {arguments} writes one")
    return folder


def _faults(folder: Path, parsed: task_file.TaskFile) -> Iterator[task_file.Fault]:
    """What is wrong between task.toml and the files of its folder, or between two of its sections."""
    section, run, score = parsed.task, parsed.run, parsed.score
    editable, read_only = ("task", "editable"), ("task", "read_only")
    for where, names in ((editable, section.editable), (read_only, section.read_only)):
        for name in names:
            if Path(name).is_absolute() or ".." in Path(name).parts:
                yield where, f"{name!r} is outside the task folder", "name a file inside it"
            if not (folder / name).is_file():
                yield where, f"no file {name!r} in the folder", "create it or correct the name"
    for name in section.editable:
        if name in (score.file, score.rows):
            message = f"{name!r} is what [score] reads, so an edit of it would be the result"
            yield editable, message, "remove it from editable"
        if name in section.read_only:
            yield editable, f"{name!r} is also read-only", "remove it from one of the two lists"
        if name == "data.py" and run is None:
            yield editable, f"{name!r} generates the hidden data", "remove it from one of the two lists"
    if run is None and "train.py" not in section.editable:
        yield editable, "train.py is missing", "add it, because the launcher starts train.py"
    artifacts, score_files = (run.artifacts, run.score_files) if run else ([], [])
    for name in section.read_only:
        if task_file.is_artifact(name, artifacts):  # it would be scored in place of what a training leaves
            message = f"{name!r} is an artifact, which the training has to write"
            yield read_only, message, "remove it from read_only or from artifacts"
    for name in set(score_files) - set(section.read_only):
        yield ("run", "score_files"), f"{name!r} is no read-only file of the task", "add it to read_only, too"
    if score.kind not in ("printed", "simulated") and not (folder / "data.py").is_file():
        yield ("task",), "no data.py in the folder", "write one with make(split, seed, out)"
    try:
        scorer_kind(score.kind)
    except TaskError as error:
        yield ("score", "kind"), error.message, error.hint
    for name, constraint in parsed.constraints.items():
        if problem := constraints.problem(name, constraint, score.kind):
            yield ("constraints", name), *problem


def _fixed_files(folder: Path, task: Task | task_file.TaskSection) -> list[str]:
    """The files that make a task another one if they change."""
    beside = {path.name for path in folder.glob("*.py")} - set(task.editable)
    return sorted({"task.toml", *task.read_only, *beside})


def _task_id(folder: Path, parsed: task_file.TaskFile) -> str:
    """Hash of task.toml, the read-only files, and data.py with the modules beside it.

    Roles of knobs, the section [family] and the repository of a copy are left out: they change no measurement, and a
    task that gets them remains comparable with itself.
    """
    parts: list[str | bytes] = []
    for name in _fixed_files(folder, parsed.task):
        raw = task_file_bytes(folder, name)
        parts += [name, _NOT_MEASURED.sub(b"", raw) if name == "task.toml" else raw]
    return content_id("t", *parts)


def _card(path: Path) -> dict[str, JsonValue] | None:
    if not path.is_file():
        return None
    hint = f"remove it; metaloop task measure {path.parent} --write writes a new one"
    try:
        card = json_value(task_file_bytes(path.parent, path.name))
    except ValueError as error:
        raise TaskError(f"{path}: not valid JSON: {error}", hint=hint) from None
    if not isinstance(card, dict):
        return None
    cost = card.get("cost_seconds")
    if cost is not None and not (isinstance(cost, int | float) and 0 < cost < math.inf):
        raise TaskError(f"{path}: cost_seconds is {json.dumps(cost)[:40]}, not a number of seconds", hint=hint)
    return card

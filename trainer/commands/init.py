"""`task init --from DIR`: runs the user's command as it is, twice, and writes the task.toml that this showed.

Nothing is taken from prose, and from code only names: constants, options, fields. What a run cannot show (which of the
printed numbers is the metric, which direction is better, which files may be edited) is asked where it is not the only
possibility: `Unknown`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from programs.errors import TaskError, UsageError
from trainer import constants, login_keys, nested_values
from trainer.commands import named_numbers
from trainer.commands.ladders import Ladder, ladders
from trainer.commands.named_numbers import NamedNumber
from trainer.commands.repository import OwnRepository, read
from trainer.data import DataStore
from trainer.experiment import Spec
from trainer.gpus import survey
from trainer.metric_names import ending_direction
from trainer.outcome import Outcome
from trainer.predictions import InvalidPredictions
from trainer.scaffold import task_name
from trainer.scorers.printed import number_in
from trainer.streams import Streams
from trainer.task import Task

HARD_FACTOR, HARD_EXTRA = 2.0, 10.0  # a command's start-up and evaluation are not part of a budget
WALL_FACTOR = 4.0  # hard limit of wall time over that of CPU time
LONGEST = 3600.0  # CPU-seconds of the first run
LEAST_MEMORY_MB, MEMORY_FACTOR = 4096, 2.0
SEEDS = ("SEED", "RANDOM_SEED", "TRAIN_SEED", "seed", "random_seed", "train_seed")
_SEED_NAME = re.compile(r"(?:\w*_)?seed", re.IGNORECASE)
NO_METRIC = r"(?!x)x(.)"  # no line matches
_HUB = "~/.cache/huggingface"
_OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
_ENVIRONMENTS = (".venv", "venv")
_OTHER_WAY = {
    "lower": re.compile(r"\b(?:high|higher|highest|maximi[sz]\w*|larger|largest|increas\w*|greater|raise|up)\b", re.I),
    "higher": re.compile(
        r"\b(?:low|lower|lowest|minimi[sz]\w*|smaller|smallest|decreas\w*|reduc\w*|less|down)\b", re.I
    ),
}


class Unknown(UsageError):
    """A field that nothing decides. ``choices``: what it may be, as far as that is known."""

    def __init__(self, name: str, message: str, choices: Sequence[str] = ()) -> None:
        super().__init__(message, hint=f"--{name} {'|'.join(choices[:6]) or FORMS[name]}")
        self.field, self.choices = name, list(choices)


FORMS = {
    "command": '"python train.py"',
    "metric": "NAME",
    "direction": "lower|higher",
    "editable": "FILE",
    "seed": "FILE.py:NAME|--OPTION|none",
}


@dataclass(frozen=True)
class Wanted:
    """What the user gives by flags; None and empty: found by running."""

    command: str | None = None
    metric: str | None = None
    metric_file: str | None = None
    direction: str | None = None
    budget: float | None = None
    editable: Sequence[str] = ()
    seed: str | None = None
    exclude: Sequence[str] = ()
    readable: Sequence[str] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    ladders: bool = True
    score_command: str | None = None
    artifacts: Sequence[str] = ()


@dataclass(frozen=True)
class Fact:
    """One field of the task: its value, where it comes from, and what is to be known about it."""

    field: str
    value: str
    where: str
    note: str = ""


@dataclass(frozen=True)
class TaskDraft:
    """A task.toml that was tried. ``runs``: the two runs behind it."""

    source: OwnRepository
    toml: str
    facts: list[Fact]
    runs: list[Outcome]


class Drafting:
    """Runs what is needed to write a task.toml, each run once, however often a field is asked."""

    def __init__(self, folder: Path, sandbox: bool = True, progress: Callable[[str], None] = lambda _: None) -> None:
        self.folder, self.sandbox, self.progress = folder, sandbox, progress
        self._ran: dict[str, list[tuple[Outcome, str]]] = {}

    def draft(self, wanted: Wanted) -> TaskDraft:
        """Raises Unknown for the first field that is neither given nor the only possibility, TaskError for a command
        that fails, UsageError for flags that do not fit the repository."""
        source = read(self.folder, wanted.exclude, wanted.readable)
        command = Fact("command", *_command(source, wanted.command))
        editable = _editable(source, wanted.editable)
        command, seed = _seed(source, command, editable, wanted.seed)
        readable = [*map(_shown, wanted.readable), *_packages(source), *_hub(source)]
        plain = _Plain(source, wanted, command.value, editable, seed, readable)
        runs = self._runs(plain)
        first = runs[0][0]
        metric = _metric(runs, wanted)
        direction = _direction(source, metric.name, wanted.direction)
        knobs = ladders(source, editable, wanted.values) if wanted.ladders else []
        toml = plain.toml(metric, direction.value, runs, [knob for knob in knobs if not knob.reason])
        values = [number_in(text, metric.pattern if not metric.key else "", metric.key) for _, text in runs]
        facts = [
            command,
            Fact("metric", metric.name, "given" if wanted.metric else "the only number", _noise(values, seed)),
            direction,
            Fact("editable", ", ".join(editable), "given" if wanted.editable else "the only file of code"),
            Fact(
                "seed", seed or "none", "given" if wanted.seed else "found" if seed else "not found", _seed_note(seed)
            ),
            Fact(
                "time",
                f"{plain.seconds(runs):.3g} s",
                "measured",
                f"{wanted.budget:g} s given" if wanted.budget else "",
            ),
            Fact("memory", f"{first.peak_memory_mb:.0f} MB", "measured"),
            Fact("device", plain.device(runs), "measured"),
            *(Fact("readable", path, "given" if path in wanted.readable else "found") for path in readable),
            Fact("trust", *_trust(wanted)),
            *(Fact("knob", one.name, f"{one.file}:{one.line}", _tried(one)) for one in knobs if not one.reason),
            *(Fact("left out", text.split(":")[0], "the folder", text.split(": ", 1)[-1]) for text in source.left_out),
            *(Fact("left out", one.name, f"{one.file}:{one.line}", one.reason) for one in knobs if one.reason),
        ]
        return TaskDraft(source, toml, facts, [outcome for outcome, _ in runs])

    def _runs(self, plain: _Plain) -> list[tuple[Outcome, str]]:
        """Two runs of the untouched files under two seeds, each with the text that has the metric."""
        toml = plain.toml(NamedNumber("unknown"), "lower", [], [])
        if toml not in self._ran:
            with tempfile.TemporaryDirectory() as place:
                folder = copied(plain.source, Path(place) / "task")
                (folder / "task.toml").write_text(toml, "utf-8")
                self._ran[toml] = [self._run(Task.load(folder), Path(place), seed) for seed in (1, 2)]
        return self._ran[toml]

    def _run(self, task: Task, place: Path, seed: int) -> tuple[Outcome, str]:
        from trainer.command import CommandTrainer
        from trainer.commands.cures import cure

        assert task.run is not None
        self.progress(f"running {task.run.command} as it is, {'once' if seed == 1 else 'and again'}")
        data = DataStore(task, Streams.from_seed(seed), place / f"data{seed}")
        with CommandTrainer(task, data, sandbox=self.sandbox) as trainer:
            outcome = trainer.run(Spec(task.baseline(), seed))
            if not trainer.result:
                message = f"the command fails as it is: {outcome.status}: {outcome.reason}"
                raise TaskError(message, hint=cure(outcome, task))
            return outcome, trainer.result


@dataclass(frozen=True)
class _Plain:
    """What task.toml says beside metric and knobs."""

    source: OwnRepository
    wanted: Wanted
    command: str
    editable: list[str]
    seed: str
    readable: list[str]

    def seconds(self, runs: Sequence[tuple[Outcome, str]]) -> float:
        """What one experiment costs, as charged; before a run, the most that it may."""
        return max((float(f"{one.device_seconds:.3g}") for one, _ in runs), default=LONGEST)

    def device(self, runs: Sequence[tuple[Outcome, str]]) -> str:
        """GPU where one is here and the command used it, or said so; before a run, where one is here."""
        if not survey(torch=False).gpus:
            return "cpu"
        used = [one for one, text in runs if one.utilization or re.search(r"\bcuda\b", text, re.IGNORECASE)]
        return "gpu" if used or not runs else "cpu"

    def toml(
        self, metric: NamedNumber, direction: str, runs: Sequence[tuple[Outcome, str]], knobs: Sequence[Ladder]
    ) -> str:
        source, wanted = self.source, self.wanted
        peak = max((one.peak_memory_mb for one, _ in runs), default=0.0)
        executable = [name for name, (_, runs_itself) in source.files.items() if runs_itself]
        links = _links(source, wanted.readable)
        read = {"file": wanted.metric_file or "", "key" if metric.key else "pattern": metric.key or metric.pattern}
        read |= {"pattern": NO_METRIC} if not runs else {}
        sections: dict[str, dict[str, Any]] = {
            "task": {
                "name": task_name(source.folder),
                "metric": metric.name,
                "direction": direction,
                "editable": self.editable,
                "read_only": [name for name in source.files if name not in self.editable],
            },
            "budget": {
                "seconds": self.wanted.budget or self.seconds(runs),
                "cost": self.seconds(runs) if runs else 0,
                "hard_factor": HARD_FACTOR,
                "hard_extra": HARD_EXTRA,
                "wall_factor": WALL_FACTOR,
                "memory_mb": max(LEAST_MEMORY_MB, round(peak * MEMORY_FACTOR)) if runs else _machine_mb(),
                "device": self.device(runs) if self.device(runs) == "gpu" else "",
            },
            "score": {"kind": "printed", **read},
            "run": {
                "command": self.command,
                "seed_constant": self.seed if ":" in self.seed else "",
                "readable": [path for path in self.readable if path not in links.values()],
                "executable": executable,
                "score_command": wanted.score_command,
                "artifacts": wanted.artifacts,
                "environment": _OFFLINE if _hub(source) else {},
                "links": links,
            },
        }
        lines = ["# Written by `metaloop task init --from`, from two runs of the command."]
        for name, values in sections.items():
            lines += [
                f"[{name}]",
                *(f"{key} = {_toml(value)}" for key, value in values.items() if value or key == "read_only"),
                "",
            ]
        return "\n".join([*lines, *(line for knob in knobs for line in _knob(knob))])


def copied(source: OwnRepository, folder: Path) -> Path:
    """A copy of the repository's files, without links."""
    for name in source.files:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source.folder / name, target, follow_symlinks=False)
    return folder


def write(plan: TaskDraft, into: Path | None) -> Path:
    """Write task.toml into the repository, or into a copy of its files. UsageError if there is one already."""
    folder = plan.source.folder if into is None else into.expanduser()
    if (folder / "task.toml").exists() or (into is not None and folder.exists() and any(folder.iterdir())):
        what = folder / "task.toml" if (folder / "task.toml").exists() else folder
        raise UsageError(f"{what}: already exists", hint="remove it, or name a new folder: --into DIR")
    origin = ""
    if into is not None:
        copied(plan.source, folder)
        origin = f"repository = {_toml(str(plan.source.folder))}\n"
    (folder / "task.toml").write_text(plan.toml.replace("\n\n[budget]", f"\n{origin}\n[budget]", 1), "utf-8")
    return folder


def refuse_taken(folder: Path, into: Path | None) -> None:
    """Before anything runs: UsageError if there is a task already."""
    target = into or folder
    if (target / "task.toml").exists():
        raise UsageError(f"{target / 'task.toml'}: already exists", hint="remove it, or name a new folder: --into DIR")


def _command(source: OwnRepository, given: str | None) -> tuple[str, str]:
    """(the command, where it comes from): by default the only Python file of the top folder."""
    if given:
        # uv would ask the network for packages; the environment beside the code has them
        inner = re.sub(r"^uv run(?:\s+--?[\w-]+(?:=\S+)?)*\s+", "", given)
        return (f"python {inner}" if inner != given and inner.split()[0].endswith(".py") else inner), "given"
    files = [name for name in source.files if "/" not in name and name.endswith(".py")]
    if len(files) != 1:
        what = f"{len(files)} Python files in the folder" if files else "no Python file in the folder"
        raise Unknown("command", f"which command runs one experiment? {what}", [f"python {name}" for name in files])
    return f"python {files[0]}", "the only Python file"


def _editable(source: OwnRepository, given: Sequence[str]) -> list[str]:
    if missing := [name for name in given if name not in source.files]:
        raise UsageError(
            f"--editable {missing[0]}: no such file in {source.folder}", hint="name a file of the repository"
        )
    code = [name for name in source.files if re.search(r"\.(?:py|sh|c|cc|cpp|cu|rs|go|js|ts|jl|R)$", name)]
    if given or len(code) == 1:
        return list(given) or code
    raise Unknown("editable", "which files may be edited? An agent that edits the file that scores it wins", code)


def _seed(source: OwnRepository, command: Fact, editable: Sequence[str], given: str | None) -> tuple[Fact, str]:
    """(the command, with ``{seed}`` where it has an option for one; what gets the seed: "{seed}", FILE:NAME or "")."""
    if "{seed}" in command.value or given == "none":
        return command, "{seed}" if "{seed}" in command.value else ""
    if given and given.startswith("-"):
        return replace(command, value=f"{command.value} {given} {{seed}}"), "{seed}"
    if given:
        file, _, name = given.partition(":")
        if name not in constants.read(source.text(file)):
            raise UsageError(f"--seed {given}: no such constant", hint="FILE.py:NAME, --OPTION or none")
        return command, given
    files = [name for name in dict.fromkeys([*editable, *source.code]) if name.endswith(".py")]
    held = [
        f"{file}:{name}"
        for file in files
        for name, value in constants.read(source.text(file)).items()
        if type(value) is int and _SEED_NAME.fullmatch(name)
    ]
    scripts = [name for name in source.files if name.endswith(".py") and name in command.value.split()]
    options = [file for file in scripts if "--seed" in nested_values.read(file, source.text(file))]
    plain = not re.search(r"[;&|]|--seed", command.value)
    if options and not held and plain:
        return replace(command, value=f"{command.value} --seed {{seed}}"), "{seed}"
    if len(held) == 1 and not options and held[0].rpartition(":")[2] in SEEDS:
        return command, held[0]
    said = next((line.where for line in source.lines(*source.code) if re.search("seed", line.text, re.I)), "")
    if held or said:
        what = "which of these is the seed of a training?" if held else f"what sets the seed of a training? See {said}"
        raise Unknown("seed", f"{what} A constant, an option of the command, or none", [*held, "none"])
    return command, ""


def _metric(runs: Sequence[tuple[Outcome, str]], wanted: Wanted) -> NamedNumber:
    """The number that is the metric: the one that is given, else the only one that both runs end with."""
    found: dict[str, NamedNumber] = {}
    for form in range(len(named_numbers.FORMS)):
        first, *others = (named_numbers.read(text, form) for _, text in runs)
        here = {name: one for name, one in first.items() if all(name in other for other in others)}
        found = here | found if wanted.metric in here else found or here
    if not found:
        last = next((line.strip() for line in reversed(runs[0][1].splitlines()) if line.strip()), "")
        raise TaskError(f"no number with a name in the output; its last line is {last[:60]!r}", hint="print NAME: 1.23")
    shown = [f"{name} = {one.values[-1]}" for name, one in found.items()]
    only = [one.name for one in found.values() if len(found) == 1 and one.form == 0]
    name = wanted.metric or "".join(only)
    if not name:
        raise Unknown("metric", f"which is the metric? The command prints {', '.join(shown[:12])}", list(found))
    ends = [one for one in found if one == name or re.search(rf"[. ]{re.escape(name)}$", one)]
    if name not in found and len(ends) != 1:
        raise Unknown("metric", f"the command does not print {name}, but {', '.join(shown[:12])}", ends or list(found))
    one = found[name if name in found else ends[0]]
    if alike := named_numbers.unclear(one.name, found):
        raise UsageError(f"{name} cannot be told from {alike[0]}", hint=f"let the command print a line '{name}: 1.23'")
    try:
        for _, text in runs:
            number_in(text, "" if one.key else one.pattern, one.key)
    except InvalidPredictions as error:
        raise TaskError(f"{name}: {error}", hint="let the command print it as its last number") from None
    return one


def _direction(source: OwnRepository, metric: str, given: str | None) -> Fact:
    """By a list of names (`trainer/metric_names.toml`), where no sentence of the repository says otherwise."""
    if given:
        return Fact("direction", given, "given")
    name = re.split(r"[. ]", metric)[-1]
    way = ending_direction(name)
    if way is None:
        raise Unknown("direction", f"is a lower or a higher {metric} better?", ["lower", "higher"])
    own = re.compile(rf"(?<![\w]){re.escape(name)}(?![\w])", re.IGNORECASE)
    for line in source.lines(*source.prose):
        for sentence in re.split(r"(?<=[.!;])\s+", line.text):
            other = "higher" if way == "lower" else "lower"
            if own.search(sentence) and _OTHER_WAY[way].search(sentence) and not _OTHER_WAY[other].search(sentence):
                message = (
                    f"is a lower or a higher {metric} better? By its name {way}, but {line.where}: {sentence[:80]}"
                )
                raise Unknown("direction", message, ["lower", "higher"])
    return Fact("direction", way, "by its name")


def _shown(text: str) -> str:
    """A path for task.toml; one that starts with ``~/`` stays as written. UsageError if it may not be shown."""
    path = Path(text).expanduser().absolute()
    if reason := login_keys.refusal(path):
        raise UsageError(f"--readable {text}: {reason}", hint="name a folder that contains only data")
    if not path.exists():
        raise UsageError(f"--readable {text}: does not exist", hint="name a file or folder of this machine")
    return text if text.startswith("~/") else str(path)


def _packages(source: OwnRepository) -> list[str]:
    """The virtual environment of the repository, and its interpreter if that is elsewhere."""
    for name in _ENVIRONMENTS:
        folder = source.folder / name
        python = folder / "bin" / "python"
        if (folder / "pyvenv.cfg").is_file() and not folder.is_symlink() and os.path.lexists(python):
            base = Path(os.path.realpath(python)).parent.parent
            outside = not base.is_relative_to("/usr") and not base.is_relative_to(folder)
            return [str(folder), *([str(base)] if outside and any((base / "lib").glob("python3*/os.py")) else [])]
    return []


def _hub(source: OwnRepository) -> list[str]:
    """The folders of models, kernels and data sets of Hugging Face that are on this machine and named in the code."""
    code = "\n".join(source.text(name) for name in source.code)
    found = []
    for path in sorted(Path(_HUB).expanduser().glob("hub/*--*")) + sorted(
        Path(_HUB).expanduser().glob("datasets/*___*")
    ):
        name = path.name.replace("___", "/") if "___" in path.name else "/".join(path.name.split("--")[1:])
        if path.is_dir() and name.lower() in code.lower():
            found.append(f"{_HUB}/{path.parent.name}/{path.name}")
    return found


def _links(source: OwnRepository, readable: Sequence[str]) -> dict[str, str]:
    """Name in the repository → where it leads: links within it, its own node_modules, and what the user allows to be
    read. Another link out of the repository is left out, because it may lead to the user's keys."""
    root, shown = source.folder, {}
    named = {text: Path(os.path.realpath(Path(text).expanduser())) for text in readable}
    for name in source.links:
        real = Path(os.path.realpath(root / name))
        if any(real.is_relative_to(path) for path in named.values()):
            shown[name] = str(real)
        elif real.is_relative_to(root) and str(real.relative_to(root)) in source.files:
            shown[name] = os.path.relpath(real, (root / name).parent)
    for text, path in named.items():
        if path.is_relative_to(root) and path != root:
            shown[str(path.relative_to(root))] = str(Path(text).expanduser().absolute())
    node = root / "node_modules"
    return shown | ({node.name: str(node)} if node.is_dir() and not node.is_symlink() else {})


def _machine_mb() -> int:
    """Three quarters of the machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 3 // 4 // 2**20


def _noise(values: Sequence[float], seed: str) -> str:
    runs = "two seeds" if seed else "two runs"
    return f"{values[0]:.6g} and {values[1]:.6g} in {runs}" if values[0] != values[1] else f"{values[0]:.6g} in {runs}"


def _seed_note(seed: str) -> str:
    return "" if seed else "every run has the seed of the code: {seed} in --command, or --seed FILE.py:NAME"


def _trust(wanted: Wanted) -> tuple[str, str, str]:
    if wanted.score_command:
        return "scored", "given", "a separate command scores what training leaves"
    return "self-reported", "no --score-command", "the code that may be edited prints its own metric"


def _tried(one: Ladder) -> str:
    now, values = f"{one.value!r}: ", [then.split("=")[-1].strip() for _, _, then in one.patches] or one.values
    role = f"; role {one.role}, by its name" if one.role else ""
    return f"{now}{', '.join(str(value) for value in values if value != one.value)}{role}"


def _knob(knob: Ladder) -> list[str]:
    file, where = f"file = {_toml(knob.file)}", f"  # {knob.file}:{knob.line}"
    if not knob.patches:
        values = [f"values = {_toml(list(knob.values))}", *([f"at = {_toml(knob.at)}"] if knob.at else [])]
        values += [f"role = {_toml(knob.role)}"] if knob.role else []
        limits = [f"low = {_toml(knob.values[0])}", f"high = {_toml(knob.values[-1])}"]
        limits = limits if knob.kind != "choice" else []
        return [f"[edits.{knob.name}]{where}", f'kind = "{knob.kind}"', *values, *limits, file, ""]
    lines = []
    for name, now, then in knob.patches:
        lines += [f"[edits.{name}]{where}", 'kind = "patch"', f"group = {_toml(knob.name)}", file]
        lines += [f"[[edits.{name}.replace]]", file, f"find = {_toml(now)}", f"with = {_toml(then)}", ""]
    return lines


def _toml(value: object) -> str:
    """A value as TOML, from four items on with one item per line; JSON's escapes are valid in TOML, except for DEL."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_toml(name)} = {_toml(entry)}" for name, entry in value.items()) + " }"
    if isinstance(value, list | tuple):
        items = [_toml(item) for item in value]
        return f"[{', '.join(items)}]" if len(items) < 4 else "[\n" + "".join(f"    {item},\n" for item in items) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")

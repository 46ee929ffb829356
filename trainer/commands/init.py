"""`task init --from DIR`: runs the user's command as it is, twice, and writes the task.toml that this showed.

From prose only the values of ideas are taken (`lr=0.3`), and from code only names: constants, options, fields. What a
run cannot show (which of the printed numbers is the metric, which direction is better, which files may be edited) is
asked where it is not the only possibility: `Unknown`, with all open questions at once.
"""

from __future__ import annotations

import re
import shlex
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from programs.common.errors import TaskError, UsageError
from trainer.commands.facts import (
    Fact,
    direction_of,
    invariants_of,
    left_out,
    metric_of,
    no_fact,
    noise_note,
    numbers_of,
    refuse_traceback,
    rows_of,
    tried_values,
    trust_of,
)
from trainer.commands.ladders import ladders
from trainer.commands.named_numbers import NamedNumber
from trainer.commands.questions import OpenQuestions, Unknown, checked_noise, noise_fact
from trainer.commands.repository import OwnRepository, hub_of, packages_of, read, readable_text
from trainer.commands.task_toml import TaskText, TriedRun, Wanted, toml_value
from trainer.data import DataStore
from trainer.experiment import Spec, Trainer
from trainer.streams import Streams
from trainer.task import Task
from trainer.task_file import is_artifact
from trainer.values import constants, nested_values
from trainer.values.metric_names import is_timed

_CODE = (".py", ".sh")
SEEDS = ("SEED", "RANDOM_SEED", "TRAIN_SEED", "seed", "random_seed", "train_seed")
_SEED_NAME = re.compile(r"(?:\w*_)?seed|random_state", re.IGNORECASE)
_SEED_VARIABLE = re.compile(r"""(?:environ|environ\.get|getenv)\s*[\[(]\s*["'](\w*seed\w*)["']""", re.IGNORECASE)
_SEED_OPTION = re.compile(r"""add_argument\(\s*["']--seed["']""")  # with a default, or without
TIMED = "a time or a rate: one experiment at a time, wall time is charged; timed = false in task.toml if it is none"
EQUALS = "the same in both runs: an edit that changes it is invalid, [constraints] in task.toml"
PROPOSED = "the same in both runs: if no edit may change it, take its [constraints] in task.toml"
NO_SEED = "the command gets no seed: {seed} in --command, or --seed FILE.py:NAME"


@dataclass(frozen=True)
class TaskDraft:
    """A task.toml that was tried in two runs."""

    source: OwnRepository
    toml: str
    facts: list[Fact]


class Drafting:
    """Runs what is needed to write a task.toml, each run once, however often a field is asked."""

    def __init__(self, folder: Path, sandbox: bool = True, progress: Callable[[str], None] = lambda _: None) -> None:
        self.folder, self.sandbox, self.progress = folder, sandbox, progress
        self._ran: dict[str, list[TriedRun]] = {}
        self._written: list[str] = []

    def draft(self, wanted: Wanted) -> TaskDraft:
        """Raises Unknown for the fields that are neither given nor the only possibility, TaskError for a command that
        fails, UsageError for flags that do not fit the repository."""
        source = read(self.folder, wanted.exclude, wanted.readable)
        questions = OpenQuestions()
        command, editable, seed = _before_running(source, wanted, questions)
        noise = checked_noise(source, wanted.noise, f"{command.value} {wanted.score_command}")
        wanted = replace(wanted, score_files=_score_files(source, wanted, command.value, editable))
        readable = [*map(readable_text, wanted.readable), *packages_of(source), *hub_of(source)]
        plain = TaskText(source, wanted, command.value, editable, seed, readable)
        runs = self._runs(plain)
        if written := sorted({name for run in runs for name in run.written}):
            if written != self._written:
                self.progress(f"the command writes into {', '.join(written)}: again without")
            self._written = written
            with suppress(TaskError):  # it is a result of an earlier run, unless the command needs it
                return self.draft(replace(wanted, exclude=[*wanted.exclude, *written]))
        questions.answer(lambda: refuse_traceback(runs, wanted.traceback), None)
        none: tuple[NamedNumber, list[float]] = NamedNumber(""), []
        metric, values = questions.answer(lambda: metric_of(runs, wanted.metric), none)
        names = [metric.name] if metric.name else [*numbers_of(runs, wanted.metric)]
        direction = questions.answer(lambda: direction_of(source, names, wanted.direction), no_fact("direction"))
        timed = is_timed(metric.name)
        alike = len({run.text for run in runs}) == 1
        known = questions.answer(
            lambda: noise_fact(noise, values, seed, timed, rows_of(runs, noise), alike), ("", "", "")
        )
        questions.ask()
        settings = ladders(source, editable, wanted.values, command.value)
        knobs = [knob for knob in settings if not knob.reason]
        invariants = invariants_of(runs, metric, settings)
        toml = plain.toml(metric, direction.value, runs, knobs, invariants)
        budget = f"{wanted.budget:g} s given" if wanted.budget else ""
        facts = [
            command,
            Fact("metric", metric.name, _where(wanted.metric, "", "the only NAME: 1.23"), noise_note(values, seed)),
            direction,
            Fact("editable", ", ".join(editable), _where(wanted.editable, "", "the only file of code")),
            Fact("seed", seed or "none", _where(wanted.seed, seed), "" if seed else NO_SEED),
            Fact("time", f"{plain.seconds(runs, timed):.3g} s", "measured", budget),
            *([Fact("timed", "true", metric.name, TIMED)] if timed else []),
            Fact("noise", *known),
            Fact("memory", f"{runs[0].outcome.peak_memory_mb:.0f} MB", "measured"),
            Fact("device", plain.device(runs), "measured"),
            *(Fact("readable", path, "given" if path in wanted.readable else "found") for path in readable),
            Fact("trust", *trust_of(wanted, self.sandbox)),
            *(Fact("score file", name, "score_command", "not seen by training") for name in wanted.score_files),
            *(Fact("equals", knob.name, knob.values[-1], EQUALS if timed else PROPOSED) for knob in invariants),
            *(Fact("knob", knob.name, f"{knob.file}:{knob.line}", tried_values(knob)) for knob in knobs),
            *left_out(source, editable, command.value, self.sandbox),
            *(Fact("left out", knob.name, f"{knob.file}:{knob.line}", knob.reason) for knob in settings if knob.reason),
        ]
        return TaskDraft(source, toml, facts)

    def _runs(self, plain: TaskText) -> list[TriedRun]:
        """Two runs of the untouched files under two seeds."""
        toml = plain.toml(NamedNumber("unknown"), "lower", [], [])
        key = f"{[*plain.source.files]} {toml.partition('[budget]')[2]}"  # which files may be edited changes no run
        if key not in self._ran:
            with tempfile.TemporaryDirectory() as scratch:
                folder = copied(plain.source, Path(scratch) / "task")
                (folder / "task.toml").write_text(toml, "utf-8")
                self._ran[key] = [self._run(Task.load(folder), Path(scratch), seed) for seed in (1, 2)]
        return self._ran[key]

    def _run(self, task: Task, place: Path, seed: int) -> TriedRun:
        from trainer.commands.cures import cure

        assert task.run is not None
        self.progress(f"running {task.run.command} as it is, {'once' if seed == 1 else 'and again'}")
        data = DataStore(task, Streams.from_seed(seed), place / f"data{seed}")
        with Trainer(task, data, sandbox=self.sandbox) as trainer:
            outcome = trainer.run(Spec(task.baseline(), seed))
            left = trainer.command
            if not left.result or (task.scoring["rows"] and left.rows is None):
                message = f"the command fails as it is: {outcome.status}: {outcome.reason}"
                raise TaskError(message, hint=cure(outcome, task))
            rows = 0 if left.rows is None else len(left.rows)
            return TriedRun(outcome, left.result, rows, left.written)


def _before_running(source: OwnRepository, wanted: Wanted, questions: OpenQuestions) -> tuple[Fact, list[str], str]:
    """(command, editable files, what gets the seed). Raises Unknown if it is not known what to run; the question which
    files may be edited waits for those that the runs show, because its answer changes no run."""
    command = questions.answer(lambda: Fact("command", *_command(source, wanted.command)), no_fact("command"))
    editable = questions.answer(lambda: _editable(source, wanted), _code(source, wanted)[:1])
    seed = ""
    if command.value:
        command, seed = questions.answer(lambda: _seed(source, command, editable, wanted.seed), (command, ""))
    if not editable or {"command", "seed"} & {one.field for one in questions.found}:
        if metric := wanted.metric:
            questions.answer(lambda: direction_of(source, [metric], wanted.direction), no_fact("direction"))
        questions.ask()
    return command, editable, seed


def _where(given: object, found: str, otherwise: str = "not found") -> str:
    """Where a fact comes from."""
    return "given" if given else "found" if found else otherwise


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
    refuse_taken(plan.source.folder, into)
    origin = ""
    if into is not None:
        copied(plan.source, folder)
        origin = f"repository = {toml_value(str(plan.source.folder))}\n"
    (folder / "task.toml").write_text(plan.toml.replace("\n\n[budget]", f"\n{origin}\n[budget]", 1), "utf-8")
    return folder


def refuse_taken(folder: Path, into: Path | None) -> None:
    """Raise UsageError if there is a task already, or ``into`` has files."""
    target = into.expanduser() if into else folder
    what = target / "task.toml" if (target / "task.toml").exists() else target
    if what != target or (into and target.exists() and any(target.iterdir())):
        raise UsageError(f"{what}: already exists", hint="remove it, or name a new folder: task init DIR --from …")


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


def _editable(source: OwnRepository, wanted: Wanted) -> list[str]:
    code = _code(source, wanted)
    for name in wanted.editable:
        if name not in source.files:
            raise UsageError(
                f"--editable {name}: no such file in {source.folder}", hint="name a file of the repository"
            )
        if name in (wanted.score_command or "").split():
            hint = "leave it out: the scoring command runs without the edits"
            raise UsageError(f"--editable {name}: a script of score_command stays as it is", hint=hint)
    if wanted.editable or len(code) == 1:
        return list(wanted.editable) or code
    raise Unknown("editable", "which files may be edited? An agent that edits the file that scores it wins", code)


def _code(source: OwnRepository, wanted: Wanted) -> list[str]:
    """The files of code, without the scripts of the scoring command, which runs without the edits."""
    scripts = (wanted.score_command or "").split()
    code = [name for name in source.files if re.search(r"\.(?:py|sh|c|cc|cpp|cu|rs|go|js|ts|jl|R)$", name)]
    return [name for name in code if name not in scripts]


def _score_files(source: OwnRepository, wanted: Wanted, command: str, editable: Sequence[str]) -> list[str]:
    """The files that only the scoring command sees: those that are given, else those that it or a script of it names,
    but for the scripts and modules of the training. The runs of the untouched files show whether that is enough."""
    if wanted.score_files or not wanted.score_command:
        names = [name for name in wanted.score_files if name != "none"]
        if unknown := [name for name in names if name not in source.files or name in editable]:
            message = f"score_files: {unknown[0]} is no file of the repository that stays as it is"
            raise UsageError(message, hint="name a file that only the scoring command reads, or none")
        return names
    scored = wanted.score_command.split()
    training = _read_by(source, [name for name in (*command.split(), *editable) if name not in scored], command)
    code = {*editable, *(name for name in training if name.endswith(_CODE))}
    results = [*wanted.artifacts, *filter(None, [wanted.metric_file])]
    named_files = _read_by(source, scored, wanted.score_command)
    return [name for name in named_files if name not in code and not is_artifact(name, results)]


def _read_by(source: OwnRepository, scripts: Sequence[str], command: str) -> list[str]:
    """The files that a command line, its scripts and their modules name, by file or by folder, or import."""
    read_files = dict.fromkeys(name for name in scripts if name in source.files)
    texts = [command, *map(source.text, read_files)]
    for text in texts:  # which grows
        for name in [name for name in source.files if name not in read_files and _is_named(Path(name), text)]:
            read_files[name] = None
            texts += [source.text(name)] if name.endswith(_CODE) else []
    return [name for name in source.files if name in read_files]


def _is_named(path: Path, text: str) -> bool:
    folder = re.escape(path.parent.name)
    if path.name in text and re.search(
        rf"(?:(?<!\w/)|(?<={folder or '[.]'}/))(?<![\w.-]){re.escape(path.name)}(?!\w)", text
    ):
        return True
    if path.suffix == ".py":
        module = rf"^\s*(?:import|from)\s+(?:[\w.]+\.)?{re.escape(path.stem)}\b"
        return path.stem in text and bool(re.search(module, text, re.MULTILINE))
    a_file = r"/[\w.-]+(?:[\"'/\s]|$)"  # behind a folder: this file alone is named
    return path.parent.name in text and bool(folder and re.search(rf"[\"'/]{folder}(?!{a_file})[\"'/]", text))


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
    texts = {file: source.text(file) for file in scripts}
    options = [f for f, text in texts.items() if "--seed" in nested_values.read(f, text) or _SEED_OPTION.search(text)]
    plain = not re.search(r"[;&|]|--seed", command.value)
    if options and not held and plain:
        return replace(command, value=f"{command.value} --seed {{seed}}"), "{seed}"
    if len(held) == 1 and not options and held[0].rpartition(":")[2] in SEEDS:
        return command, held[0]
    lines = [line for line in source.lines(*source.code) if re.search("seed|random_state", line.text, re.I)]
    variable = next(((line, found[1]) for line in lines if (found := _SEED_VARIABLE.search(line.text))), None)
    if variable and not held:
        line, name = variable
        way = f"--command {shlex.quote(f'{name}={{seed}} {command.value}')}"
        message = f"the code reads a seed from the environment variable {name} ({line.where}): {way} sets it"
        raise Unknown("seed", message, ["none"], f"{way}; with --seed none all runs have the same seed")
    if held or lines:
        which = "which of these is" if held else f"the code speaks of a seed ({lines[0].where}): what is"
        raise Unknown("seed", f"{which} the seed of a training, a constant, an option or none?", [*held, "none"])
    return command, ""

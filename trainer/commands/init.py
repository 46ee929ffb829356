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
from dataclasses import dataclass, replace
from pathlib import Path

from programs.errors import TaskError, UsageError
from trainer.commands import named_numbers
from trainer.commands.ladders import Ladder, ladders
from trainer.commands.named_numbers import NamedNumber
from trainer.commands.noise_answer import checked_noise, noise_fact
from trainer.commands.questions import OpenQuestions, Unknown
from trainer.commands.repository import OwnRepository, read
from trainer.commands.shown import hub_of, packages_of, readable_text
from trainer.commands.task_toml import TaskText, TriedRun, Wanted, toml_value
from trainer.data import DataStore
from trainer.experiment import Spec
from trainer.outcome import Outcome
from trainer.sandbox import FLAG
from trainer.scoring import InvalidPredictions
from trainer.streams import Streams
from trainer.task import Task
from trainer.task_file import is_artifact
from trainer.values import constants, nested_values
from trainer.values.metric_names import ending_direction, is_timed

SEEDS = ("SEED", "RANDOM_SEED", "TRAIN_SEED", "seed", "random_seed", "train_seed")
_SEED_NAME = re.compile(r"(?:\w*_)?seed|random_state", re.IGNORECASE)
_SEED_VARIABLE = re.compile(r"""(?:environ|environ\.get|getenv)\s*[\[(]\s*["'](\w*seed\w*)["']""", re.IGNORECASE)
_SEED_OPTION = re.compile(r"""add_argument\(\s*["']--seed["']""")  # with a default, or without
_OTHER_WAY = {
    "lower": re.compile(r"\b(?:high|higher|highest|maximi[sz]\w*|larger|largest|increas\w*|greater|raise|up)\b", re.I),
    "higher": re.compile(
        r"\b(?:low|lower|lowest|minimi[sz]\w*|smaller|smallest|decreas\w*|reduc\w*|less|down)\b", re.I
    ),
}


TIMED = "a time or a rate: one experiment at a time, wall time is charged; timed = false in task.toml if it is none"


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
        self._ran: dict[str, list[TriedRun]] = {}

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
        none: tuple[NamedNumber, list[float]] = NamedNumber(""), []
        metric, values = questions.answer(lambda: _metric(runs, wanted), none)
        direction = _no_fact("direction")
        if metric.name:
            direction = questions.answer(lambda: _direction(source, metric.name, wanted.direction), direction)
        timed = is_timed(metric.name)
        known = questions.answer(lambda: noise_fact(noise, values, seed, timed, _rows(runs, wanted)), ("", "", ""))
        questions.ask()
        knobs = ladders(source, editable, wanted.values)
        toml = plain.toml(metric, direction.value, runs, [knob for knob in knobs if not knob.reason])
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
                f"{plain.seconds(runs, timed):.3g} s",
                "measured",
                f"{wanted.budget:g} s given" if wanted.budget else "",
            ),
            *([Fact("timed", "true", metric.name, TIMED)] if timed else []),
            Fact("noise", *known),
            Fact("memory", f"{runs[0].outcome.peak_memory_mb:.0f} MB", "measured"),
            Fact("device", plain.device(runs), "measured"),
            *(Fact("readable", path, "given" if path in wanted.readable else "found") for path in readable),
            Fact("trust", *_trust(wanted, self.sandbox)),
            *(Fact("score file", name, "score_command", "not seen by training") for name in wanted.score_files),
            *(Fact("knob", one.name, f"{one.file}:{one.line}", _tried(one)) for one in knobs if not one.reason),
            *(Fact("left out", text.split(":")[0], "the folder", text.split(": ", 1)[-1]) for text in source.left_out),
            *(Fact("left out", one.name, f"{one.file}:{one.line}", one.reason) for one in knobs if one.reason),
        ]
        return TaskDraft(source, toml, facts, [run.outcome for run in runs])

    def _runs(self, plain: TaskText) -> list[TriedRun]:
        """Two runs of the untouched files under two seeds."""
        toml = plain.toml(NamedNumber("unknown"), "lower", [], [])
        key = toml.partition("[budget]")[2]  # which files may be edited changes no run
        if key not in self._ran:
            with tempfile.TemporaryDirectory() as place:
                folder = copied(plain.source, Path(place) / "task")
                (folder / "task.toml").write_text(toml, "utf-8")
                self._ran[key] = [self._run(Task.load(folder), Path(place), seed) for seed in (1, 2)]
        return self._ran[key]

    def _run(self, task: Task, place: Path, seed: int) -> TriedRun:
        from trainer.commands.cures import cure
        from trainer.commands.trainer import CommandTrainer

        assert task.run is not None
        self.progress(f"running {task.run.command} as it is, {'once' if seed == 1 else 'and again'}")
        data = DataStore(task, Streams.from_seed(seed), place / f"data{seed}")
        with CommandTrainer(task, data, sandbox=self.sandbox) as trainer:
            outcome = trainer.run(Spec(task.baseline(), seed))
            if not trainer.result or (task.scoring["rows"] and trainer.rows is None):
                message = f"the command fails as it is: {outcome.status}: {outcome.reason}"
                raise TaskError(message, hint=cure(outcome, task))
            return TriedRun(outcome, trainer.result, 0 if trainer.rows is None else len(trainer.rows))


def _before_running(source: OwnRepository, wanted: Wanted, questions: OpenQuestions) -> tuple[Fact, list[str], str]:
    """(command, editable files, what gets the seed). Raises Unknown if it is not known what to run; the question which
    files may be edited waits for those that the runs show, because its answer changes no run."""
    command = questions.answer(lambda: Fact("command", *_command(source, wanted.command)), _no_fact("command"))
    editable = questions.answer(lambda: _editable(source, wanted.editable), _code(source)[:1])
    seed = ""
    if command.value:
        command, seed = questions.answer(lambda: _seed(source, command, editable, wanted.seed), (command, ""))
    if not editable or {"command", "seed"} & {one.field for one in questions.found}:
        if metric := wanted.metric:
            questions.answer(lambda: _direction(source, metric, wanted.direction), _no_fact("direction"))
        questions.ask()
    return command, editable, seed


def _no_fact(field: str) -> Fact:
    """In place of a field that is asked."""
    return Fact(field, "", "")


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
    place = into.expanduser() if into else folder
    what = place / "task.toml" if (place / "task.toml").exists() else place
    if what != place or (into and place.exists() and any(place.iterdir())):
        raise UsageError(f"{what}: already exists", hint="remove it, or name a new folder: --into DIR")


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
    code = _code(source)
    if given or len(code) == 1:
        return list(given) or code
    raise Unknown("editable", "which files may be edited? An agent that edits the file that scores it wins", code)


def _code(source: OwnRepository) -> list[str]:
    return [name for name in source.files if re.search(r"\.(?:py|sh|c|cc|cpp|cu|rs|go|js|ts|jl|R)$", name)]


def _score_files(source: OwnRepository, wanted: Wanted, command: str, editable: Sequence[str]) -> list[str]:
    """The files that only the scoring command sees: those that are given, else those that it or a script of it names,
    but for the scripts and modules of the training. The runs of the untouched files show whether that is enough."""
    if wanted.score_files or not wanted.score_command:
        names = [name for name in wanted.score_files if name != "none"]
        if unknown := [name for name in names if name not in source.files or name in editable]:
            message = f"score_files: {unknown[0]} is no file of the repository that stays as it is"
            raise UsageError(message, hint="name a file that only the scoring command reads, or none")
        return names
    scripts = [name for name in source.files if name in wanted.score_command.split()]
    text = "\n".join([wanted.score_command, *map(source.text, scripts)])
    training = "\n".join([command, *map(source.text, [*editable, *(n for n in source.files if n in command.split())])])

    def is_of_training(name: str) -> bool:
        module = rf"^\s*(?:import|from)\s+{re.escape(Path(name).stem)}\b"
        return name in editable or name in command.split() or bool(re.search(module, training, re.MULTILINE))

    named = [name for name in source.files if re.search(rf"(?<![\w.-]){re.escape(Path(name).name)}(?!\w)", text)]
    left = [name for name in named if not is_of_training(name) and not is_artifact(name, wanted.artifacts)]
    return [name for name in left if name != wanted.metric_file]


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


def _rows(runs: Sequence[TriedRun], wanted: Wanted) -> int:
    """How many values of rows each run left; 0 without such a file."""
    if len(counts := {run.rows for run in runs}) > 1:
        message = f"--noise {wanted.noise}: {' and '.join(f'{count:,}' for count in sorted(counts))} rows in two runs"
        raise TaskError(message, hint="let the command write a value for each validation row, the same rows each time")
    return counts.pop()


def _metric(runs: Sequence[TriedRun], wanted: Wanted) -> tuple[NamedNumber, list[float]]:
    """(the number that is the metric: the one that is given, else the only one that both runs print; its values)."""
    found: dict[str, NamedNumber] = {}
    for form in range(len(named_numbers.FORMS)):
        first, *others = (named_numbers.read(run.text, form) for run in runs)
        here = {name: one for name, one in first.items() if all(name in other for other in others)}
        found = here | found if wanted.metric in here else found or here
    if not found:
        last = next((line.strip() for line in reversed(runs[0].text.splitlines()) if line.strip()), "")
        raise TaskError(f"no number with a name in the output; its last line is {last[:60]!r}", hint="print NAME: 1.23")
    shown = [f"{name} = {one.values[-1]}" for name, one in found.items()]
    only = [one.name for one in found.values() if len(found) == 1 and one.form == 0]
    name = wanted.metric or "".join(only)
    if not name:
        raise Unknown("metric", f"which is the metric? The command prints {', '.join(shown[:12])}", list(found))
    ends = [name] if name in found else [one for one in found if re.search(rf"[. ]{re.escape(name)}$", one)]
    if len(ends) != 1:
        raise Unknown("metric", f"the command does not print {name}, but {', '.join(shown[:12])}", ends or list(found))
    one = found[ends[0]]
    if alike := named_numbers.unclear(one.name, found):
        raise UsageError(f"{name} cannot be told from {alike[0]}", hint=f"let the command print a line '{name}: 1.23'")
    try:
        return one, [one.last_in(run.text) for run in runs]
    except InvalidPredictions as error:
        raise TaskError(f"{name}: {error}", hint="let the command print it as its last number") from None


def _direction(source: OwnRepository, metric: str, given: str | None) -> Fact:
    """By a list of names (`trainer/values/metric_names.toml`), where no sentence of the repository says otherwise."""
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


def _noise(values: Sequence[float], seed: str) -> str:
    runs = "two seeds" if seed else "two runs"
    return f"{values[0]:.6g} and {values[1]:.6g} in {runs}" if values[0] != values[1] else f"{values[0]:.6g} in {runs}"


def _seed_note(seed: str) -> str:
    return "" if seed else "every run has the seed of the code: {seed} in --command, or --seed FILE.py:NAME"


def _trust(wanted: Wanted, sandboxed: bool) -> tuple[str, str, str]:
    if not sandboxed:
        return "unverified", f"given {FLAG}", "without a sandbox, code can change a score"
    if wanted.score_command:
        return "scored", "given", "a separate command scores what training leaves"
    return "self-reported", "no --score-command", "the code that may be edited prints its own metric"


def _tried(one: Ladder) -> str:
    role = f"; role {one.role}, by its name" if one.role else ""
    return f"{one.value!r}: {', '.join(str(value) for value in one.values if value != one.value)}{role}"

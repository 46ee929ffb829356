"""What two runs of a command and the files of its repository show of a task, each as a `Fact`; else `Unknown`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from programs.common.errors import TaskError, UsageError
from trainer.commands import named_numbers
from trainer.commands.cures import traceback_in
from trainer.commands.ladders import Ladder
from trainer.commands.named_numbers import NamedNumber
from trainer.commands.questions import Unknown
from trainer.commands.repository import OwnRepository
from trainer.commands.task_toml import TriedRun, Wanted
from trainer.sandbox import FLAG
from trainer.scoring import InvalidPredictions
from trainer.values.metric_names import certain_direction, is_timed, plain_name

_OTHER_WAY = {
    "lower": re.compile(r"\b(?:high|higher|highest|maximi[sz]\w*|larger|largest|increas\w*|greater|raise|up)\b", re.I),
    "higher": re.compile(
        r"\b(?:low|lower|lowest|minimi[sz]\w*|smaller|smallest|decreas\w*|reduc\w*|less|down)\b", re.I
    ),
}
_WAYS = ["lower", "higher"]
_ARROW = re.compile(r"\d\s*(?:->|→|=>)\s*[-+.\d]")
_USED = {"memory", "mem", "mb", "kib", "bytes", "rss", "vram"}  # numbers of a machine, which an edit may change
_VARIABLE = re.compile(r"""(?:environ|environ\.get|getenv)\s*[\[(]\s*["'](\w+)["']""")
_SETTINGS = (".yaml", ".yml", ".toml", ".json")
_PATTERN, _LARGEST = 200, 1e15  # of a constraint
EXPECTED = "expected"


@dataclass(frozen=True)
class Fact:
    """One field of the task: its value, where it comes from, and what is to be known about it."""

    field: str
    value: str
    where: str
    note: str = ""


def no_fact(field: str) -> Fact:
    """In place of a field that is asked."""
    return Fact(field, "", "")


def numbers_of(runs: Sequence[TriedRun], wanted: str | None) -> dict[str, NamedNumber]:
    """The numbers with a name that all runs print, of the first form that any has or that ``wanted`` has."""
    numbers: dict[str, NamedNumber] = {}
    for form in range(len(named_numbers.FORMS)):
        first, *others = (named_numbers.read(run.text, form) for run in runs)
        common = {name: one for name, one in first.items() if all(name in other for other in others)}
        numbers = common | numbers if wanted in common else numbers or common
    return numbers


def refuse_traceback(runs: Sequence[TriedRun], answer: str | None) -> None:
    """Raise Unknown if a run printed a traceback and ended with exit code 0, unless that is expected: its last number
    may be of a run that broke."""
    error = next(filter(None, (traceback_in(run.outcome.log) for run in runs)), "")
    if error and answer != EXPECTED:
        message = (
            f"the command prints a traceback and ends with exit code 0: {error}. Is its metric that of a whole run?"
        )
        raise Unknown("traceback", message, [EXPECTED], f"--set traceback={EXPECTED}")


def metric_of(runs: Sequence[TriedRun], wanted: str | None) -> tuple[NamedNumber, list[float]]:
    """(the number that is the metric: the one that is given, else the only one that both runs print; its values)."""
    numbers = numbers_of(runs, wanted)
    lines = [line.strip() for line in runs[0].text.splitlines() if line.strip()]
    pair = next((line for line in reversed(lines) if _ARROW.search(line) and (not wanted or wanted in line)), "")
    arrow = f"; which number counts in {pair[:60]!r}?" if pair else ""
    if not numbers:
        last = lines[-1] if lines else ""
        message = f"no number with a name in the output; its last line is {last[:60]!r}{arrow if pair != last else ''}"
        raise TaskError(message, hint="print NAME: 1.23")
    values = [f"{name} = {number.values[-1]}" for name, number in numbers.items()]
    only = [number.name for number in numbers.values() if len(numbers) == 1 and number.form == 0]
    name = wanted or "".join(only if not pair else [])
    if not name:
        raise Unknown(
            "metric", f"which is the metric? The command prints {', '.join(values[:12])}{arrow}", list(numbers)
        )
    ends = (
        [name] if name in numbers else [number for number in numbers if re.search(rf"[. ]{re.escape(name)}$", number)]
    )
    if len(ends) != 1:
        message = f"the command does not print {name}, but {', '.join(values[:12])}{arrow}"
        raise Unknown("metric", message, ends or list(numbers))
    number = numbers[ends[0]]
    if alike := named_numbers.unclear(number.name, numbers):
        raise UsageError(f"{name} cannot be told from {alike[0]}", hint=f"let the command print a line '{name}: 1.23'")
    try:
        return number, [number.last_in(run.text) for run in runs]
    except InvalidPredictions as error:
        raise TaskError(f"{name}: {error}", hint="let the command print it as its last number") from None


def direction_of(source: OwnRepository, names: Sequence[str], given: str | None) -> Fact:
    """By a list of names (`trainer/values/metric_names.toml`), where no sentence of the repository says otherwise.
    ``names``: of the numbers that may be the metric, which have to agree. Raises Unknown where nothing decides."""
    if given:
        return Fact("direction", given, "given")
    metric = names[0] if len(names) == 1 else "value of the metric"
    question, ways = f"is a lower or a higher {metric} better?", {certain_direction(name) for name in names}
    way = ways.pop()
    if way is None or ways:
        raise Unknown("direction", question, _WAYS)
    named = "|".join(re.escape(re.split(r"[. ]", name)[-1]) for name in names)
    own_words, other = re.compile(rf"(?<![\w])(?:{named})(?![\w])", re.IGNORECASE), _WAYS[way == "lower"]
    for line in source.lines(*source.prose):
        for sentence in re.split(r"(?<=[.!;])\s+", line.text):
            if (
                own_words.search(sentence)
                and _OTHER_WAY[way].search(sentence)
                and not _OTHER_WAY[other].search(sentence)
            ):
                raise Unknown("direction", f"{question} By its name {way}, but {line.where}: {sentence[:80]}", _WAYS)
    return Fact("direction", way, "by its name")


def invariants_of(runs: Sequence[TriedRun], metric: NamedNumber, knobs: Sequence[Ladder]) -> list[NamedNumber]:
    """The other numbers that both runs print alike while the metric varies, but for those of a machine and of knobs."""
    first, *others = (named_numbers.read(run.text, metric.form) for run in runs)
    invariants, settings = dict[str, NamedNumber](), {plain_name(knob.name) for knob in knobs}
    for name, number in first.items():
        plain = plain_name(name)
        if all(name in other and other[name].values[-1] == number.values[-1] for other in others):
            if name == metric.name:
                return []
            apart = is_timed(name) or plain in settings or _USED & {*plain.split("_")}
            fits = len(number.pattern) <= _PATTERN and abs(number.last) <= _LARGEST
            if fits and not apart and not named_numbers.unclear(name, first):
                invariants[plain] = number
    return [*invariants.values()]


def rows_of(runs: Sequence[TriedRun], noise: str | None) -> int:
    """How many values of rows each run left; 0 without such a file."""
    if len(counts := {run.rows for run in runs}) > 1:
        message = f"--noise {noise}: {' and '.join(f'{count:,}' for count in sorted(counts))} rows in two runs"
        raise TaskError(message, hint="let the command write a value for each validation row, the same rows each time")
    return counts.pop()


def noise_note(values: Sequence[float], seed: str) -> str:
    runs = "two seeds" if seed else "two runs"
    return f"{values[0]:.6g} and {values[1]:.6g} in {runs}" if values[0] != values[1] else f"{values[0]:.6g} in {runs}"


def trust_of(wanted: Wanted, sandboxed: bool) -> tuple[str, str, str]:
    """(the trust of a score; where from; why)."""
    if not sandboxed:
        return "unverified", f"given {FLAG}", "without a sandbox, code can change a score"
    if wanted.score_command:
        return "scored", "given", "a separate command scores what training leaves"
    return "self-reported", "no --set score_command", "the code that may be edited prints its own metric"


def tried_values(one: Ladder) -> str:
    role = f"; role {one.role}, by its name" if one.role else ""
    return f"{one.value!r}: {', '.join(str(value) for value in one.values if value != one.value)}{role}"


def left_out(source: OwnRepository, editable: Sequence[str], command: str, sandboxed: bool) -> Iterator[Fact]:
    """What a user may take for granted, and the task has not: files, settings in read-only files, own variables."""
    for text in source.left_out:
        yield Fact("left out", text.split(":")[0], "the folder", text.split(": ", 1)[-1])
    for name in source.files:
        if "conf" in name.lower() and name.endswith(_SETTINGS) and name not in editable:
            yield Fact("left out", name, "the folder", f"read-only, its settings are no knobs: --editable {name}")
    lacking = set[str]()
    if sandboxed:
        from trainer.sandbox.view import environment  # for Linux alone

        lacking = os.environ.keys() - {*environment(()), "HOME"}
    lines = {name: line for line in source.lines(*source.code) for name in _VARIABLE.findall(line.text)}
    for name, line in lines.items():
        if name in lacking and f"{name}=" not in command:
            note = f"your environment has it, the command does not: {name}=VALUE in --command, or [run] environment"
            yield Fact("left out", name, line.where, note)

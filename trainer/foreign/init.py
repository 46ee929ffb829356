"""`task init --from DIR`: from a stranger's repository to a task.toml that runs it as it is."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from programs.errors import UsageError
from trainer import constants
from trainer.foreign import beside, budget, commands, ladders, metrics, repository, roles, surroundings
from trainer.foreign.facts import Fact
from trainer.scaffold import task_name

_HARD_FACTOR, _HARD_EXTRA = 2.0, 10.0  # start-up, compilation and evaluation lie outside of such a budget
_WALL_FACTOR = 4.0  # what hangs is ended after so many hard lines; our own tasks wait longer, for they never wait
_MEMORY_MB = 4096
_SEED_READ = re.compile(r"""(?:environ(?:\.get)?|getenv)\s*[(\[]\s*["']((?:[A-Z]+_)?SEED)["']|\$\{(SEED):?-""")
_SEEDS = ("SEED", "RANDOM_SEED", "seed", "random_seed", "TRAIN_SEED")


@dataclass(frozen=True)
class Wanted:
    """What the user says; the rest is looked for."""

    command: str | None = None
    metric: str | None = None
    metric_file: str | None = None
    direction: str | None = None
    budget: float | None = None
    editable: Sequence[str] = ()
    exclude: Sequence[str] = ()
    readable: Sequence[str] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    ladders: bool = True
    score_command: str | None = None
    artifacts: Sequence[str] = ()
    name: str | None = None


@dataclass(frozen=True)
class Draft:
    """What was found, and the task.toml made of it (empty where something essential is missing)."""

    source: repository.Repository
    facts: tuple[Fact, ...]
    toml: str

    @property
    def lacking(self) -> list[Fact]:
        return [fact for fact in self.facts if not fact.found and fact.field in _ESSENTIAL]


_ESSENTIAL = ("command", "metric", "direction", "editable")


def draft(folder: Path, wanted: Wanted) -> Draft:
    """Read a repository and write nothing. NotFound, UsageError for flags that do not fit it."""
    source = repository.read(folder, wanted.exclude, wanted.readable)
    command = commands.find(source, wanted.command)
    metric = metrics.find(source, wanted.metric, wanted.metric_file)
    way = metrics.direction(source, metric.name.value, wanted.direction)
    editable = roles.editable(source, wanted.editable, command.value)
    seconds = budget.find(source, wanted.budget, command)
    if command.found and command.where != "given":
        command = replace(command, value=budget.filled(command.value))
    led = beside.links(source, tuple(wanted.readable))
    seed = _seed(source, editable.value or [], command.value or "")
    around = surroundings.find(source, wanted.readable)
    knobs = ladders.find(source, editable.value or [], wanted.values) if wanted.ladders else []
    facts = [command, metric.name, _place(metric), way, editable, seconds.fact, seed, *around]
    facts += [Fact("edits", [knob.name for knob in knobs] or None, _places(knobs), ladders.FLAG, _edits_note(knobs))]
    facts += [
        Fact("left out", text.split(":")[0], text.split(": ", 1)[-1], "--exclude") for text in source.left_out[:20]
    ]
    facts += beside.missing(source, led)
    facts.append(_scoring(wanted))
    found = Draft(source, tuple(facts), "")
    if found.lacking:
        return found
    parts = {
        "name": wanted.name or task_name(folder),
        "facts": facts,
        "command": command.value,
        "metric": metric,
        "direction": way.value,
        "editable": editable.value,
        "budget": seconds,
        "seed": seed.value or "",
        "readable": [
            fact.value for fact in around if fact.field == "readable" and fact.value and fact.value not in led.values()
        ],
        "links": led,
        "knobs": knobs,
    }
    return Draft(source, tuple(facts), _toml(source, wanted, parts))


def write(found: Draft, into: Path | None) -> Path:
    """Write task.toml into the repository, or into a copy of its files. UsageError where there is one already."""
    if found.lacking:
        fact = found.lacking[0]
        raise UsageError(f"{found.source.folder}: {fact.field} not found: {fact.note}", hint=f"name it: {fact.flag} …")
    place = found.source.folder if into is None else into.expanduser()
    if (place / "task.toml").exists() or (into is not None and place.exists() and any(place.iterdir())):
        what = place / "task.toml" if (place / "task.toml").exists() else place
        raise UsageError(f"{what}: exists already", hint="remove it, or name a new folder: --into DIR")
    if into is not None:
        for name in found.source.files:
            target = place / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(found.source.folder / name, target, follow_symlinks=False)
    (place / "task.toml").write_text(found.toml, "utf-8")
    return place


def _place(metric: metrics.Metric) -> Fact:
    where = metric.file or "the output"
    value = f"{where} at {metric.key}" if metric.key else f"{where}, its last '{metric.name.value}: NUMBER'"
    return Fact("metric is read from", value if metric.name.found else None, metric.name.where, metrics.FILE)


def _seed(source: repository.Repository, editable: Sequence[str], command: str) -> Fact:
    """A constant that holds the seed, so that each experiment can have its own."""
    if "{seed}" in command:
        return Fact("seed", "", "the command", commands.FLAG, "{seed} in the command")
    if variable := next(iter(_seed_variables(source)), None):
        return Fact("seed", "", variable, commands.FLAG, f"the variable {variable}")
    for file in [*editable, *source.code]:
        if not file.endswith(".py"):
            continue
        known = constants.read(source.text(file))
        for name in _SEEDS:
            if type(known.get(name)) is int:
                number = next((line.number for line in source.lines(file) if line.text.startswith(name)), 1)
                return Fact("seed", f"{file}:{name}", f"{file}:{number}", commands.FLAG)
    note = "nothing takes a seed: repeats differ by chance alone; {seed} in --command gives it one"
    return Fact("seed", None, "not found", commands.FLAG, note)


def _environment(source: repository.Repository, seconds: budget.Budget) -> dict[str, str]:
    """Variables that the code reads its budget and its seed from."""
    found = {seconds.variable: "{budget}"} if seconds.variable else {}
    return {**found, **dict.fromkeys(_seed_variables(source), "{seed}")}


def _seed_variables(source: repository.Repository) -> list[str]:
    lines = (line for file in source.code for line in source.lines(file))
    return list(dict.fromkeys(match[1] or match[2] for line in lines for match in _SEED_READ.finditer(line.text)))


def _scoring(wanted: Wanted) -> Fact:
    if wanted.score_command:
        return Fact("trust", "scored", "given", "--score-command", "a command of its own scores what training leaves")
    note = "the metric is what the repository says of itself; --score-command with --artifact scores it apart"
    return Fact("trust", "self-reported", "assumed", "--score-command", note)


def _places(knobs: Sequence[ladders.Ladder]) -> str:
    return ", ".join(dict.fromkeys(knob.file for knob in knobs)) or "not found"


def _edits_note(knobs: Sequence[ladders.Ladder]) -> str:
    if not knobs:
        return "no constants to try: a researcher with a model can still edit freely"
    return "ladders of multiples around each constant, for a researcher without a model"


def _toml(source: repository.Repository, wanted: Wanted, parts: Mapping[str, Any]) -> str:
    metric: metrics.Metric = parts["metric"]
    seconds: budget.Budget = parts["budget"]
    edits = parts["editable"]
    where = {fact.field: fact.where for fact in parts["facts"]}
    lines = [
        "# Written by `metaloop task init --from`: runs this repository as it is. Behind a line: where it was found.",
        "[task]",
        f"name = {_text(parts['name'])}",
        f"metric = {_text(metric.name.value)}  # {where['metric']}",
        f"direction = {_text(parts['direction'])}  # {where['direction']}",
        f"editable = {_list(edits)}  # {where['editable']}",
        f"read_only = {_list(roles.read_only(source, edits))}",
        "",
        "[budget]",
        f"seconds = {_float(seconds.fact.value)}  # {where['budget']}",
        f'basis = "{seconds.basis}"  # what speaks for these seconds; `metaloop task check DIR --write` measures them',
        f"hard_factor = {_HARD_FACTOR}  # killed at so many times the budget, plus hard_extra seconds of CPU,",
        f"hard_extra = {_HARD_EXTRA}",
        f"wall_factor = {_WALL_FACTOR}  # or so many times that of wall time",
        f"memory_mb = {_MEMORY_MB}",
        "",
        "[score]",
        'kind = "printed"',
    ]
    lines += [f"file = {_text(metric.file)}"] if metric.file else []
    lines += [f"key = {_text(metric.key)}"] if metric.key else [f"pattern = {_text(metric.pattern)}"]
    lines += ["", "[run]", f"command = {_text(parts['command'])}  # {where['command']}"]
    run: dict[str, Any] = {
        "seed_constant": parts["seed"],
        "budget_constant": seconds.constant,
        "readable": parts["readable"],
        "executable": roles.executable(source),
        "score_command": wanted.score_command or "",
        "artifacts": list(wanted.artifacts),
        "environment": _environment(source, seconds),
        "links": parts["links"],
    }
    lines += [f"{key} = {_any(value)}" for key, value in run.items() if value]
    if parts["knobs"]:
        lines += ["", "# Made from the constants' present values: all that a researcher without a model can try.",
                  "# Correct or remove what makes no sense; one with a model edits the files freely."]  # fmt: skip
    for knob in parts["knobs"]:
        lines += _knob(knob)
    return "\n".join(lines) + "\n"


def _knob(knob: ladders.Ladder) -> list[str]:
    if knob.kind != "patch":
        values = ", ".join(_value(value) for value in knob.values)
        lines = ["", f"[edits.{knob.name}]  # {knob.where}", f'kind = "{knob.kind}"', f"values = [{values}]"]
        if knob.kind != "choice":
            lines += [f"low = {_value(knob.values[0])}", f"high = {_value(knob.values[-1])}"]
        return [*lines, f"file = {_text(knob.file)}"]
    lines = []
    for name, now, then in knob.patches:
        lines += ["", f"[edits.{name}]  # {knob.where}", 'kind = "patch"', f"group = {_text(knob.name)}"]
        lines += [f"file = {_text(knob.file)}", f"[[edits.{name}.replace]]", f"file = {_text(knob.file)}"]
        lines += [f"find = {_text(now)}", f"with = {_text(then)}"]
    return lines


def _text(value: Any) -> str:
    """A TOML basic string; JSON's escapes are TOML's, but for DEL."""
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _list(values: Sequence[str]) -> str:
    if len(values) < 4:
        return "[" + ", ".join(_text(value) for value in values) + "]"
    return "[\n" + "".join(f"    {_text(value)},\n" for value in values) + "]"


def _any(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_text(name)} = {_text(text)}" for name, text in value.items()) + " }"
    return _list(value) if isinstance(value, list) else _text(value)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return _text(value) if isinstance(value, str) else _float(value) if isinstance(value, float) else str(value)


def _float(value: float) -> str:
    """TOML wants a digit on both sides of the point."""
    text = repr(float(value))
    return text if "." in text or "e" in text else f"{text}.0"

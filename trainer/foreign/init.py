"""`task init --from DIR`: writes a task.toml that runs a third-party repository unchanged."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from programs.errors import UsageError
from trainer.foreign import beside, budget, commands, ladders, limits, metrics, repository, roles, seeds, surroundings
from trainer.foreign.facts import RepositoryFact
from trainer.scaffold import task_name

_MOST_LEFT_OUT = 40
_HARD_FACTOR, _HARD_EXTRA = 2.0, 10.0  # such a budget excludes start-up, compilation and evaluation
_WALL_FACTOR = 4.0  # hard limit of wall time over that of CPU time; higher in our own tasks, which are never idle


@dataclass(frozen=True)
class Wanted:
    """The values that the user gives by flags; the others are searched for."""

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
    seed_variable: bool = False
    origins: Mapping[str, str] = field(default_factory=dict)  # of values that the user did not give: field → where

    def answered(self, name: str, answer: str) -> Wanted:
        """With the answer of a person or a model to one of the fields that every task needs. ValueError for no time."""
        if name == "budget":
            return replace(self, budget=budget.seconds_of(answer))
        if name == "editable":
            return replace(self, editable=tuple(answer.replace(",", " ").split()))
        if name == "metric":
            return replace(self, metric=answer)
        return replace(self, command=answer) if name == "command" else replace(self, direction=answer)


@dataclass(frozen=True)
class Draft:
    """The facts about a repository, and the task.toml made from them (empty if something essential is missing)."""

    source: repository.ForeignRepository
    facts: tuple[RepositoryFact, ...]
    toml: str
    changed: Mapping[str, str] = field(default_factory=dict)  # files of the repository that are written anew

    @property
    def lacking(self) -> list[RepositoryFact]:
        return [fact for fact in self.facts if not fact.is_known and fact.field in _ESSENTIAL]


_LONGER = re.compile(r"(?:(?:n|num|max|train|training|total)_?)?(?:epochs?|steps|iters?|iterations|updates)", re.I)
_ESSENTIAL = ("command", "metric", "direction", "editable", "budget")


def draft(folder: Path, wanted: Wanted) -> Draft:
    """Read a repository without writing anything. NotFound, UsageError for flags that do not fit it."""
    source = repository.read(folder, wanted.exclude, wanted.readable)
    metric = metrics.find(source, wanted.metric, wanted.metric_file)
    command = commands.find(source, wanted.command, metric.name.where.rpartition(":")[0])
    way = metrics.direction(source, metric.name.value, wanted.direction)
    editable = roles.editable(source, wanted.editable, command.value)
    seconds = budget.find(source, wanted.budget, command)
    if command.is_known and command.where != "given":
        line = budget.filled(command.value)
        option = commands.seed_option(line, source)
        command = replace(command, value=f"{line} {option} {{seed}}" if option else line)
    led = beside.links(source, tuple(wanted.readable))
    seed = seeds.find(source, editable.value or [], command.value or "", wanted.seed_variable)
    around = surroundings.find(source, wanted.readable)
    judged = []
    if wanted.ladders:
        name = str(metric.name.value or "")
        judged = ladders.judged(source, editable.value or [], wanted.values, command.value or "", name)
    knobs = ladders.offered(judged)
    facts = [command, metric.name, _read_from(metric), way, editable, seconds.fact, seed, *around]
    facts += [
        RepositoryFact(
            "edits", [knob.name for knob in knobs] or None, _files(knobs), ladders.FLAG, _edits_note(knobs, seconds)
        )
    ]
    facts += [
        RepositoryFact("left out", text.split(":")[0], text.split(": ", 1)[-1], "--exclude")
        for text in source.left_out[:20]
    ]
    facts += [
        RepositoryFact("left out", knob.at or knob.name, reason, ladders.FLAG, f"not varied: {knob.where}")
        for knob, reason in [(knob, reason) for knob, reason in judged if reason][:_MOST_LEFT_OUT]
    ]
    stated, left = limits.find(source, editable.value or [], metric.name.value or "", bool(metric.key))
    facts += [limit.fact for limit in stated] + left
    facts += beside.missing(source, led)
    facts.append(_scoring(wanted))
    facts = [replace(fact, where=wanted.origins.get(fact.field, fact.where)) for fact in facts]
    result = Draft(source, tuple(facts), "")
    if result.lacking:
        return result
    changed = seeds.rewritten(source) if wanted.seed_variable and seed.flag == seeds.FLAG else {}
    return replace(result, toml=_toml(result, wanted, metric, seconds, led, knobs, stated), changed=changed)


def write(plan: Draft, into: Path | None) -> Path:
    """Write task.toml into the repository, or into a copy of its files. UsageError if there is one already."""
    if plan.lacking:
        fact = plan.lacking[0]
        raise UsageError(f"{plan.source.folder}: {fact.field} not found: {fact.note}", hint=f"name it: {fact.flag} …")
    folder = plan.source.folder if into is None else into.expanduser()
    if (folder / "task.toml").exists() or (into is not None and folder.exists() and any(folder.iterdir())):
        what = folder / "task.toml" if (folder / "task.toml").exists() else folder
        raise UsageError(f"{what}: already exists", hint="remove it, or name a new folder: --into DIR")
    if into is not None:
        for name in plan.source.files:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(plan.source.folder / name, target, follow_symlinks=False)
    for name, text in plan.changed.items():
        (folder / name).write_text(text, "utf-8")
    origin = "" if into is None else f"repository = {_toml_value(str(plan.source.folder.resolve()))}\n"
    (folder / "task.toml").write_text(plan.toml.replace("\n\n[budget]", f"\n{origin}\n[budget]", 1), "utf-8")
    return folder


def _read_from(metric: metrics.Metric) -> RepositoryFact:
    where = metric.file or "the output"
    form = f'"{str(metric.name.value).rpartition(".")[2]}": NUMBER' if metric.pattern.startswith("[") else ""
    value = (
        f"{where} at {metric.key}" if metric.key else f"{where}, its last '{form or f'{metric.name.value}: NUMBER'}'"
    )
    return RepositoryFact(
        "metric is read from", value if metric.name.is_known else None, metric.name.where, metrics.FILE
    )


def _environment(source: repository.ForeignRepository, seconds: budget.Budget, fixed: bool) -> dict[str, str]:
    """Environment variables from which the code reads its budget and seed, or will read its seed (``fixed``)."""
    variables = {seconds.variable: "{budget}"} if seconds.variable else {}
    variables |= surroundings.offline(source)
    known = seeds.variables(source) or ([seeds.VARIABLE] if fixed and seeds.fixed(source) else [])
    return {**variables, **dict.fromkeys(known, "{seed}")}


def _scoring(wanted: Wanted) -> RepositoryFact:
    if wanted.score_command:
        return RepositoryFact(
            "trust", "scored", "given", "--score-command", "a separate command scores the artifacts of training"
        )
    note = "the repository reports its own metric; --score-command with --artifact scores it separately"
    return RepositoryFact("trust", "self-reported", "assumed", "--score-command", note)


def _files(knobs: Sequence[ladders.Ladder]) -> str:
    return ", ".join(dict.fromkeys(knob.file for knob in knobs)) or "not found"


def _edits_note(knobs: Sequence[ladders.Ladder], seconds: budget.Budget) -> str:
    if not knobs:
        return "no constants to vary; a researcher with a language model can still edit freely"
    note = "multiples of each constant, for a researcher without a language model"
    if longer := [knob for knob in knobs if _LONGER.fullmatch(knob.word)]:
        tables = [name for knob in longer for name in ([name for name, _, _ in knob.patches] or [knob.name])]
        sets = "set" if len(longer) > 1 else "sets"
        note += (
            f". {', '.join(knob.name for knob in longer)} {sets} how long a training takes, so that a better script "
            f"may only train longer: to fix it, delete {', '.join(f'[edits.{name}]' for name in tables)} in task.toml; "
            'to limit the time, add three lines: `[constraints.time]`, `kind = "seconds"` and '
            f"`at_most = {1.5 * float(seconds.fact.value or 60):g}`"
        )
    return note


def _toml(
    plan: Draft,
    wanted: Wanted,
    metric: metrics.Metric,
    seconds: budget.Budget,
    links: Mapping[str, str],
    knobs: Sequence[ladders.Ladder],
    stated: Sequence[limits.StatedLimit],
) -> str:
    source = plan.source
    where, value = ({fact.field: getattr(fact, key) for fact in plan.facts} for key in ("where", "value"))
    edits, basis = value["editable"], "stated" if "budget" in wanted.origins else seconds.basis
    shown = [fact.value for fact in plan.facts if fact.field == "readable" and fact.value]
    on_gpu = value.get(surroundings.DEVICE) == "gpu"
    lines = [
        "# Written by `metaloop task init --from`: runs this repository unchanged. Comments give each value's origin.",
        "[task]",
        f"name = {_toml_value(wanted.name or task_name(source.folder))}",
        *(f"{key} = {_toml_value(value[key])}  # {where[key]}" for key in ("metric", "direction", "editable")),
        f"read_only = {_toml_value(roles.read_only(source, edits))}",
        "",
        "[budget]",
        f"seconds = {_toml_value(float(value['budget']))}  # {where['budget']}",
        f'basis = "{basis}"  # origin of this value; `metaloop task check DIR --write` measures it',
        "# A training is killed after hard_factor * seconds + hard_extra CPU-seconds, or after wall_factor times that",
        "# in wall time.",
        f"hard_factor = {_HARD_FACTOR}",
        f"hard_extra = {_HARD_EXTRA}",
        f"wall_factor = {_WALL_FACTOR}",
        f"memory_mb = {surroundings.memory_mb(on_gpu, limits.memory_named(source))}",
        *(f'device = "gpu"  # {where[name]}' for name in (surroundings.DEVICE,) if value.get(name) == "gpu"),
        "",
        "[score]",
        'kind = "printed"',
    ]
    lines += [f"file = {_toml_value(metric.file)}"] if metric.file else []
    lines += [f"key = {_toml_value(metric.key)}" if metric.key else f"pattern = {_toml_value(metric.pattern)}"]
    lines += ["", "[run]", f"command = {_toml_value(value['command'])}  # {where['command']}"]
    run = {
        "seed_constant": value["seed"],
        "budget_constant": seconds.constant,
        "readable": [path for path in shown if path not in links.values()],
        "executable": roles.executable(source),
        "score_command": wanted.score_command,
        "artifacts": wanted.artifacts,
        "environment": _environment(source, seconds, wanted.seed_variable),
        "links": links,
    }
    lines += [f"{key} = {_toml_value(entry)}" for key, entry in run.items() if entry]
    lines += [
        "threads = 0  # of numerical libraries: as many as the machine gives; 1 makes results repeatable more often"
    ]
    lines += [line for limit in stated for line in _constraint(limit)]
    if knobs:
        lines += [
            "",
            "# Multiples of the constants' values, for a researcher without a language model. Correct or remove",
            "# values that make no sense. A researcher with a language model edits the files freely.",
        ]
    return "\n".join([*lines, *(line for knob in knobs for line in _knob(knob))]) + "\n"


def _constraint(limit: limits.StatedLimit) -> list[str]:
    section = limit.section if limit.hard else {**limit.section, "hard": False}
    values = [f"{key} = {_toml_value(entry)}" for key, entry in section.items()]
    return ["", f"[constraints.{limit.name}]  # {limit.where}", *values]


def _knob(knob: ladders.Ladder) -> list[str]:
    file = f"file = {_toml_value(knob.file)}"
    if knob.kind != "patch":
        values = [_toml_value(value) for value in knob.values]
        lines = ["", f"[edits.{knob.name}]  # {knob.where}", f'kind = "{knob.kind}"', f"values = [{', '.join(values)}]"]
        lines[-1] += f"  # the text names {knob.said}" if knob.said else ""
        lines += [f"at = {_toml_value(knob.at)}"] if knob.at else []
        lines += [f'role = "{knob.role}"  # {knob.by}'] if knob.role else []
        return [*lines, *([f"low = {values[0]}", f"high = {values[-1]}"] if knob.kind != "choice" else []), file]
    lines = []
    for name, now, then in knob.patches:
        lines += ["", f"[edits.{name}]  # {knob.where}", 'kind = "patch"', f"group = {_toml_value(knob.name)}", file]
        lines += [f"[[edits.{name}.replace]]", file, f"find = {_toml_value(now)}", f"with = {_toml_value(then)}"]
    return lines


def _toml_value(value: object) -> str:
    """A value as TOML, from four items on with one item per line; JSON's escapes are valid in TOML, except for DEL."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_toml_value(name)} = {_toml_value(entry)}" for name, entry in value.items()) + " }"
    if isinstance(value, list | tuple):
        items = [_toml_value(item) for item in value]
        return f"[{', '.join(items)}]" if len(items) < 4 else "[\n" + "".join(f"    {item},\n" for item in items) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")

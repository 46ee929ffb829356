"""``metaloop task init --from DIR``: write a task.toml for a repository, and show where each field comes from."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click

from meta.cli import render, resolve
from meta.cli.flags import ModelFlags
from meta.cli.options import Duration, duration, flag, only
from meta.cli.output import Column, Output
from meta.cli.researcher_choice import ResearcherChoice
from programs.errors import UsageError
from trainer.foreign.seeds import FLAG as SEED_FLAG
from trainer.foreign.seeds import VARIABLE

if TYPE_CHECKING:
    from trainer.foreign.init import Draft, Wanted

FACTS = (
    Column("field", style="bold", wrap=True),
    Column("value", wrap=True, show=lambda value: _shown(value)),
    Column("where", "found in", wrap=True, style="dim"),
    Column("flag", "change with", style="dim"),
    Column("note", person=False),  # at a terminal below the table, where a sentence has the whole width
)

MOST_NAMED, MOST_QUOTED = 6, 100  # files in a question, characters of a line of the repository
QUESTIONS = {
    "command": "Command of one experiment",
    "metric": "Name of the metric in its output",
    "direction": "Which is better, lower or higher",
    "editable": "Files that may be edited",
    "budget": "Time of one experiment, such as 5m",
}


@dataclass(frozen=True)
class RepositoryFlags:
    """Facts about a repository from the user; the others are read from it."""

    source: Annotated[
        str | None, flag("Make the task from a repository. Its code is read, not run.", "--from", metavar="DIR")
    ]
    into: Annotated[
        str | None, flag("Copy the repository to this folder first  [default: write task.toml into it].", metavar="DIR")
    ]
    command: Annotated[
        str | None, flag("Shell command of an experiment; may contain {seed} and {budget}.", metavar="LINE")
    ]
    metric: Annotated[
        str | None, flag("The metric's name in the output (NAME: 1.23), or its JSON key (a.b).", metavar="NAME")
    ]
    metric_file: Annotated[
        str | None, flag("File with the metric, JSON or lines  [default: the command's output].", metavar="FILE")
    ]
    direction: Annotated[
        str | None, flag("Whether a lower or a higher metric is better.", type=click.Choice(("lower", "higher")))
    ]
    editable: Annotated[tuple[str, ...], flag("A file that a researcher may edit; repeatable.", metavar="FILE")]
    budget: Annotated[
        float | None, flag("CPU time of one experiment, e.g. 5m.", type=Duration(), metavar="TIME", command="task")
    ]
    values: Annotated[tuple[str, ...], flag("Values to try for a constant; repeatable.", metavar="NAME=1,2,4")]
    no_values: Annotated[bool, flag("Do not generate values to try for the constants.")]
    readable: Annotated[
        tuple[str, ...], flag("A path outside the repository that the command reads; repeatable.", metavar="PATH")
    ]
    exclude: Annotated[tuple[str, ...], flag("Files to leave out of the task; repeatable.", metavar="GLOB")]
    score_command: Annotated[
        str | None, flag("Shell command that scores the artifacts, in a sandbox without the edits.", metavar="LINE")
    ]
    artifact: Annotated[tuple[str, ...], flag("A file that training writes for scoring; repeatable.", metavar="PATH")]
    chosen: Annotated[ModelFlags, only("model")]
    seed_variable: Annotated[bool, flag("Change lines with a fixed seed, so that they read it from the environment.")]


def from_repository(out: Output, source: str, folder: str | None, flags: RepositoryFlags) -> int:
    """Read the repository, show the fields, write task.toml. Exit code 2 and no file if a required field is missing."""
    from trainer.foreign.init import Wanted, draft, write
    from trainer.task import Task

    wanted = Wanted(
        command=flags.command,
        metric=flags.metric,
        metric_file=flags.metric_file,
        direction=flags.direction,
        budget=flags.budget,
        editable=flags.editable,
        exclude=flags.exclude,
        readable=flags.readable,
        values=_values(flags.values),
        ladders=not flags.no_values,
        score_command=flags.score_command,
        artifacts=flags.artifact,
        seed_variable=flags.seed_variable,
    )
    into = flags.into or folder
    drafted = draft(Path(source).expanduser(), wanted)
    if flags.chosen.model:
        drafted, wanted = read_by_model(out, Path(source).expanduser(), wanted, drafted, flags.chosen)
    if out.mode == "person" and sys.stdin.isatty():
        drafted = completed(out, Path(source).expanduser(), wanted, drafted)
    if drafted.lacking:
        show(out, drafted)
        for fact in drafted.lacking:
            out.note(f"not found: {fact.field} ({fact.note}); set it with {fact.flag} …")
        return 2
    path = write(drafted, Path(into) if into else None)
    try:
        task = Task.load(path)
    except BaseException:
        (path / "task.toml").unlink()  # leave no task that cannot be loaded
        raise
    show(out, drafted)
    out.note(f"wrote {resolve.shown(path / 'task.toml')}: {len(task.edits.knobs)} edits, nothing was run")
    for name in drafted.changed:
        out.note(f"changed {resolve.shown(path / name)}: its seed comes from the variable {VARIABLE} now")
    out.note(f"next: metaloop task check {resolve.typed(path)} --write   (runs the baseline, records its time)")
    return 0


def show(out: Output, drafted: Draft) -> None:
    """The fields, and at a terminal what is to be known about them in lines of their own."""
    out.rows([fact.to_json() for fact in drafted.facts], FACTS)
    times = Counter(fact.field for fact in drafted.facts)  # what was left out has one row each
    names = [fact.field if times[fact.field] == 1 else _shown(fact.value) for fact in drafted.facts]
    noted = [(name, fact.note) for name, fact in zip(names, drafted.facts, strict=True) if fact.note]
    out.below([(name, f"the constant {note}" if note.isidentifier() else note) for name, note in noted])


def read_by_model(
    out: Output, source: Path, wanted: Wanted, drafted: Draft, models: ModelFlags
) -> tuple[Draft, Wanted]:
    """(the draft with what a model reads, where its line says so; what is wanted then)."""
    from inner_loop.models.contract import NoReply
    from meta import repository_reader as reader
    from meta.cli.one_model import model_for

    choice = ResearcherChoice.of(models, yes=True)
    size = sum(len(message.text) for message in reader.prompt(drafted.source)) // 4
    try:
        model = model_for(out, choice, (size, 300), reader.REPAIRS + 1, lambda _: None)
        proposed = reader.ask(model, drafted.source, max_tokens=choice.settled.reply_tokens)
    except NoReply as gone:
        raise gone.problem from None
    for one in proposed:
        if one.refused:
            out.note(f"the model reads {one.field} = {one.value} at {one.where}; refused: {one.refused}")
    return reader.merged(source, drafted, wanted, proposed, str(models.model))


def completed(out: Output, source: Path, wanted: Wanted, drafted: Draft) -> Draft:
    """The draft after a person at a terminal has answered what the repository does not say, and corrected what was read
    from it; an empty answer leaves a field as it is."""
    from trainer.foreign.init import draft

    left = {fact.field: fact for fact in drafted.lacking}
    for name, fact in list(left.items()):
        out.note(f"{name}: {fact.note}")
        if answer := _answer(name, drafted):
            wanted = wanted.answered(name, answer)
            del left[name]
    if drafted.lacking:
        drafted = draft(source, wanted)
        drafted = replace(drafted, facts=tuple(left.get(fact.field, fact) for fact in drafted.facts))
    read = [fact for fact in drafted.facts if fact.field in QUESTIONS and fact.is_known and fact.where != "given"]
    if read and not drafted.lacking:
        out.note("Read from the repository:")
        for fact in read:
            file, _, number = fact.where.rpartition(":")
            texts = drafted.source.text(file).splitlines() if number.isdigit() else []
            said = texts[int(number) - 1].strip() if 0 < len(texts) >= int(number or 0) else ""
            said = f": {render.fit(said, MOST_QUOTED)}" if said else ""
            out.note(f"  {fact.field}: {_shown(fact.value)}   ({fact.where}{said})")
        names = click.Choice((*QUESTIONS, ""))
        ask = "Press Enter if all fields are right, or type the name of a wrong one"
        while name := click.prompt(ask, default="", show_default=False, show_choices=False, type=names, err=True):
            if answer := _answer(name, drafted):
                wanted = wanted.answered(name, answer)
                drafted = draft(source, wanted)
    seed = next((fact for fact in drafted.facts if fact.field == "seed" and fact.flag == SEED_FLAG), None)
    if seed is not None and not seed.is_known:
        out.note(f"seed: {seed.where}: {seed.note}")
        if click.confirm("Change that line now?", default=False, err=True):
            drafted = draft(source, replace(wanted, seed_variable=True))
    return drafted


def _answer(name: str, drafted: Draft) -> str:
    """What a person says of a field; empty if nothing."""
    kind: click.ParamType[Any, Any] = click.STRING
    if name in ("direction", "budget"):
        kind = click.Choice(("lower", "higher", "")) if name == "direction" else click.types.FuncParamType(_time)
    question = QUESTIONS[name]
    if name == "editable" and (code := drafted.source.code[:MOST_NAMED]):
        question += f" (such as {', '.join(code)})"
    return str(click.prompt(question, default="", show_default=False, show_choices=False, type=kind, err=True))


def _time(text: str) -> str:
    from trainer.foreign.budget import seconds_of

    try:
        if text.strip():
            seconds_of(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return text


def _values(texts: tuple[str, ...]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    if bad := next((text for text, pair in zip(texts, pairs, strict=True) if not pair[0] or not pair[2]), None):
        raise UsageError(f"--values {bad}: not NAME=VALUES", hint="--values LR=0.01,0.02,0.04")
    return {name: values for name, _, values in pairs}


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return duration(value) if isinstance(value, float) else str(value) or "another one for each experiment"

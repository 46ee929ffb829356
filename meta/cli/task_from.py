"""``metaloop task init --from DIR``: what was found in a repository, field by field, and the task.toml made of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import click

from meta.cli import resolve
from meta.cli.options import Duration, duration, flag
from meta.cli.output import Column, Output
from programs.errors import UsageError

FACTS = (
    Column("field", style="bold", wrap=True),
    Column("value", wrap=True, show=lambda value: _shown(value)),
    Column("where", "found in", wrap=True, style="dim"),
    Column("flag", "else give", style="dim"),
    Column("note", wrap=True, show=str),
)


@dataclass(frozen=True)
class RepositoryFlags:
    """What is said of a repository; the rest is looked for in it."""

    source: Annotated[
        str | None, flag("Read a repository instead, and run it as it is; runs nothing of it.", "--from", metavar="DIR")
    ]
    into: Annotated[
        str | None, flag("Copy its files there first  [default: task.toml goes into the repository].", metavar="DIR")
    ]
    command: Annotated[
        str | None, flag("What an experiment runs, by sh; {seed} and {budget} are filled in.", metavar="LINE")
    ]
    metric: Annotated[str | None, flag("As it is printed (NAME: 1.23), or a key of the JSON (a.b).", metavar="NAME")]
    metric_file: Annotated[
        str | None, flag("Where the command writes it; JSON or lines  [default: the output].", metavar="FILE")
    ]
    direction: Annotated[str | None, flag("Which way the metric is better.", type=click.Choice(("lower", "higher")))]
    editable: Annotated[tuple[str, ...], flag("A file that a researcher may edit; repeatable.", metavar="FILE")]
    budget: Annotated[float | None, flag("CPU time of one experiment, e.g. 5m.", type=Duration(), metavar="TIME")]
    values: Annotated[tuple[str, ...], flag("What to try of a constant; repeatable.", metavar="NAME=1,2,4")]
    no_values: Annotated[bool, flag("No ladders made from the constants.")]
    readable: Annotated[tuple[str, ...], flag("A path outside that the command reads; repeatable.", metavar="PATH")]
    exclude: Annotated[tuple[str, ...], flag("Files that are no part of the task; repeatable.", metavar="GLOB")]
    score_command: Annotated[
        str | None, flag("Scores the artifacts afterwards, in a sandbox without the edits.", metavar="LINE")
    ]
    artifact: Annotated[tuple[str, ...], flag("What training leaves for it; repeatable.", metavar="PATH")]


def from_repository(out: Output, source: str, folder: str | None, flags: RepositoryFlags) -> int:
    """Read, tell, write. Exit code 2 and no file where something essential was not found."""
    from trainer.foreign.init import Wanted, draft, write
    from trainer.task import Task

    wanted = Wanted(
        command=flags.command, metric=flags.metric, metric_file=flags.metric_file,
        direction=flags.direction, budget=flags.budget, editable=flags.editable,
        exclude=flags.exclude, readable=flags.readable, values=_values(flags.values),
        ladders=not flags.no_values, score_command=flags.score_command, artifacts=flags.artifact,
    )  # fmt: skip
    into = flags.into or folder
    found = draft(Path(source).expanduser(), wanted)
    if found.lacking:
        out.rows([fact.to_json() for fact in found.facts], FACTS)
        for fact in found.lacking:
            out.note(f"not found: {fact.field} ({fact.note}); name it: {fact.flag} …")
        return 2
    place = write(found, Path(into) if into else None)
    try:
        task = Task.load(place)
    except BaseException:
        (place / "task.toml").unlink()  # what cannot be loaded is no task
        raise
    out.rows([fact.to_json() for fact in found.facts], FACTS)
    out.note(f"wrote {resolve.shown(place / 'task.toml')}: {len(task.edits.knobs)} edits, nothing was run")
    out.note(f"next: metaloop task check {resolve.typed(place)} --write   (runs the baseline, notes its time)")
    return 0


def _values(texts: tuple[str, ...]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    if bad := next((text for text, pair in zip(texts, pairs, strict=True) if not pair[0] or not pair[2]), None):
        raise UsageError(f"--values {bad}: no NAME=VALUES", hint="--values LR=0.01,0.02,0.04")
    return {name: values for name, _, values in pairs}


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return duration(value) if isinstance(value, float) else str(value)

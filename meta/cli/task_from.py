"""``metaloop task init --from DIR``: run a repository's command, ask what that does not show, write a task.toml."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import click

from meta.cli import resolve
from meta.cli.flags import PlayingFlags
from meta.cli.options import Duration, flag, only, rare
from meta.cli.output import Output
from meta.cli.views import View, show
from programs.common.errors import UsageError
from trainer import sandbox
from trainer.cards import check_record
from trainer.cards.check_record import CheckFinding
from trainer.commands.init import Drafting, TaskDraft, refuse_taken, write
from trainer.commands.questions import Unknown
from trainer.commands.task_toml import Wanted
from trainer.jobs.run import require_sandbox
from trainer.rows import UNKNOWN
from trainer.task import Task


@dataclass(frozen=True)
class RepositoryFlags:
    """Facts about a repository from the user; the others are found by running its command."""

    source: Annotated[
        str | None, flag("Make the task from a repository: runs its command twice, as it is.", "--from", metavar="DIR")
    ]
    command: Annotated[
        str | None,
        flag("Shell command of one experiment; may contain {seed} and {budget}  [default: the only Python file].",
             metavar="LINE"),
    ]  # fmt: skip
    metric: Annotated[
        str | None, flag("The metric's name in the output (NAME: 1.23), or its JSON key (a.b).", metavar="NAME")
    ]
    metric_file: Annotated[str | None, rare("File with the metric, JSON or lines  [default: the command's output].")]
    direction: Annotated[
        str | None, flag("Whether a lower or a higher metric is better.", type=click.Choice(("lower", "higher")))
    ]
    editable: Annotated[tuple[str, ...], flag("A file that a researcher may edit; repeatable.", metavar="FILE")]
    budget: Annotated[
        float | None,
        flag("Time of one experiment, e.g. 5m  [default: as measured].", type=Duration(), metavar="TIME",
             command="task"),
    ]  # fmt: skip
    noise: Annotated[
        str | None,
        flag(
            "What is known of the noise of the validation rows (docs/night.md).",
            metavar="split|rows=FILE|n_rows=N|exact|unknown",
            command="task",
        ),
    ]
    seed: Annotated[
        str | None,
        flag(
            "With --from, the constant with the seed of a training (FILE.py:NAME), the option that takes it "
            "(--OPTION), or none.",
            metavar="PLACE",
            command="task",
        ),
    ]
    values: Annotated[tuple[str, ...], rare("NAME=1,2,4: values to try for a setting of the code; repeatable.")]
    readable: Annotated[tuple[str, ...], rare("A path outside the repository that the command reads; repeatable.")]
    exclude: Annotated[tuple[str, ...], rare("Files to leave out of the task; repeatable.")]
    score_command: Annotated[
        str | None, rare("Shell command that scores the artifacts, in a sandbox without the edits.")
    ]
    artifact: Annotated[tuple[str, ...], rare("A file that training writes for scoring; repeatable.")]
    score_files: Annotated[
        tuple[str, ...], rare("A file that only the scoring command sees; repeatable  [default: those that it names].")
    ]
    traceback: Annotated[
        str | None, rare("expected: the command prints a traceback, ends with exit code 0, and its metric counts.")
    ]
    playing: Annotated[PlayingFlags, only("no_sandbox")]


def from_repository(out: Output, flags: RepositoryFlags, folder: str | None) -> int:
    """Run the command, show the fields, write task.toml. A field that nothing decides is asked at a terminal."""
    sandboxed = not flags.playing.no_sandbox
    require_sandbox(sandboxed)
    wanted = {name: value for name, value in vars(flags).items() if name in Wanted.__dataclass_fields__}
    wanted |= {"values": _values(flags.values), "artifacts": flags.artifact}
    source, into = Path(str(flags.source)).expanduser(), Path(folder) if folder else None
    refuse_taken(source, into)
    drafted = completed(out, Drafting(source, sandboxed, out.note), Wanted(**wanted))
    path = write(drafted, into)
    try:
        task = Task.load(path)
    except BaseException:
        (path / "task.toml").unlink()  # leave no task that cannot be loaded
        raise
    if task.data_noise == UNKNOWN:  # an answer about noise is tried first
        metric = next(fact for fact in drafted.facts if fact.field == "metric")
        finding = CheckFinding("ok", "baseline", f"{metric.value} {metric.note}, when the task was made")
        check_record.write(task, [finding])
    show(out, [asdict(fact) for fact in drafted.facts], View(""))
    out.note(f"wrote {resolve.shown(path / 'task.toml')}: {len(task.edits.knobs)} knobs")
    out.note("limits that a repository states are not read: add them as [constraints.NAME], see docs/tasks.md")
    check = f"metaloop task check {resolve.typed(path)}{sandbox.flag(sandboxed)}"
    out.note(f"next: {check}   (are the knobs alive, is the direction right?)")
    return 0


def completed(out: Output, drafting: Drafting, wanted: Wanted) -> TaskDraft:
    """The draft, after a person at a terminal has answered what a run does not show; else the question is an error."""
    while True:
        try:
            return drafting.draft(wanted)
        except Unknown as unknown:
            if out.mode != "person" or not sys.stdin.isatty():
                raise
            for question in unknown.questions:
                kind = click.Choice(question.choices) if question.field == "direction" else None
                choices = f" ({', '.join(question.choices[:12])})" if question.choices and kind is None else ""
                answer = click.prompt(f"{question.message}{choices}", type=kind, err=True)
                wanted = answered(wanted, question.field, str(answer))


def answered(wanted: Wanted, field: str, answer: str) -> Wanted:
    """``wanted`` with an answer, as the option of this field would have it."""
    value: Any = answer
    if field == "editable":
        value = tuple(answer.split())
    elif field == "budget":
        value = Duration().convert(answer, None, None)
    return replace(wanted, **{field: value})


def _values(texts: tuple[str, ...]) -> dict[str, str]:
    values = {}
    for text in texts:
        name, _, listed = text.partition("=")
        if not name or not listed:
            raise UsageError(f"--set values={text}: not NAME=VALUES", hint="--set values=LR=0.01,0.02,0.04")
        values[name] = listed
    return values

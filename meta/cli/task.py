"""``metaloop task``: ls, show, init, check, measure."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from meta.cli import resolve
from meta.cli.options import argument, duration, flag, noun, verb
from meta.cli.output import Column, Output, Row, brief
from meta.cli.task_from import RepositoryFlags, from_repository
from meta.cli.task_work import check, measure
from programs.errors import UsageError

if TYPE_CHECKING:
    from trainer.task import Task

LIST = (
    Column("name", style="bold"),
    Column("metric", person=False),
    Column("direction", "better", person=False),
    Column("edits", right=True, person=False),
    Column("cost_seconds", "experiment", right=True, show=duration),
    Column("run_budget", "run", right=True, show=duration),
    Column("headroom_sd", person=False),
    Column("headroom", right=True),
    Column("resolved_share", "resolved", right=True, show=lambda share: f"{share:.0%}"),
    Column("card", person=False),
    Column("description", wrap=True, show=lambda text: re.split(r"[:.] ", text)[0].rstrip(".")),
    Column("task_id", person=False),
)
EDITS = (
    Column("name", style="bold"),
    Column("kind"),
    Column("group", style="dim"),
    Column("now", show=brief),
    Column("values", wrap=True),
)


@noun(
    ("metaloop task ls", "the built-in tasks"),
    ("metaloop task show strokes", "its budget, its edits, its measured card"),
    ("metaloop task init my-task", "the files of a task of your own"),
)
def task() -> None:
    """Tasks: what is trained, what may be edited, how it is scored."""


@verb(("metaloop task ls", "the built-in tasks"), ("metaloop task ls --json", "the same for a script"))
def ls(out: Output) -> None:
    """List the built-in tasks."""
    from trainer.task import Task, builtin_tasks

    out.rows([described(Task.load(name)) for name in builtin_tasks()], LIST)
    out.note(
        "headroom: gain of stacked edits in sd of the seeds; resolved: share of edits that one run tells from noise"
    )


@verb(
    ("metaloop task show strokes", "its budget, its edits, its measured card"),
    ("metaloop task show my-task/ --json", "a folder of your own, for a script"),
)
def show(out: Output, task: Annotated[str, argument(metavar="NAME|DIR")]) -> None:
    """Show a task: budget, edits that an idea can name, and the measured card."""
    from trainer.task import Task

    loaded = Task.load(task)
    item = described(loaded)
    if out.mode == "json":
        out.json({**item, "edits": edits_of(loaded), "card": loaded.card})
        return
    out.thing({k: v for k, v in item.items() if k != "edits"})
    if out.mode == "person":
        out.rows(edits_of(loaded), EDITS)
        if loaded.card is None:
            out.note(f"no card yet: metaloop task measure {shlex.quote(task)} --write")


@verb(
    ("metaloop task init my-task", "a small task that passes its check"),
    ("metaloop task init --from my-repo", "runs your repository as it is"),
    ("metaloop task init my-text --text ~/notes", "a small GPT on a text of your own"),
)
def init(
    out: Output,
    folder: Annotated[str | None, argument(metavar="[DIR]", required=False)],
    repository: RepositoryFlags,
    like: Annotated[
        str | None, flag("Copy a built-in task  [default: codelm with --text, else tinylm].", metavar="NAME")
    ],
    text: Annotated[
        str | None, flag("Its text: a file, or a folder of UTF-8 files; is read where it lies.", metavar="PATH")
    ],
    grammar: Annotated[int | None, flag("Number of another generated language.", min=0, max=2**30, metavar="N")],
    simulated: Annotated[bool, flag("Nothing is trained: a law says what each edit is worth.")],
    seed: Annotated[int, flag("Of the law that is drawn.", min=0, default=1)],
) -> int:
    """Write the files of a new task: task.toml, train.py, prepare.py, data.py; of a
    simulated one, task.toml with its law, and train.py. With --like, --text, --grammar:
    a built-in task to change, on your own text or on another language. With --from: the
    task.toml of a repository that trains, benches or tests by a command of its own, in
    any language."""
    wanted = {"--like": like, "--text": text, "--grammar": grammar}
    copied = next((name for name, value in wanted.items() if value is not None), None)
    if copied and (simulated or repository.source is not None):
        other = "--simulated" if simulated else "--from"
        raise UsageError(f"{copied} and {other}: a task is made in one way", hint="leave one of them out")
    if repository.source is not None:
        return from_repository(out, repository.source, folder, repository)
    if named := next((name for name, value in vars(repository).items() if value), None):
        raise UsageError(f"--{named.replace('_', '-')} goes with --from DIR", hint="metaloop task init --from my-repo")
    if folder is None:
        raise UsageError("name the folder of the new task", hint="metaloop task init my-task")
    from trainer.scaffold import init as write
    from trainer.scaffold import init_simulated

    place = Path(folder).expanduser()
    if copied:
        return init_copied(out, place, like, text, grammar)
    made = init_simulated(place, seed) if simulated else write(place)
    files = sorted(path.name for path in made.iterdir() if path.is_file())
    out.thing({"folder": str(made), "files": files})
    out.note(f"next: metaloop task check {resolve.typed(made)}")
    return 0


def init_copied(out: Output, folder: Path, like: str | None, text: str | None, grammar: int | None) -> int:
    """A built-in task as one's own, and what is next."""
    from trainer.variants import Variant, init_like

    made, told = init_like(folder, Variant(like, grammar, Path(text) if text is not None else None))
    files = sorted(path.name for path in folder.iterdir() if path.is_file())
    out.thing({"folder": str(folder), "files": files, **origin(made)})
    if told:
        out.note(f"text: {told}")
    if made.public:
        out.note("its hidden text is at hand in every sandbox: no contest can be decided on it")
    out.note(f"next: metaloop task check {resolve.typed(folder)}")
    return 0


for command in (ls, show, init, check, measure):
    task.add_command(command)


def described(task: Task) -> Row:
    """A task as an object; times in device-seconds."""
    from trainer.card_summary import summary

    card = summary(task)
    return {
        "name": task.name,
        "task_id": task.task_id,
        "folder": str(task.folder),
        "description": task.description,
        "metric": task.metric,
        "unit": task.unit,
        "direction": task.direction,
        **origin(task),
        "budget_seconds": task.budget_seconds,
        "cost_seconds": task.cost_seconds,
        "run_budget": task.run_budget,
        "steps": task.steps,
        "memory_mb": task.memory_mb,
        "editable": list(task.editable),
        "read_only": list(task.read_only),
        "scoring": task.scoring.get("kind"),
        "edits": len(task.edits.knobs),
        "headroom_sd": card.headroom_sd,
        "headroom": "not measured" if card.headroom_sd is None else f"{card.headroom_sd:.0f} sd",
        "resolved_share": card.resolved_share,
        "seed_sd": card.seed_sd,
        "separates": card.separates,
        "card": card.sentence,
    }


def origin(task: Task) -> Row:
    """Where a task's text comes from, as far as it says."""
    found: Row = {"source": task.text, "text_hash": task.text_hash, "grammar": task.grammar}
    return {key: value for key, value in found.items() if value not in ("", None)} | {"public": task.public}


def edits_of(task: Task) -> list[Row]:
    """One row for each knob, with the value that the baseline has."""
    now = task.edits.config(task.baseline())
    return [
        {
            "name": k.name,
            "kind": k.kind,
            "group": k.group,
            "now": now.get(k.name),
            "values": list(k.values),
            "note": k.note,
        }
        for k in task.edits.knobs
    ]

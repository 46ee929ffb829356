"""``metaloop task``: show, init, check, measure."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

from analysis.wording import duration, share
from meta.cli import resolve
from meta.cli.commands import noun, verb
from meta.cli.options import argument, flag
from meta.cli.output import Column, Output, columns
from meta.cli.task_from import RepositoryFlags, from_repository
from meta.cli.task_work import check, measure
from programs.common.errors import UsageError
from trainer import variants
from trainer.cards.card import describe_card, separates_strategies
from trainer.constraints import sentences
from trainer.task import Task, builtin_tasks

LIST = (
    Column("name", style="bold"),
    Column("cost_seconds", "1 experiment", right=True, show=duration),
    Column("run_budget", "1 run", right=True, show=duration),
    Column("headroom", right=True),
    Column("resolved_share", "resolved", right=True, show=share),
    Column("description", wrap=True),
    *(Column(key, person=False) for key in ("task_id", "metric", "direction", "edits", "headroom_sd", "card")),
)
EDITS = (*columns("name kind group now"), Column("values", wrap=True))
LEGEND = (
    "1 experiment, 1 run: their device time. headroom: gain of the best edits together, in SDs (standard deviations) "
    "of the score between training seeds; resolved: share of edits whose effect one run can separate from noise"
)


@noun(
    ("metaloop task show", "the built-in tasks"),
    ("metaloop task show strokes", "budget, edits and measured noise and times"),
    ("metaloop task init my-task", "creates a new task"),
)
def task() -> None:
    """Show, create, check and measure tasks. A task defines what is trained,
    which edits are allowed, and how the result is scored."""


@verb(
    ("metaloop task show", "the built-in tasks"),
    ("metaloop task show strokes", "budget, edits and measured noise and times"),
    ("metaloop task show my-task/ --json", "your own task, for a script"),
)
def show(out: Output, task: Annotated[str | None, argument(metavar="[NAME|DIR]", required=False)]) -> None:
    """Show a task's budget, edits and measured noise and times; without a name, list the built-in tasks. The edits are
    those that an idea can name."""
    if task is None:
        out.rows([described(Task.load(name)) for name in builtin_tasks()], LIST)
        out.note(LEGEND)
        return
    loaded = Task.load(task)
    item, values = described(loaded), loaded.edits.config(loaded.baseline())
    edits = [
        {key: getattr(knob, key) for key in ("name", "kind", "group", "note")}
        | {"now": values.get(knob.name), "values": [*knob.values]}
        for knob in loaded.edits.knobs
    ]
    if out.mode == "json":
        out.json({**item, "edits": edits})
        return
    out.thing(item)
    out.text("\nedits that an idea can name:")
    out.rows(edits, EDITS)
    if loaded.card is None:
        out.note(f"no card yet: metaloop task measure {shlex.quote(task)} --write")


@verb(
    ("metaloop task init my-task", "a small task that passes its check"),
    ("metaloop task init --from my-repo", "a task that runs your repository"),
    ("metaloop task init mine --like tabular:7", "another member of a family of built-in tasks"),
)
def init(
    out: Output,
    folder: Annotated[str | None, argument(metavar="[DIR]", required=False)],
    like: Annotated[str | None, flag("Copy a built-in task; of a family another member: tabular:7.", metavar="NAME")],
    repository: RepositoryFlags,
) -> int:
    """Write the files of a new task. They are task.toml, train.py, prepare.py and data.py.
    With --like, the task is a copy of a built-in one. With --from, it is a task.toml for a
    repository with its own command for training, benchmarks or tests, in any programming
    language, in the repository or in DIR, a copy of its files. The command is run twice, and
    what that does not show is asked."""
    if repository.source is not None:
        if like is not None:
            raise UsageError("--like and --from exclude each other", hint="leave one of them out")
        return from_repository(out, repository, folder)
    for name, value in vars(repository).items():
        if value and name != "playing":
            raise UsageError(f"--{name.replace('_', '-')} needs --from DIR", hint="metaloop task init --from my-repo")
    if folder is None:
        raise UsageError("name the folder of the new task", hint="metaloop task init my-task")
    path = Path(folder).expanduser()
    if like is None:
        variants.init(path)
    else:
        name, _, member = like.rpartition(":")
        base, number = (name, int(member)) if name and member.isdecimal() else (like, None)
        variants.init_like(path, base, number)
    out.thing({"folder": str(path), "files": sorted(file.name for file in path.iterdir() if file.is_file())})
    out.note(f"next: metaloop task check {resolve.typed(path)}")
    return 0


for command in (show, init, check, measure):
    task.add_command(command)


def described(task: Task) -> dict[str, Any]:
    """A task as a JSON object; times in device-seconds."""
    headroom = task.card_number("headroom", "gain_sd")
    keys = "name task_id folder description metric unit direction public budget_seconds cost_seconds run_budget"
    return {
        **{key: getattr(task, key) for key in f"{keys} steps memory_mb editable read_only".split()},
        "constraints": sentences(task.constraints),
        "scoring": task.scoring.get("kind"),
        "edits": len(task.edits.knobs),
        "headroom_sd": headroom,
        "headroom": "not measured" if headroom is None else f"{headroom:.0f} SD",
        "resolved_share": task.card_number("resolved_share"),
        "seed_sd": task.card_number("baseline", "sd"),
        "separates": separates_strategies(task),
        "card": describe_card(task),
    }

"""``metaloop task``: show, init, check, measure."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from meta.cli import resolve
from meta.cli.commands import noun, verb
from meta.cli.options import argument, duration, flag
from meta.cli.output import Column, Output, Row, brief
from meta.cli.task_from import RepositoryFlags, from_repository
from meta.cli.task_work import check, measure
from programs.errors import UsageError

if TYPE_CHECKING:
    from trainer.task import Task
    from trainer.variants import Variant

LIST = (
    Column("name", style="bold"),
    Column("metric", person=False),
    Column("direction", "better", person=False),
    Column("edits", right=True, person=False),
    Column("cost_seconds", "1 experiment", right=True, show=duration),
    Column("run_budget", "1 run", right=True, show=duration),
    Column("headroom_sd", person=False),
    Column("headroom", right=True),
    Column("resolved_share", "resolved", right=True, show=lambda share: f"{share:.0%}"),
    Column("card", person=False),
    Column("description", wrap=True, show=lambda text: re.split(r"[:.] ", text)[0].rstrip(".")),
    Column("task_id", person=False),
)
LEGEND = (
    "1 experiment, 1 run: how much device time one of them takes. headroom: gain of the best edits together, in SDs "
    "(standard deviations) of the score between training seeds; resolved: share of edits whose effect one run can "
    "separate from noise"
)
EDITS = (
    Column("name", style="bold"),
    Column("kind"),
    Column("group", style="dim"),
    Column("now", show=brief),
    Column("values", wrap=True),
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
    from trainer.task import Task, builtin_tasks

    if task is None:
        out.rows([described(Task.load(name)) for name in builtin_tasks()], LIST)
        out.note(LEGEND)
        return
    loaded = Task.load(task)
    item, edits = described(loaded), edits_of(loaded)
    if out.mode == "json":
        out.json({**item, "edits": edits, "card": loaded.card})
        return
    out.thing({k: v for k, v in item.items() if k != "edits"})
    out.text("\nedits that an idea can name:")
    out.rows(edits, EDITS)
    if loaded.card is None:
        out.note(f"no card yet: metaloop task measure {shlex.quote(task)} --write")


@verb(
    ("metaloop task init my-task", "a small task that passes its check"),
    ("metaloop task init --from my-repo", "a task that runs your repository"),
    ("metaloop task init my-language --grammar 7", "a small GPT on another generated language"),
)
def init(
    out: Output,
    folder: Annotated[str | None, argument(metavar="[DIR]", required=False)],
    repository: RepositoryFlags,
    like: Annotated[
        str | None,
        flag(
            "Copy a built-in task; of a family another member: tabular:7  [default with --grammar: tinylm].",
            metavar="NAME",
        ),
    ],
    grammar: Annotated[
        int | None, flag("Train on another generated language, by its number.", min=0, max=2**30, metavar="N")
    ],
    simulated: Annotated[bool, flag("A task without training: a formula gives the effect of each edit.")],
    seed: Annotated[
        str | None,
        flag(
            "With --simulated, the seed of its formula; with --from, the constant with the seed of a training "
            "(FILE.py:NAME), the option that takes it (--OPTION), or none.",
            metavar="N|PLACE",
            command="task",
        ),
    ],
) -> int:
    """Write the files of a new task. They are task.toml, train.py, prepare.py and data.py;
    with --simulated, task.toml and train.py. With --like, the task is a copy of a built-in
    one; with --grammar, a copy of tinylm on another generated language. With --from, it is
    a task.toml for a repository with its own command for training, benchmarks or tests, in
    any programming language: the command is run twice, and what that does not show is
    asked; with -m a language model, with --agent your coding agent proposes the answers."""
    wanted = {"--like": like, "--grammar": grammar}
    copied = next((name for name, value in wanted.items() if value is not None), None)
    if copied and (simulated or repository.source is not None):
        other = "--simulated" if simulated else "--from"
        raise UsageError(f"{copied} and {other} exclude each other", hint="leave one of them out")
    if repository.source is not None:
        return from_repository(out, repository.source, folder, seed, repository)
    if seed is not None and not (simulated and seed.isdecimal()):
        raise UsageError("--seed is a whole number with --simulated, and a constant with --from", hint="--seed 7")
    given = vars(repository) | {"chosen": None, "model": repository.chosen.model, "playing": None}
    if named := next((name for name, value in given.items() if value), None):
        raise UsageError(f"--{named.replace('_', '-')} needs --from DIR", hint="metaloop task init --from my-repo")
    if folder is None:
        raise UsageError("name the folder of the new task", hint="metaloop task init my-task")
    from trainer.variants import Variant, init_simulated
    from trainer.variants import init as write

    path = Path(folder).expanduser()
    if copied:
        return init_copied(out, path, variant_of(like or Variant.like, grammar))
    made = init_simulated(path, int(seed or 1)) if simulated else write(path)
    out.thing({"folder": str(made), "files": files_in(made)})
    out.note(f"next: metaloop task check {resolve.typed(made)}")
    return 0


def variant_of(like: str, grammar: int | None) -> Variant:
    from trainer.variants import Variant

    name, _, member = like.rpartition(":")
    return Variant(name, grammar, int(member)) if name and member.isdecimal() else Variant(like, grammar)


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def init_copied(out: Output, folder: Path, wanted: Variant) -> int:
    """Copy a built-in task into ``folder``, on another language or as another member if asked for."""
    from trainer.variants import init_like

    made = init_like(folder, wanted)
    out.thing({"folder": str(folder), "files": files_in(folder), **origin(made)})
    out.note(f"next: metaloop task check {resolve.typed(folder)}")
    return 0


for command in (show, init, check, measure):
    task.add_command(command)


def described(task: Task) -> Row:
    """A task as a JSON object; times in device-seconds."""
    from trainer.cards.card_summary import summary
    from trainer.constraints import sentences

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
        **({"constraints": sentences(task.constraints)} if task.constraints else {}),
        "editable": list(task.editable),
        "read_only": list(task.read_only),
        "scoring": task.scoring.get("kind"),
        "edits": len(task.edits.knobs),
        "headroom_sd": card.headroom_sd,
        "headroom": "not measured" if card.headroom_sd is None else f"{card.headroom_sd:.0f} SD",
        "resolved_share": card.resolved_share,
        "seed_sd": card.seed_sd,
        "separates": card.separates,
        "card": card.sentence,
    }


def origin(task: Task) -> Row:
    """What the task says of its hidden data."""
    return ({} if task.grammar is None else {"grammar": task.grammar}) | {"public": task.public}


def edits_of(task: Task) -> list[Row]:
    """One row for each knob, with the baseline's value."""
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

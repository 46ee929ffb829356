"""``metaloop sweep``, ``metaloop learn`` and ``metaloop knowledge``: what many tasks showed about edits, by role."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from analysis.wording import many
from meta.cli import resolve
from meta.cli.flags import PlayingFlags
from meta.cli.options import argument, duration, flag, noun, only, verb
from meta.cli.output import Column, Output, Row
from meta.cli.progress import ticker
from meta.cli.sql import show_rows, text_of
from meta.cli.task_work import trainer_at
from programs.errors import TaskError, UsageError

if TYPE_CHECKING:
    from analysis.knowledge import Effect
    from trainer.cards.sweep import EditTrial
    from trainer.task import Task

Into = Annotated[str, flag("The knowledge base, a folder; created if missing.", metavar="DIR", required=True)]
Without = Annotated[
    tuple[str, ...],
    flag("Leave out what comes from this task or family; repeatable.", metavar="TASK|FAMILY", command="knowledge"),
]
Folders = Annotated[tuple[str, ...], argument(metavar="[DIR]...", nargs=-1)]
SHOWN = (
    Column("role", style="bold"),
    Column("value", "best most often"),
    Column("tasks", right=True),
    Column("families", wrap=True),
    Column("effects", right=True),
)


@verb(
    ("metaloop sweep tabular:1-8 --into kb/", "eight tasks of a family"),
    ("metaloop sweep my-task/ --into kb/", "your own task, whose settings have roles"),
)
def sweep(
    out: Output,
    tasks: Annotated[tuple[str, ...], argument(metavar="TASK|FAMILY:FIRST-LAST...", required=True, nargs=-1)],
    into: Into,
    rounds: Annotated[
        int,
        flag("Rounds; each after the first starts from the best script of the one before.", min=1, max=8, default=2),
    ],
    playing: Annotated[PlayingFlags, only("no_sandbox")],
) -> None:
    """Measure the effect of each single edit of a task, and store it by role in a knowledge base.
    A role is what a setting is for, whatever a task calls it, such as learning_rate.
    TASK is a name or a folder; tabular:1-8 are eight tasks of the family tabular (docs/knowledge.md).
    A task that cannot be trained is reported and skipped."""
    from analysis.knowledge import of_trials, write
    from trainer.cards.sweep import expected_experiments
    from trainer.variants import tasks_of

    stored = 0
    with ticker(out) as progress:
        for task in (task for text in tasks for task in tasks_of(text)):
            count = expected_experiments(task, rounds)
            out.note(f"{task.name}: about {count} experiments, {duration(count * task.cost_seconds)} of device time")
            try:
                trials = _swept(task, rounds, progress, playing.no_sandbox)
            except TaskError as error:
                out.warn(f"{error.message}; left out")
                continue
            effects = of_trials(trials, task, kind="sweep", source=f"sweep of {task.name}")
            if not effects:
                out.warn(f"{task.name}: no edit was better than the untouched script; left out")
                continue
            file = write(Path(into).expanduser(), effects)
            stored += 1
            out.note(f"{task.name}: {many(sum(trial.n for trial in trials), 'experiment')}, in {resolve.shown(file)}")
    if not stored:
        raise UsageError("nothing was learnt", hint="metaloop task check tests a task")
    out.next(f"metaloop knowledge ideas {resolve.typed(Path(into))} -o program.md")


def _swept(task: Task, rounds: int, progress: Callable[[str], None], unsafe: bool) -> list[EditTrial]:
    from trainer.cards.sweep import sweep as carry_out

    if not any(knob.role for knob in task.edits.knobs):
        hint = 'write role = "learning_rate" and so on into task.toml, see docs/ideas.md'
        raise UsageError(f"{task.name}: no knob has a role", hint=hint)
    with trainer_at(task, unsafe) as trainer:
        return carry_out(trainer, rounds, progress)


@verb(
    ("metaloop learn studies/NAME --into kb/", "what a study's experiments showed"),
    ("metaloop learn studies/* other-kb/ --into kb/", "several studies, and another knowledge base"),
)
def learn(
    out: Output,
    paths: Annotated[tuple[str, ...], argument(metavar="STUDY|DIR...", required=True, nargs=-1)],
    into: Into,
) -> None:
    """Add the effects of edits that studies measured to a knowledge base. It stores them by
    role: what a setting is for, whatever a task calls it. DIR is another knowledge base,
    whose files are copied."""
    import shutil

    from analysis.knowledge import files_of

    target, stored = Path(into).expanduser(), 0
    for text in paths:
        path = Path(text).expanduser()
        if any(path.glob("effects-*.parquet")):
            target.mkdir(parents=True, exist_ok=True)
            files = files_of([path])
            for file in files:
                if not (target / file.name).exists():
                    shutil.copyfile(file, target / file.name)
            stored += len(files)
            out.note(f"{resolve.shown(path)}: {many(len(files), 'file')} of effects")
            continue
        stored += _learn_study(out, resolve.study_folder(text, out), target)
    if not stored:
        hint = 'knobs need role = "learning_rate" and so on in task.toml, see docs/ideas.md'
        raise UsageError("nothing was learnt", hint=hint)
    out.next(
        f"metaloop knowledge ideas {resolve.typed(target)} -o program.md",
        f"metaloop improve PROGRAM.md -t TASK --knowledge {resolve.typed(target)}",
    )


def _learn_study(out: Output, folder: Path, target: Path) -> int:
    """Store what a study showed about each of its tasks. Returns the number of files."""
    from analysis.knowledge import of_study, write
    from arena.settings import StudyConfig
    from trainer.task import Task

    config, stored = StudyConfig.read(folder / "study.toml"), 0
    with resolve.connect(folder, []) as con:
        for task in map(Task.load, [config.task, *(other.task for other in (*config.further, *config.fresh))]):
            effects = of_study(con, task, folder.resolve().name)
            if not any(effect.edit for effect in effects):
                out.warn(f"{resolve.shown(folder)}: shows nothing about edits of {task.name} by role; left out")
                continue
            file = write(target, effects)
            stored += 1
            out.note(f"{task.name}: {many(len(effects), 'effect')}, in {resolve.shown(file)}")
    return stored


@noun(
    ("metaloop knowledge show", "its roles and their best values"),
    ("metaloop knowledge ideas -o program.md", "a program with the most useful ideas"),
    ('metaloop knowledge sql kb/ "SELECT family, count(*) FROM effects GROUP BY ALL"', "a query"),
)
def knowledge() -> None:
    """Show and query the effects of edits on many tasks, and write a program from them.
    Effects are stored by role: what a setting is for, whatever a task calls it."""


@verb(
    ("metaloop knowledge show", "what comes with Metaloop"),
    ("metaloop knowledge show kb/ --without strokes --json", "your own without the family strokes, for a script"),
)
def show(out: Output, folders: Folders, without: Without) -> None:
    """Show the roles in a knowledge base and the best value of each. Without DIR, uses the one
    that comes with Metaloop. A role is what a setting is for, whatever a task calls it. The
    best value is the one that is best on most tasks, according to a statistical model of
    each task's effects."""
    effects = _read(folders, without)
    out.rows(_by_role(effects), SHOWN)
    families = sorted({effect.family for effect in effects})
    tasks = len({effect.task_id for effect in effects})
    trials = many(sum(effect.n for effect in effects), "experiment")
    out.note(
        "role: what a setting is for, whatever a task calls it; best most often: the value that is best on most tasks"
    )
    out.note(f"{many(len(effects), 'effect')} from {trials} on {many(tasks, 'task')} of {', '.join(families)}")


def _by_role(effects: Sequence[Effect]) -> list[Row]:
    from analysis.report.coverage import task_values
    from meta.learnt import value_text

    best: dict[tuple[str, ...], list[str]] = defaultdict(list)
    families: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for task in task_values(effects):
        for group, worth in task.worth.items():
            top = max(worth.items(), key=lambda item: item[1])[0]
            best[group].append(", ".join(map(value_text, top)))
            families[group].add(task.family)
    return [
        {
            "role": ", ".join(group),
            "value": max(sorted(set(values)), key=values.count),
            "tasks": len(values),
            "families": ", ".join(sorted(families[group])),
            "effects": sum(not effect.edit.keys().isdisjoint(group) for effect in effects),
        }
        for group, values in sorted(best.items())
    ]


@verb(
    ("metaloop knowledge ideas -o program.md", "ideas from the knowledge that comes with Metaloop"),
    (
        "metaloop knowledge ideas kb/ --base my/program.md --without strokes",
        "in your own program, without the family strokes",
    ),
)
def ideas(
    out: Output,
    folders: Folders,
    base: Annotated[str, flag("The program that gets the list of ideas.", default="idea-queue", metavar="PROGRAM")],
    without: Without,
    most: Annotated[int, flag("Maximum number of ideas.", "-n", min=1, max=200, default=30)],
    flat: Annotated[bool, flag("Ideas without conditions, for comparison.")],
    output: Annotated[str | None, flag("File to write  [default: stdout].", "-o", metavar="FILE", command="knowledge")],
) -> None:
    """Write a program with ideas from a knowledge base. Without DIR, uses the one that comes
    with Metaloop. The list begins with the idea that gains most over all tasks; each
    further idea is the one that adds most to those before it. "Estimated to help on 4 of 6
    measured tasks" means: the idea can be tried on six tasks, and a statistical model of
    each task's effects predicts a gain on four of them."""
    from analysis.report.coverage import choose, task_values
    from meta.learnt import with_ideas

    chosen = choose(task_values(_read(folders, without)), most, conditions=not flat)
    if not chosen:
        raise UsageError("no idea helps on these tasks by more than noise", hint="metaloop sweep adds more tasks")
    program = resolve.one_program(base)
    if program.is_set:
        raise UsageError(f"--base {base} is a program of several files", hint="name a program of one .md file")
    text = with_ideas(program, chosen)
    if output is None:
        out.text(text)
        return
    path = Path(output).expanduser()
    path.write_text(text, "utf-8")
    out.note(f"wrote {resolve.shown(path)}: {many(len(chosen), 'idea')}")
    out.next(f"metaloop match {resolve.typed(path)} -t TASK")


@verb(
    ('metaloop knowledge sql kb/ "SELECT family, count(*) FROM effects GROUP BY ALL"', "a query"),
    ('metaloop knowledge sql kb/ "FROM effects" --json > effects.json', "everything, for a script"),
)
def sql(out: Output, folder: Annotated[str, argument(metavar="DIR")], query: Annotated[str, argument()]) -> None:
    """Query the table effects of a knowledge base with DuckDB SQL. Its columns are
    described in docs/knowledge.md."""
    from analysis.knowledge import query as ask

    text = text_of(query, f"metaloop knowledge sql {folder}")
    show_rows(out, ask([Path(folder).expanduser()], text))


def _read(folders: Sequence[str], without: Sequence[str]) -> list[Effect]:
    from analysis.knowledge import SHIPPED, read

    effects = read([Path(text).expanduser() for text in folders] or [SHIPPED], without=without)
    if not effects:
        raise UsageError("no effects are left", hint="leave out fewer tasks or families")
    return effects


for command in (show, ideas, sql):
    knowledge.add_command(command)

"""``metaloop sweep`` and ``metaloop knowledge``: what many tasks showed about edits, by role."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from meta.cli import resolve
from meta.cli.commands import noun, verb
from meta.cli.flags import PlayingFlags
from meta.cli.library.task_work import trainer_at
from meta.cli.options import argument, duration, flag, only, rare
from meta.cli.output import Output
from meta.cli.progress import ticker
from programs.errors import TaskError, UsageError

if TYPE_CHECKING:
    from analysis.knowledge import Effect


@verb(
    ("metaloop sweep tabular:1-8 --into kb/", "eight tasks of a family"),
    ("metaloop sweep my-task/ --into kb/", "your own task, whose settings have roles"),
)
def sweep(
    out: Output,
    tasks: Annotated[tuple[str, ...], argument(metavar="TASK|FAMILY:FIRST-LAST...", required=True, nargs=-1)],
    into: Annotated[str, flag("The knowledge base, a folder; created if missing.", metavar="DIR", required=True)],
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
    from trainer.cards.sweep import sweep as carry_out
    from trainer.variants import tasks_of

    stored = 0
    with ticker(out) as progress:
        for task in (task for text in tasks for task in tasks_of(text)):
            count = expected_experiments(task, rounds)
            out.note(f"{task.name}: about {count} experiments, {duration(count * task.cost_seconds)} of device time")
            if not any(knob.role for knob in task.edits.knobs):
                hint = 'write role = "learning_rate" and so on into task.toml, see docs/ideas.md'
                raise UsageError(f"{task.name}: no knob has a role", hint=hint)
            try:
                with trainer_at(task, playing.no_sandbox) as trainer:
                    trials = carry_out(trainer, rounds, progress)
            except TaskError as error:
                out.warn(f"{error.message}; left out")
                continue
            effects = of_trials(trials, task, kind="sweep", source=f"sweep of {task.name}")
            if not effects:
                out.warn(f"{task.name}: no edit was better than the untouched script; left out")
                continue
            file = write(Path(into).expanduser(), effects)
            stored += 1
            out.note(f"{task.name}: {sum(trial.n for trial in trials)} experiments, in {resolve.shown(file)}")
    if not stored:
        raise UsageError("nothing was learnt", hint="metaloop task check tests a task")
    out.next(f"metaloop knowledge ideas {resolve.typed(Path(into))} -o program.md")


@noun(
    ("metaloop knowledge ideas -o program.md", "a program with the most useful ideas"),
    ("metaloop knowledge ideas studies/NAME", "of what a study measured"),
)
def knowledge() -> None:
    """Write a program from the effects of edits on many tasks. Effects are stored by role:
    what a setting is for, whatever a task calls it."""


@verb(
    ("metaloop knowledge ideas -o program.md", "ideas from the knowledge that comes with Metaloop"),
    (
        "metaloop knowledge ideas kb/ --base my/program.md --without strokes",
        "in your own program, without the family strokes",
    ),
    ("metaloop knowledge ideas studies/NAME kb/", "what a study and a knowledge base showed"),
)
def ideas(
    out: Output,
    folders: Annotated[tuple[str, ...], argument(metavar="[DIR|STUDY]...", nargs=-1)],
    base: Annotated[str, flag("The program that gets the list of ideas.", default="idea-queue", metavar="PROGRAM")],
    without: Annotated[
        tuple[str, ...],
        flag("Leave out what comes from this task or family; repeatable.", metavar="TASK|FAMILY", command="knowledge"),
    ],
    most: Annotated[int, rare("Maximum number of ideas.", min=1, max=200, default=30)],
    flat: Annotated[bool, rare("true: ideas without conditions, for comparison.")],
    output: Annotated[str | None, flag("File to write  [default: stdout].", "-o", metavar="FILE", command="knowledge")],
) -> None:
    """Write a program with ideas from knowledge bases and studies; without one, from the knowledge
    that comes with Metaloop. The list begins with the idea that gains most over all tasks; each
    further idea is the one that adds most to those before it. "Estimated to help on 4 of 6
    measured tasks" means: the idea can be tried on six tasks, and a statistical model of
    each task's effects predicts a gain on four of them."""
    from analysis.report.coverage import choose, task_values
    from meta.learnt import sentence, with_list

    path = resolve.new_path(output) if output else None
    chosen = choose(task_values(_read(folders, without, out)), most, conditions=not flat)
    if not chosen:
        raise UsageError("no idea helps on these tasks by more than noise", hint="metaloop sweep adds more tasks")
    program = resolve.one_program(base)
    if program.is_set:
        raise UsageError(f"--base {base} is a program of several files", hint="name a program of one .md file")
    text = with_list(program, [*map(sentence, chosen)])
    if path is None:
        out.text(text)
        return
    path.write_text(text, "utf-8")
    out.note(f"wrote {resolve.shown(path)}: {len(chosen)} ideas")
    out.next(f"metaloop match {resolve.typed(path)} -t TASK")


def _read(folders: Sequence[str], without: Sequence[str], out: Output) -> list[Effect]:
    """The effects in knowledge bases, and those that studies measured."""
    from analysis.knowledge import SHIPPED, of_study, read
    from arena.settings import StudyConfig
    from trainer.task import Task

    paths = [Path(text).expanduser() for text in folders]
    studies = [path for path in paths if (path / resolve.MARK).is_file()]
    bases = [path for path in paths if path not in studies]
    effects = read(bases or [SHIPPED], without=without) if bases or not studies else []
    for folder in studies:
        config = StudyConfig.read(folder / resolve.MARK)
        with resolve.connect(folder, []) as con:
            for name in (config.task, *(other.task for other in config.further)):
                task = Task.load(name)
                measured = of_study(con, task, folder.resolve().name)
                if not any(effect.edit for effect in measured):
                    out.warn(f"{resolve.shown(folder)}: shows nothing about edits of {task.name} by role; left out")
                elif not {measured[0].family, task.name, task.task_id} & {*without}:
                    effects += measured
    if not effects:
        hint = 'leave out fewer tasks; knobs need role = "learning_rate" and so on in task.toml, see docs/ideas.md'
        raise UsageError("no effects are left", hint=hint)
    return effects


knowledge.add_command(ideas)

"""``metaloop knowledge``: what many tasks showed about edits, by role."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from meta.cli import resolve
from meta.cli.commands import noun, verb
from meta.cli.options import argument, flag, rare
from meta.cli.output import Output
from programs.errors import UsageError

if TYPE_CHECKING:
    from analysis.knowledge import Effect


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
        raise UsageError("no idea helps on these tasks by more than noise", hint="name more knowledge bases or studies")
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
            for name in (config.task, *(other.task for other in (*config.further, *config.fresh))):
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

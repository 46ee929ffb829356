"""``metaloop sweep``: what many tasks showed about edits, by role."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from meta.cli import resolve
from meta.cli.commands import verb
from meta.cli.flags import PlayingFlags
from meta.cli.library.task_work import trainer_at
from meta.cli.options import argument, duration, flag, only
from meta.cli.output import Output
from meta.cli.progress import ticker
from programs.errors import TaskError, UsageError


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
    out.next(f"metaloop program new program.md --learnt {resolve.typed(Path(into))}")

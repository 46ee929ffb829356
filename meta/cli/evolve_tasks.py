"""The flags of `evolve` and `improve`, and what they are about: training tasks and held-out tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

import click

from meta.cli import launch
from meta.cli.flags import ModelFlags, PlayingFlags, StartFlags, StudyFlags
from meta.cli.launch import LaunchSettings
from meta.cli.options import flag, only, rare
from meta.cli.study_size import Dial, plan_of
from programs.errors import UsageError

if TYPE_CHECKING:
    from arena.study import Study
    from meta.kinds.plan import Plan
    from trainer.task import Task


@dataclass(frozen=True)
class EndFlags:
    """What happens when the study has ended."""

    apply: Annotated[
        bool,
        flag(
            "At the end, commit the program and the train.py, each if it is better, to a new branch of the task's "
            "repository."
        ),
    ]
    data_noise: Annotated[
        str | None,
        rare(
            "unknown: --apply also commits a train.py of which it is not known whether its gain holds on other data.",
            type=click.Choice(("unknown",)),
        ),
    ]

    @property
    def apply_words(self) -> str:
        """The words of a command that asks for the same branch."""
        return " --apply" * self.apply + " --set data_noise=unknown" * (self.data_noise is not None)

    def refuse_early(self, task: Task) -> None:
        """Raise UsageError for what could not be done at the end, before anything is spent."""
        if self.data_noise and not self.apply:
            raise UsageError("--set data_noise=unknown is for --apply alone", hint="add --apply, or leave it out")
        if self.apply:
            from meta.outcome.apply import repository_of

            with repository_of(task):
                pass


@dataclass(frozen=True)
class EvolveFlags:
    """The flags of ``evolve`` and ``improve``."""

    which: Annotated[StudyFlags, only("study", "resume")]
    task: Annotated[
        str | None,
        flag("The tasks of the search: every program runs on each  [default: strokes].", "-t", metavar="TASK,…"),
    ]
    reserve: Annotated[
        str | None,
        flag("Held-out tasks, which the search does not use: the champion is tested on them, once.", metavar="TASK,…"),
    ]
    from_study: Annotated[
        str | None,
        flag(
            "Start a new study from this one: on its tasks, with its champion among the starting programs, and with "
            "its measured effects among what is known.",
            "--from",
            metavar="STUDY",
            command="study",  # METALOOP_STUDY_FROM: `task init --from` takes a folder
        ),
    ]
    knowledge: Annotated[
        str | None,
        rare("DIR,…: further knowledge bases for starting ideas; none: no learnt ideas."),
    ]
    without: Annotated[str | None, rare("NAME,…: leave out what was learnt on these tasks or families.")]
    dial: Dial
    playing: PlayingFlags
    models: ModelFlags
    meta_program: Annotated[str | None, rare("FILE: instructions for models that write programs.")]
    ending: EndFlags
    start: StartFlags


@dataclass(frozen=True)
class ChosenTasks:
    """What a study is about: training tasks, held-out tasks, and the drawn one."""

    training: Sequence[Task]
    reserve: Sequence[Task]
    variant: Task | None = None

    @classmethod
    def named(cls, flags: EvolveFlags, seed: int | None) -> ChosenTasks:
        """Those of a new study."""
        from meta.reserve import refuse_twice, unseen_variant

        training, reserve = launch.load_tasks(flags.task) or [launch.load_task(None)], launch.load_tasks(flags.reserve)
        refuse_twice(training, reserve)
        return cls(training, reserve, unseen_variant(training[0], seed or 0, named=[*training, *reserve]))

    @classmethod
    def of(cls, study: Study) -> ChosenTasks:
        """Those of a study that is resumed."""
        from trainer.task import Task

        training = [study.task, *(Task.load(other.task) for other in study.config.further)]
        named = [(Task.load(other.task), other.variant) for other in study.config.reserve]
        reserve = [task for task, unseen in named if not unseen]
        return cls(training, reserve, next((task for task, unseen in named if unseen), None))

    def plan(self, dial: Dial, own_arm: bool, improves: bool) -> Plan:
        return plan_of(self.training, dial, self.reserve, own_arm=own_arm, variant=self.variant, improves=improves)


def drawn_for(on: ChosenTasks, plan: Plan, settings: LaunchSettings) -> Task | None:
    """The drawn held-out task, whose untouched script trains."""
    from meta.cli.task_work import trains
    from meta.reserve import unseen_variant

    able = partial(trains, unsafe=settings.no_sandbox)
    named = [*on.training, *on.reserve]
    return unseen_variant(on.training[0], settings.seed, able, named) if plan.variant_runs else None

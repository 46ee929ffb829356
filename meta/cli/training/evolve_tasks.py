"""The flags of `evolve` and `improve`, and what they are about: training tasks, held-out tasks, families."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

import click

from meta.cli import resolve
from meta.cli.flags import ModelFlags, PlayingFlags, StartFlags, StudyFlags
from meta.cli.options import flag, only, rare
from meta.cli.output import Output
from meta.cli.training import launch
from meta.cli.training.launch import LaunchSettings
from meta.cli.training.study_size import Dial, family_plan, plan_of
from programs.errors import UsageError

if TYPE_CHECKING:
    from arena.study import Study
    from meta.study.plan import Plan
    from meta.study.task_families import DrawnTasks, Families
    from trainer.task import Task

NEW = ":new"  # after the name of a family


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
            from meta.results.apply import repository_of

            with repository_of(task):
                pass


@dataclass(frozen=True)
class EvolveFlags:
    """The flags of ``evolve`` and ``improve``."""

    which: Annotated[StudyFlags, only("study", "resume")]
    task: Annotated[
        str | None,
        flag(
            "The tasks of the search: every program runs on each. FAMILY:new draws new members of a family at each "
            "stage  [default: strokes].",
            "-t",
            metavar="TASK,…",
        ),
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
    """What a study is about: training tasks, held-out tasks, and the drawn one. Over ``families`` the first two
    are one task of each family."""

    training: Sequence[Task]
    reserve: Sequence[Task]
    variant: Task | None = None
    families: Families | None = None

    @classmethod
    def named(cls, flags: EvolveFlags, seed: int | None) -> ChosenTasks:
        """Those of a new study."""
        from meta.reserve import unseen_variant

        training, reserve, families = named_tasks(flags)
        drawn = None if families else unseen_variant(training[0], seed or 0, named=[*training, *reserve])
        return cls(training, reserve, drawn, families)

    @classmethod
    def of(cls, study: Study) -> ChosenTasks:
        """Those of a study that is resumed."""
        from meta.study.task_families import Families
        from trainer.task import Task

        if used := study.config.families:
            families = Families([*map(Task.load, used.searched)], [*map(Task.load, used.left_out)])
            return cls(families.searched, families.left_out, families=families)
        training = [study.task, *(Task.load(other.task) for other in study.config.further)]
        named = [(Task.load(other.task), other.variant) for other in study.config.reserve]
        reserve = [task for task, unseen in named if not unseen]
        return cls(training, reserve, next((task for task, unseen in named if unseen), None))

    def plan(self, dial: Dial, own_arm: bool, improves: bool) -> Plan:
        if self.families:
            return family_plan(self.training[0], dial, own_arm)
        return plan_of(self.training, dial, self.reserve, own_arm=own_arm, variant=self.variant, improves=improves)


def named_tasks(flags: EvolveFlags) -> tuple[list[Task], list[Task], Families | None]:
    """(to search on, reserved, families) of a new study; over families the tasks are the first of each."""
    from meta.reserve import refuse_twice
    from meta.study.task_families import Families

    names = resolve.listed(flags.task)
    drawn = [name for name in names if name.endswith(NEW)]
    if not drawn:
        training, reserve = launch.load_tasks(flags.task) or [launch.load_task(None)], launch.load_tasks(flags.reserve)
        refuse_twice(training, reserve)
        return training, reserve, None
    if len(drawn) < len(names) or flags.from_study:
        why = "--from names tasks" if flags.from_study else "name families only"
        raise UsageError(f"-t {flags.task}: {drawn[0]} draws new tasks at each stage; {why}", hint=f"-t {drawn[0]}")
    searched, left_out = (
        [launch.load_task(name.removesuffix(NEW)) for name in some] for some in (names, resolve.listed(flags.reserve))
    )
    families = Families(searched, left_out)
    families.check()
    return searched, left_out, families


def drawn_for(
    out: Output, on: ChosenTasks, plan: Plan, settings: LaunchSettings
) -> tuple[DrawnTasks | None, Task | None]:
    """(the tasks of a study over families, the drawn one of a study on tasks), whose untouched scripts train."""
    from meta.cli.library.task_work import trains
    from meta.reserve import unseen_variant
    from meta.study.task_families import draw

    able = partial(trains, unsafe=settings.no_sandbox)
    if on.families is None:
        named = [*on.training, *on.reserve]
        return None, unseen_variant(on.training[0], settings.seed, able, named) if plan.variant_runs else None
    out.note("trying the untouched script of each new task once")
    return draw(on.families, plan, settings.seed, able, settings.workers_or_cores(on.training)), None

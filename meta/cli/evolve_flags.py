"""The flags of ``metaloop evolve`` and ``metaloop improve``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from meta.cli.flags import PlayingFlags, StartFlags, StudyFlags, StudyModelFlags, WebhookFlag
from meta.cli.mutation import MutationFlags
from meta.cli.options import flag, only
from meta.cli.staffing import AgentFlags
from meta.cli.study_size import Dial

if TYPE_CHECKING:
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
    webhook: WebhookFlag

    def refuse_early(self, task: Task) -> None:
        """Raise UsageError for what could not be done at the end, before anything is spent."""
        if self.apply:
            from meta.apply import repository_of

            repository_of(task)


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
    family: Annotated[
        str | None,
        flag(
            "Instead of --task: families of tasks; every stage uses new members of them, and --reserve names families "
            "that are used only at the end.",
            metavar="FAMILY,…",
        ),
    ]
    prior: Annotated[
        str | None,
        flag(
            "Past studies: their best programs become starters, and their results the first estimates.",
            metavar="STUDY,…",
        ),
    ]
    from_home: Annotated[
        str | None,
        flag("A project of metaloop home: start on its task, from its results (as --prior does).", metavar="DIR"),
    ]
    from_scratch: Annotated[bool, flag("Leave out the starting program with ideas learnt on measured tasks.")]
    knowledge: Annotated[
        str | None,
        flag("Start from these knowledge bases too (metaloop learn makes one from your studies).", metavar="DIR,…"),
    ]
    without: Annotated[str | None, flag("Leave out what was learnt on these tasks or families.", metavar="NAME,…")]
    dial: Dial
    playing: PlayingFlags
    models: StudyModelFlags
    agent: AgentFlags
    mutation: MutationFlags
    ending: EndFlags
    start: StartFlags

"""The flags of ``metaloop evolve`` and ``metaloop improve``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from meta.cli.flags import ModelFlags, PlayingFlags, StartFlags, StudyFlags, WebhookFlag
from meta.cli.options import flag, only, rare
from meta.cli.training.study_size import Dial

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
            from meta.results.apply import repository_of

            repository_of(task)


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
        rare("DIR,…: further knowledge bases for starting ideas (metaloop sweep makes one); none: no learnt ideas."),
    ]
    without: Annotated[str | None, rare("NAME,…: leave out what was learnt on these tasks or families.")]
    dial: Dial
    playing: PlayingFlags
    models: ModelFlags
    meta_program: Annotated[str | None, rare("FILE: instructions for models that write programs.")]
    ending: EndFlags
    start: StartFlags

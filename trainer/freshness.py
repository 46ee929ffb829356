"""Which randomness is fresh when a final script is trained again, and how to make the result verifiable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trainer.rows import EXACT

if TYPE_CHECKING:
    from trainer.task import Task

SPLIT, HELD, ROWS, TIMED, SEEDS, NOTHING = "split", "held", "rows", "timed", "seeds", "nothing"

SENTENCES = {  # the freshest first
    SPLIT: "The run seeds, the training seeds and the data split are fresh: no researcher saw them.",
    EXACT: "The metric is exact: a count or a size, the same on any data.",
    HELD: "The run seeds and the training seeds are fresh, and the script is scored on rows that were held back from "
    "the search. Whoever read a log with the mean of all rows saw these in sum.",
    ROWS: "The run seeds are fresh, and the script is scored on rows that the search did not use. The command takes no "
    "training seed.",
    TIMED: "The metric is a time, which was measured again while nothing else ran. It has no data.",
    SEEDS: "Only run seeds and training seeds are fresh. This task has no hidden split: the script is scored on the "
    "data that selected it.",
    NOTHING: "Only run seeds are fresh. The command takes no training seed and there is no hidden split, so training "
    "again repeats the same measurement.",
}


def freshness(task: Task) -> str:
    """``split``: fresh seeds and rows that the search did not use; ``held``: the same, some rows of one file; ``rows``
    and ``seeds``: these alone; ``nothing``: neither; ``timed``: a time; ``exact``: no other data would change the
    metric."""
    if task.data_noise == EXACT:
        return EXACT
    if task.timed:
        return TIMED
    if task.run is not None:
        if task.takes_split:
            return SPLIT if task.takes_seed else ROWS
        if task.held_rows(task.scoring["n_rows"] or 0):
            return HELD if task.takes_seed else ROWS
        return SEEDS if task.takes_seed else NOTHING
    return SEEDS if task.scoring.get("kind") == "printed" and not task.has_data else SPLIT


def least_fresh(tasks: Sequence[Task]) -> Task:
    """The task with the least that is fresh."""
    return max(tasks, key=lambda task: tuple(SENTENCES).index(freshness(task)))


def describe_freshness(task: Task) -> str:
    """A sentence on what is fresh, and another on how to make the result of a command verifiable."""
    cures = [] if task.takes_seed else ["put {seed} into the command, so that training again uses a fresh seed"]
    if task.run is not None and not task.run.score_command:
        cures.append(
            "set [run] score_command and artifacts, so that a separate command scores the artifacts of training"
        )
    return SENTENCES[freshness(task)] + (f" To make it verifiable: {'; '.join(cures)}." if cures else "")

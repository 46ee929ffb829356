"""Which randomness is fresh when a final script is trained again, and how to make the result verifiable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainer.task import Task

SPLIT, SEEDS, NOTHING = "split", "seeds", "nothing"
#: Of one's own repository: the command scores on other rows when asked, or some of its rows are held back.
OWN_SPLIT, HELD = "own split", "held rows"

SAID = {
    SPLIT: "The run seeds, the training seeds and the data split are fresh: no researcher saw them.",
    OWN_SPLIT: "The script is scored on the rows of the split confirm, on which nothing was chosen.",
    HELD: "The script is scored on rows that were held back, on which nothing was chosen.",
    SEEDS: "Only run seeds and training seeds are fresh. This task has no hidden split: the script is scored on the "
    "data that selected it.",
    NOTHING: "Only run seeds are fresh. The command takes no training seed and there is no hidden split, so training "
    "again repeats the same measurement.",
}
#: How a result that was chosen among several was measured afterwards.
CHOSEN = {
    SPLIT: "measured on seeds and data that were not used to choose it",
    OWN_SPLIT: "measured on the rows of the split confirm, which were not used to choose it",
    HELD: "measured on rows that were held back and not used to choose it",
    SEEDS: "measured on seeds that were not used to choose it, but on the same data",
    NOTHING: "measured again on the same data, with no seed to change",
}
#: What a final script is scored on, beside what its run was scored on.
UNSEEN = {
    SPLIT: "on seeds and data that the run did not see",
    OWN_SPLIT: "on the rows of the split confirm, which the run did not use",
    HELD: "on rows that were held back from the run",
    SEEDS: "on fresh seeds, but on the data that the run saw",
    NOTHING: "on the data that the run saw, with no seed to change",
}
#: How both scripts that a gain compares are trained.
AGAIN = {
    SPLIT: "both trained again from scratch on seeds and data that no researcher saw",
    OWN_SPLIT: "both trained again from scratch and scored on the rows of the split confirm",
    HELD: "both trained again from scratch and scored on rows that were held back",
    SEEDS: "both trained again from scratch on fresh seeds, but scored on data that the researchers used",
    NOTHING: "both trained again from scratch, with no seed to change, and scored on data that the researchers used",
}
#: For sentences such as "trained again on …".
SHORT = {
    SPLIT: "fresh seeds and data",
    OWN_SPLIT: "the split confirm",
    HELD: "rows that were held back",
    SEEDS: "fresh seeds",
    NOTHING: "the same data, with no seed to change",
}


def freshness(task: Task) -> str:
    """``split``: fresh seeds and a hidden split; ``own split``, ``held rows``: rows of the user's own data that chose
    nothing, and fresh seeds where the command takes one; ``seeds``: fresh seeds only; ``nothing``: neither."""
    if task.takes_split:
        return OWN_SPLIT
    if task.held_rows(task.scoring["n_rows"] or 0):
        return HELD
    if task.run is not None:
        return SEEDS if takes_seed(task) else NOTHING
    return SEEDS if task.scoring.get("kind") == "printed" and not task.has_data else SPLIT


def least(tasks: Sequence[Task]) -> str:
    return max(map(freshness, tasks), key=tuple(SAID).index)


def said(tasks: Sequence[Task]) -> str:
    """A sentence on what is fresh, for the task with the least, and how to make it verifiable."""
    worst = max(tasks, key=lambda task: tuple(SAID).index(freshness(task)))
    cure = cures(worst)
    return SAID[freshness(worst)] + (f" To make it verifiable: {'; '.join(cure)}." if cure else "")


def takes_seed(task: Task) -> bool:
    """Whether a command uses the training seed: by {seed}, a constant, or METALOOP_TRAIN_SEED in its files."""
    run = task.run
    if run is None or run.seed_constant or "{seed}" in f"{run.command} {run.environment}":
        return True
    editable = (text.encode() for _, text in task.baseline().files)
    return any(b"METALOOP_TRAIN_SEED" in body for body in (*editable, *task.laid_files().values()))


def cures(task: Task) -> list[str]:
    """How to make the result of a command's task verifiable; empty if nothing is missing."""
    if task.run is None:
        return []
    lines = [] if takes_seed(task) else ["put {seed} into the command, so that training again uses a fresh seed"]
    if not task.run.score_command:
        lines.append("give --score-command and --artifact, so that a separate command scores the artifacts of training")
    return lines

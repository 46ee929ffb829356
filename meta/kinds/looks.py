"""What a plan can show with the rows and seeds of a task that runs a command, before anything is spent."""

from __future__ import annotations

import math
from dataclasses import dataclass

from trainer.cards import check_record
from trainer.rows import (
    DRAWN,
    EXACT,
    RESOLVED,
    ROWS,
    SEEDS,
    VALUES,
    luck_of_looks,
    resolvable,
    share_error,
)
from trainer.task import Task


@dataclass(frozen=True)
class PlannedLooks:
    """``data_noise``: what task.toml says of the rows, a word of `trainer.rows`; ``rows``: their number, of which no
    search sees those that are ``held_back``; ``step``: the least by which a share of the rows changes.

    ``noise``: what is contained in ``resolvable``, the gain over the untouched script that is significant in 80% of
    cases after trainings with ``seeds`` seeds of each, and in ``luck``, by how much the best of so many ``looks``, the
    experiments, seems better where no change has an effect. All in the metric's unit; None: not known. Two scripts
    count as failing on unrelated rows, so the noise of the rows is rather too large.
    """

    task: str
    unit: str
    data_noise: str
    noise: str
    rows: int | None
    held_back: int
    step: float | None
    seeds: int
    resolvable: float | None
    looks: int
    luck: float | None


def planned_looks(task: Task, looks: int, seeds: int) -> PlannedLooks | None:
    """Of so many experiments, and a final test with so many seeds of each script. The noise is as the last `metaloop
    task check` measured it. None where the final test has all noise of the data, or the metric has none."""
    kind = task.data_noise
    if task.run is None or kind in (DRAWN, EXACT):
        return None
    known, rows = check_record.measured(task), task.scoring["n_rows"]
    sd = task.seed_sd or known.get("seed_sd") or 0.0
    held = task.held_rows(rows) if rows else 0
    error, step = None, None  # of a difference, with the rows of the final test
    if kind == VALUES and rows and "gain" in known:
        error, step = known["gain"] / RESOLVED, known.get("step")
    elif kind != VALUES and rows and "metric" in known:
        error, step = math.sqrt(2) * share_error(known["metric"], rows), 1 / rows
    noise = " ".join([SEEDS] * (sd > 0) + [ROWS] * (error is not None))
    gain, luck = None, None
    if noise and (error is not None or not rows):
        gain = resolvable(math.hypot(error or 0.0, sd * math.sqrt(2 / seeds)))
        searched = (error or 0.0) * math.sqrt((held or rows) / (rows - held)) if rows else 0.0
        luck = luck_of_looks(math.hypot(searched, sd * math.sqrt(2)), looks)
    return PlannedLooks(task.name, task.unit, kind, noise, rows, held, step, seeds, gain, looks, luck)

"""What a plan can show with the rows and seeds of a task that runs a command, before anything is spent."""

from __future__ import annotations

import math
from dataclasses import dataclass

from analysis.wording import many
from trainer.cards import check_record
from trainer.cards.card_summary import summary
from trainer.rows import (
    COUNT,
    DRAWN,
    EXACT,
    LEAST_HELD,
    RESOLVED,
    ROWS,
    SEEDS,
    SPLIT,
    UNKNOWN,
    VALUES,
    luck_of_looks,
    resolvable,
    share_error,
)
from trainer.task import Task

INIT = "metaloop task init --from REPO --noise … writes what is known of the rows (docs/night.md)"


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
    timed: bool  # a time has no rows

    @property
    def sentence(self) -> str:
        """Of the whole, in one line without a full stop."""
        return "; ".join(filter(None, [self._of_rows, self._of_gain, self._of_looks, self._of_other_data]))

    @property
    def _of_rows(self) -> str:
        if self.rows is None:
            return ""
        held = f", {self.held_back:,} of them held back for the final test" * bool(self.held_back)
        step = f", so the smallest step is {self.step:.3g}" if self.step else ""
        return f"{many(self.rows, 'validation row')}{held}{step}"

    @property
    def _of_gain(self) -> str:
        if self.resolvable is None:
            return "the gain that can be seen is not known before metaloop task check" * bool(self.rows)
        size = f"{self.resolvable:.2g} {self.unit}".rstrip()
        trainings = f"with {many(self.seeds, 'training')} of each script" * (SEEDS in self.noise)
        if ROWS not in self.noise:
            return f"no change below {size} can be seen {trainings}{', on the same rows' * (not self.timed)}"
        if self.data_noise == VALUES:
            return f"a change of {size} can be seen {trainings}".rstrip() + ", paired by rows perhaps a smaller one"
        return f"no change below {size} can be seen on these rows {trainings}".rstrip()

    @property
    def _of_looks(self) -> str:
        looks = many(self.looks, "look") + " at the same rows" * (not self.timed)
        if not self.luck:
            return looks
        of = "" if ROWS in self.noise else ", by the noise between trainings"
        return f"{looks}: the best of so many without any effect seems better by about {self.luck:.2g}{of}"

    @property
    def _of_other_data(self) -> str:
        if self.data_noise == SPLIT:
            return "the final test is on rows that no look has seen"
        if self.held_back or self.timed:
            return ""
        few = self.rows is not None and self.rows < LEAST_HELD
        why = f": below {LEAST_HELD} rows none are held back" if few else ": no rows are held back"
        if self.data_noise == COUNT:
            why += f"; with a file of rows, {LEAST_HELD} or more, some are" if not few else ""
        return f"nothing can be shown about other data{': ' + INIT if self.data_noise == UNKNOWN else why}"


def planned_looks(task: Task, looks: int, seeds: int) -> PlannedLooks | None:
    """Of so many experiments, and a final test with so many seeds of each script. The noise is as the last `metaloop
    task check` measured it. None where the final test has all noise of the data, or the metric has none."""
    kind = task.data_noise
    if task.run is None or kind in (DRAWN, EXACT):
        return None
    known, rows = check_record.measured(task), task.scoring["n_rows"]
    card = summary(task)
    sd = (card.seed_sd if card.state == "measured" else None) or known.get("seed_sd") or 0.0
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
    return PlannedLooks(task.name, task.unit, kind, noise, rows, held, step, seeds, gain, looks, luck, task.timed)

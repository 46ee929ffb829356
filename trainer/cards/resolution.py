"""What the validation rows of a task can show: the smallest step of its metric, and the gain that can be resolved."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from trainer.rows import COUNT, VALUES, resolvable, share_error

if TYPE_CHECKING:
    from trainer.outcome import Outcome
    from trainer.rows import Rows
    from trainer.task import Task


class Resolution(NamedTuple):
    """``step``: the least by which the metric can change, None where that is not known; ``gain``: the gain over the
    untouched script that is significant in 80% of cases if both scripts err on other rows, in the metric's unit;
    ``rows``: how many the final test has; ``is_paired``: they are compared one by one, so that scripts that err on the
    same rows show smaller gains, too.
    """

    step: float | None
    gain: float
    rows: int
    is_paired: bool

    def sentence(self, unit: str) -> str:
        """Of the whole, in one line without a full stop."""
        step = f"the smallest step is {self.step:.3g}; " if self.step is not None else ""
        least, rows = f"{self.gain:.2g} {unit}", f"these {self.rows:,} rows"
        if self.is_paired:
            return f"{step}no change below {least} can be seen with {rows}, unless both scripts err on the same ones"
        return f"{step}no change below {least} can be seen with {rows}"


def resolution(task: Task, outcome: Outcome | None, rows: Rows | None = None) -> Resolution | None:
    """Of the untouched script's outcome and its values of rows, [rows]; None where the task does not say enough.

    Where rows are held back, the final test has only these. Without values of rows, ``[score] n_rows`` and the
    metric, a share from 0 to 1, are enough.
    """
    if task.data_noise == VALUES and rows is not None and len(rows) > 1:
        import numpy as np

        held = task.held_rows(len(rows))
        count = held or len(rows)
        is_share = bool(np.isin(rows, (0.0, 1.0)).all())
        error = share_error(float(rows.mean()), count) if is_share else float(rows.std(ddof=1)) / math.sqrt(count)
        return Resolution(1 / count if is_share else None, _unpaired(error), count, True)
    if task.data_noise == COUNT and outcome is not None and outcome.metric is not None:
        count = task.scoring["n_rows"] or 1
        return Resolution(1 / count, _unpaired(share_error(outcome.metric, count)), count, False)
    return None


def _unpaired(error: float) -> float:
    """The resolvable gain of two independent scripts, each with this standard error."""
    return resolvable(math.sqrt(2) * error)

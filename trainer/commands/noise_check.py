"""`task check` tries what task.toml says of the noise of the validation rows: rows, n_rows, exact, {split}."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from trainer.cards.check_record import CheckFinding
from trainer.commands.knobs import SEED
from trainer.experiment import Spec, Trainer
from trainer.outcome import Outcome
from trainer.rows import COUNT, EXACT, UNKNOWN, VALUES, resolvable, share_error

if TYPE_CHECKING:
    from trainer.rows import Rows
    from trainer.task import Task

CLAUSE = "data noise"
_MOST_APART = 0.01  # of the mean of rows, by which a rounded printed metric may differ
_ROUNDING = 1e-5  # of a metric that was computed in single precision
_SEEN = 0.25  # rows: a share is seen to be none of so many rows if its last digit is less than this
_SAME = 0.1  # correlation of the rows of two trainings, below which their order is in doubt
_SEE = "docs/night.md has the five answers"


class Baseline(NamedTuple):
    """One training of the untouched files, the text that has its metric, and its values of rows, if it left any."""

    outcome: Outcome
    text: str
    rows: Rows | None

    @classmethod
    def train(cls, trainer: Trainer) -> Baseline:
        """Under one seed, whatever was trained before."""
        outcome = trainer.run(Spec(trainer.task.baseline(), SEED), use_cache=False)
        return cls(outcome, trainer.command.result, trainer.command.rows)


def noise_findings(trainer: Trainer, equal: Sequence[Baseline]) -> Iterator[CheckFinding]:
    """``equal``: one or two trainings under one seed."""
    task, (first, _, rows) = trainer.task, equal[0]
    if task.takes_split:
        yield _split(trainer, [run.outcome.metric for run in equal if run.outcome.metric is not None])
    if task.data_noise == VALUES and rows is not None:
        yield _mean(trainer, rows, equal[0].text)
        if len(equal) > 1 and (rows_again := equal[1].rows) is not None:
            yield _order(rows, rows_again, task.scoring["rows"])
    elif task.data_noise == COUNT:
        yield _share(first.metric or 0.0, task.scoring["n_rows"] or 1, task.metric)
    elif task.data_noise == EXACT:
        yield _exact(trainer, first)
    elif task.data_noise == UNKNOWN and not task.timed:
        message = "not known: whether a gain holds on other validation data stays open"
        yield CheckFinding("warning", CLAUSE, message, f"[score] rows, n_rows or exact, or {{split}}: {_SEE}")
    if doubts := resolution(task, first, rows):
        known = {name: float(value) for name, value in doubts._asdict().items() if value is not None}
        yield CheckFinding("ok", "resolution", doubts.sentence(task.unit), measured=known)


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


def _split(trainer: Trainer, search: Sequence[float]) -> CheckFinding:
    """The metric of both splits. Two that are equal show that the command does not look at its split."""
    outcome = trainer.run(Spec(trainer.task.baseline(), SEED, "confirmation"))
    if outcome.metric is None:
        return CheckFinding(
            "error", CLAUSE, f"it fails with the split confirm: {outcome.status}: {outcome.reason}", _SEE
        )
    if outcome.metric in search:
        message = f"the command ignores {{split}}: {outcome.metric:.6g} with search and with confirm"
        hint = "docs/night.md shows the three lines for a script; if it is chance, change the size of a split"
        return CheckFinding("error", CLAUSE, message, hint)
    both = f"{search[0]:.6g} with the split search, {outcome.metric:.6g} with confirm"
    if abs(outcome.metric - search[0]) <= 2 * (max(search) - min(search)):
        hint = "let one seed repeat its result"
        return CheckFinding("warning", CLAUSE, f"{both}: no more apart than two runs with one seed", hint)
    return CheckFinding("ok", CLAUSE, both)


def _mean(trainer: Trainer, rows: Rows, text: str) -> CheckFinding:
    """The mean of the rows against the metric that is printed, where one is."""
    task, name = trainer.task, trainer.task.scoring["rows"]
    mean = float(rows.mean())
    held = task.held_rows(len(rows))
    part = f"{held:,} of them are held back from the search" if held else "none of them is held back"
    if not (task.scoring["pattern"] or task.scoring["key"]):
        return CheckFinding("ok", CLAUSE, f"{len(rows):,} rows in {name}, their mean is {mean:.6g}; {part}")
    printed = trainer.command.scorer.metric(text)
    if _agree(printed, mean):
        return CheckFinding("ok", CLAUSE, f"{len(rows):,} rows in {name}, their mean is the metric; {part}")
    message = f"the printed {task.metric} is {printed:.6g}, but the mean of {name} is {mean:.6g}"
    squares = (math.sqrt(abs(mean)), math.sqrt(float((rows * rows).mean())))
    if _agree(printed, 100 * mean):
        return CheckFinding("error", CLAUSE, f"{message}: percent", "write 100 in place of 1, or print the share")
    if any(_agree(printed, root) for root in squares):
        hint = "print the mean of the squared errors as the metric, and write the squared error of each row"
        return CheckFinding("error", CLAUSE, f"{message}: a square root, which is no mean of rows", hint)
    return CheckFinding("error", CLAUSE, message, "write one value a row, so that their mean is the metric")


def _order(first: Rows, second: Rows, name: str) -> CheckFinding:
    """Of two trainings with one seed: where the metric repeats, so do the rows; else they are at least alike."""
    import numpy as np

    if np.array_equal(first, second):
        return CheckFinding("ok", CLAUSE, f"one seed repeats the rows of {name}")
    if len(first) == len(second) and np.array_equal(np.sort(first), np.sort(second)):
        hint = "write the rows in the order of the data, the same for every training"
        return CheckFinding("error", CLAUSE, f"{name}: one seed gives the same rows in another order", hint)
    alike = float(np.corrcoef(first, second)[0, 1]) if min(first.std(), second.std()) > 0 else 1.0
    message = f"{name}: the rows of two trainings with one seed have a correlation of {alike:.2f}"
    if alike < _SAME:
        hint = "are they in the same order each time? Else nothing can be compared row by row"
        return CheckFinding("warning", CLAUSE, message, hint)
    return CheckFinding("ok", CLAUSE, message)


def _share(metric: float, rows: int, name: str) -> CheckFinding:
    if not 0.0 <= metric <= 1.0:
        message = f"{name} is {metric:.6g}, but n_rows needs a share of rows, from 0 to 1"
        return CheckFinding("error", CLAUSE, message, f"print the share in place of percent, or remove n_rows: {_SEE}")
    digit = _last_digit(metric)
    if digit * rows < _SEEN and abs(metric * rows - round(metric * rows)) > (digit + _ROUNDING * metric) * rows:
        message = f"{name} is {metric:.6g}, which is no share of {rows:,} rows"
        return CheckFinding("warning", CLAUSE, message, "correct n_rows")
    return CheckFinding("ok", CLAUSE, f"{name} is a share of {rows:,} rows; their error is taken to be independent")


def _exact(trainer: Trainer, first: Outcome) -> CheckFinding:
    """The metric repeats to the last digit, with another seed too."""
    other = trainer.run(Spec(trainer.task.baseline(), SEED + 1))
    if other.metric is None:
        return CheckFinding("error", CLAUSE, f"it fails with another seed: {other.status}: {other.reason}")
    if other.metric != first.metric:
        message = f"exact = true, but two seeds give {first.metric!r} and {other.metric!r}"
        return CheckFinding("error", CLAUSE, message, f"remove exact from [score]: {_SEE}")
    return CheckFinding("ok", CLAUSE, "exact: it repeats to the last digit")


def _agree(printed: float, mean: float) -> bool:
    """Whether a number is the other one, rounded as it was printed."""
    return abs(printed - mean) <= min(_last_digit(printed), _MOST_APART * abs(mean)) + _ROUNDING * abs(mean)


def _last_digit(value: float) -> float:
    """Half a unit in the last digit of a printed number."""
    exponent = Decimal(repr(value)).as_tuple().exponent
    return 0.5 * 10.0 ** int(exponent)

"""The train.py that the last search of a study (harvest) ended with, on each task, and what its measurement shows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.script_remarks import SEED_ALONE, script_remarks
from analysis.wording import clean, count, decimals, estimate, interval_decimals, many, number
from programs.common.templates import jinja_environment
from trainer.rows import COUNT, DRAWN, EXACT, ROWS, SEEDS, SPLIT, UNKNOWN, VALUES

if TYPE_CHECKING:
    from jinja2 import Template

    from analysis.ledger.events import HarvestEvent
    from trainer.task import Task

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class FoundScript:
    """A train.py and its gain over the untouched one, in ``unit``, from ``n`` trainings that chose nothing.

    ``low``, ``high``: the 95% interval; None where there is none, never two equal numbers. ``noise``: the words of
    `trainer.rows` for the noises that it contains; empty where no noise is known. ``start`` and ``end``: the mean
    ``metric`` of the untouched script and of this one. ``data``: `Task.data_noise`. ``timed``: the metric is a time,
    which has no data. ``seeded``: whether a training seed is given. ``rows``: the number of rows that it was measured
    on, where that is known. ``seconds``: the device time of the harvest, verification included. ``remarks``: see
    `script_remarks`.
    """

    task: str
    unit: str
    seconds: float
    experiments: int
    gain: float | None
    low: float | None
    high: float | None
    n: int
    trust: str | None
    drift: float | None = None  # see `HarvestEvent`
    noise: str = ""
    start: float | None = None
    end: float | None = None
    metric: str = ""
    data: str = UNKNOWN
    timed: bool = False
    seeded: bool = True
    rows: int | None = None
    remarks: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, task: Task, event: HarvestEvent) -> FoundScript:
        return cls(
            task=task.name, seconds=event.device_seconds_charged, experiments=event.experiments, trust=event.trust,
            drift=event.drift, start=event.start, end=event.end, remarks=tuple(script_remarks(task, event.files)),
            **measured(task, event.gain, event.low, event.high, event.n, event.noise, event.held_rows),
        )  # fmt: skip

    @property
    def new_seed(self) -> str:
        """The seed that is its only change; empty where it has others."""
        return dict(self.remarks).get(SEED_ALONE, "")

    @property
    def is_exact(self) -> bool:
        return EXACT in self.noise.split()

    @property
    def has_rows_noise(self) -> bool:
        return ROWS in self.noise.split()

    @property
    def on_new_rows(self) -> bool:
        """Whether the gain is of rows that chose nothing."""
        return self.data in (DRAWN, SPLIT) or (self.data == VALUES and self.has_rows_noise)

    @property
    def is_better(self) -> bool:
        """Whether it is shown to be better, at least on the same data: an exact metric by any gain, another one by an
        interval above 0 that contains the noise of the rows or, where that of a share's rows is unknown, of seeds.
        Another value of a seed is no better script."""
        if self.new_seed:
            return False
        if self.is_exact:
            return (self.gain or 0.0) > 0
        known = self.has_rows_noise or (SEEDS in self.noise.split() and self.data != COUNT)
        return known and self.low is not None and self.low > 0

    @property
    def on_same_data(self) -> bool:
        """Whether nothing is shown about other data."""
        return not (self.is_exact or self.timed or self.on_new_rows or self.has_rows_noise)

    @property
    def leaves_rows_out(self) -> bool:
        """Whether its interval leaves out the noise of rows that chose nothing."""
        return self.on_new_rows and self.low is not None and not self.has_rows_noise

    @property
    def has_unknown_noise(self) -> bool:
        return not self.noise

    @property
    def digits(self) -> int:
        """Decimal places of its gain and metrics."""
        if self.low is not None:
            return interval_decimals(self.low, self.high)
        if self.is_exact and all(float(value or 0.0).is_integer() for value in (self.gain, self.start, self.end)):
            return 0
        return decimals(abs(self.gain)) if self.gain else decimals(None)


def measured(
    task: Task,
    gain: float | None,
    low: float | None,
    high: float | None,
    n: int,
    noise: str | None,
    held_rows: int | None = None,
) -> dict[str, Any]:
    """The fields of a `FoundScript` that a task and a measurement of ``n`` trainings on it give; ``held_rows``: the
    number of held-back rows that it is on."""
    known = noise or ""
    bounds = (low, high) if low != high and EXACT not in known.split() else (None, None)
    return {
        "unit": task.unit, "gain": gain, "low": bounds[0], "high": bounds[1], "n": n, "noise": known,
        "metric": task.metric, "data": task.data_noise, "timed": task.timed, "seeded": task.takes_seed,
        "rows": task.scoring["n_rows"] if task.data_noise == COUNT else held_rows,
    }  # fmt: skip


def script_sentence(script: FoundScript, subject: str, reference: str) -> str:
    """What the measurement of ``subject`` shows against ``reference``, the untouched script, in one sentence."""
    text = _template().render(s=script, subject=subject, reference=reference)
    return str(clean(" ".join(text.split())))


@cache
def _template() -> Template:
    page = jinja_environment(TEMPLATES)
    page.filters |= {"number": number, "many": many, "estimate": estimate, "count": count}
    return page.get_template("found_script.j2")

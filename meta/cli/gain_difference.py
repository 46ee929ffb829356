"""The difference of a program's gains in two studies: what it is an average of, and when it can be computed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any, cast

from analysis.figures_text import with_interval
from analysis.statistics import Mean, interval, mean_interval, welch_difference
from analysis.wording import interval_decimals, plain_number, plain_span, plain_text, short

if TYPE_CHECKING:
    from meta.cli.board import MatchView, StudyView
    from meta.cli.output import Row

SAME_IN_BOTH = (  # what the gains depend on: key of a match's record, its words
    ("task_id", "the task"),
    ("run_budget", "the run budget"),
    ("unit", "the unit of the gain"),
    ("fixed_steps", "training by fixed steps"),
    ("hardware_class", "the hardware"),
    ("researcher", "the researcher"),
    ("models", "the models"),
)
SEARCH = "search"
RUNS_OF = {"confirmation": "of the confirmation", SEARCH: "of the search", "reserve": "on held-out tasks"}


@dataclass(frozen=True)
class ComparedStudy:
    name: str
    board: StudyView


@dataclass(frozen=True)
class GainDifference:
    """The mean verified gain of the second study's program minus that of the first study's, on one task; 95% interval
    by Welch, over the runs on ``stream``; of ``together`` programs, all intervals contain their difference in 95% of
    cases (Bonferroni). ``purpose``: of the matches, as `purpose_of`. ``first``, ``second``: program and study."""

    task: str
    unit: str
    first: str
    second: str
    difference: float
    low: float | None
    high: float | None
    runs: tuple[int, int]
    stream: str = ""  # that both are measured on; two with a slash between them where they differ
    below: str = "stock"
    gains: tuple[Mean, Mean] | None = None  # of a program that is the same in both
    compared: str = ""  # what is compared
    sides: tuple[str, str] = ("", "")  # the programs, without their studies
    values: tuple[float, float] = (0.0, 0.0)  # of which this is the difference
    is_stock: bool = False
    program_id: str = ""  # where it is the same in both
    purpose: str = ""  # two with a slash between them where they differ
    se: float | None = None
    df: float = 0.0
    together: int = 1

    @property
    def of_search(self) -> bool:
        """A race gives more runs to programs that did well: luck decides part of their means, and no test holds."""
        return SEARCH in self.purpose.split("/")

    @property
    def result(self) -> str:
        if self.of_search:
            return "no test"
        if self.low is None or self.high is None:
            return "too few runs for an interval"
        return "not distinguishable" if self.low <= 0 <= self.high else "significantly different"

    @property
    def size(self) -> str:
        """``+0.05 nats [-0.10 to 0.20]``; of the search without an interval."""
        known = (None, None) if self.of_search else (self.low, self.high)
        return plain_text(with_interval(self.difference, *known, self.unit, digits=self.digits))

    @property
    def digits(self) -> int:
        return interval_decimals(self.low, self.high)

    @property
    def row(self) -> Row:
        """For a table whose columns are the two studies."""
        sides = [
            f"{name} {plain_number(value, self.digits)}".strip()
            for name, value in zip(self.sides, self.values, strict=True)
        ]
        what = f"{self.compared}{' (search)' * self.of_search}"
        runs = "{} / {}".format(*self.runs)
        cells = {"first": sides[0], "second": sides[1], "difference": self.size, "runs": runs, "result": self.result}
        return {"task": self.task, "compared": what, **cells}


def bracket(mean: Mean, digits: int) -> str:
    return "" if mean.low is None else f" [{plain_span(mean.low, mean.high, digits)}]"


def conditions(board: StudyView, match: MatchView) -> dict[str, str]:
    config = cast("Mapping[str, Any]", board.config)
    event = cast("Mapping[str, Any]", match.event)
    known = {**config, **(event.get("config") or {}), **event}
    models = (config.get("staff") or {}).get("models") or ()
    known |= {"models": ", ".join(models), "run_budget": f"{event.get('run_budget') or 0:g}s"}
    return {key: str("" if known.get(key) is None else known[key]) for key, _ in SAME_IN_BOTH}


def purpose_of(match: MatchView) -> str:
    """``confirmation``, also of its second match; ``reserve``: on held-out tasks; else ``search``."""
    purpose = str(match.event.get("purpose") or "")
    return purpose if purpose in RUNS_OF else SEARCH


def joined(values: Iterable[str]) -> str:
    """``a``; ``a/b`` where the two studies differ."""
    return "/".join(dict.fromkeys(values))


def runs_of(purpose: str) -> str:
    """``of the search``; ``of the search and of the confirmation`` for two purposes."""
    return " and ".join(RUNS_OF[one] for one in purpose.split("/") if one)


def together(rows: Sequence[GainDifference]) -> tuple[GainDifference, ...]:
    """The rows with intervals for as many differences as are tested among them."""
    tested = sum(not row.of_search for row in rows)
    wider = (interval(row.difference, row.se, row.df, 0.025 / max(1, tested)) for row in rows)
    return tuple(
        row if row.of_search else replace(row, low=low, high=high, together=tested)
        for row, (low, high) in zip(rows, wider, strict=True)
    )


def gain_differences(
    studies: Sequence[ComparedStudy],
    programs: tuple[str, str],
    gains: Sequence[Sequence[float]],
    task: str,
    unit: str,
    stream: str,
    purpose: str,
    is_stock: bool = False,
) -> list[GainDifference]:
    """Of the gains of one program in each study; none without runs."""
    same, called = (
        programs[0] == programs[1],
        [study.board.name(one) for study, one in zip(studies, programs, strict=True)],
    )
    alike = not same and called[0] == called[1]  # one name, two texts
    names = [
        f"{name}{f' ({short(identity)})' * alike} of {study.name}"
        for study, identity, name in zip(studies, programs, called, strict=True)
    ]
    difference, se, df = welch_difference(gains[1], gains[0])
    if difference is None:
        return []
    low, high = interval(difference, se, df)
    means = (mean_interval(gains[0]), mean_interval(gains[1])) if same else None
    runs = len(gains[0]), len(gains[1])
    one = GainDifference(
        task,
        unit,
        names[0],
        names[1],
        difference,
        low,
        high,
        runs,
        stream,
        gains=means,
        purpose=purpose,
        se=se,
        df=df,
        compared="same program" if same else "champions",
        sides=(called[0], called[1]),
        values=(fmean(gains[0]), fmean(gains[1])),
    )
    return [replace(one, is_stock=is_stock, program_id=programs[0])] if same else [one]

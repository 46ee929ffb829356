"""The parts of a report: sections of figures, each figure with its data, its table and its SQL queries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from analysis.report import rows
from analysis.report.source import QueryResult, ReportSource
from analysis.scales import UNIT, TaskScale
from analysis.study_settings import StudySettings, TaskSettings
from analysis.trust import shared_gain_name
from analysis.verdict.verdict import Verdict
from analysis.wording import listed

Row = TypeVar("Row")
Point = dict[str, str | float | None]  # the data of one row in a chart


@dataclass(frozen=True)
class ReportTable:
    """A table of formatted text. ``titles`` that start with ``>`` are columns of numbers, aligned right."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, rows: Sequence[Row], columns: Mapping[str, Callable[[Row], str]]) -> ReportTable:
        """``columns``: title → function that formats the cell of a row."""
        return cls(tuple(columns), tuple(tuple(cell(row) for cell in columns.values()) for row in rows))


@dataclass(frozen=True)
class ReportFigure:
    """A chart that page.js draws from ``data``; caption, table and queries need no JavaScript.

    ``legend`` pairs the name of a mark (a symbol in marks.html.j2) with its meaning.
    """

    name: str  # id on the page
    kind: str  # the function of charts.js that draws it
    title: str
    caption: str
    data: Any
    table: ReportTable
    answers: tuple[QueryResult[object], ...]
    legend: tuple[tuple[str, str], ...] = ()
    open: bool = False  # whether the table is open at first


@dataclass(frozen=True)
class ReportSection:
    """One part of the page. ``lead`` explains what it shows, or why it is empty."""

    name: str
    title: str
    lead: str = ""
    figures: tuple[ReportFigure, ...] = ()
    template: str = "figures.html.j2"
    more: Mapping[str, Any] = field(default_factory=dict)
    answers: tuple[QueryResult[object], ...] = ()


@dataclass(frozen=True)
class Again:
    """The command line that creates the same study again, the commands to run before it, and a remark."""

    command: str
    before: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class ReportFacts:
    """Query results that several parts use."""

    source: ReportSource
    study: QueryResult[rows.StudyRow]
    overview: QueryResult[rows.OverviewRow]
    matches: QueryResult[rows.MatchRow]
    standings: QueryResult[rows.StandingRow]
    champion: QueryResult[rows.ChampionRow]
    runs: QueryResult[rows.RunRow]
    noise: QueryResult[rows.NoiseRow]
    logs: QueryResult[rows.LogRow]  # the logs of an import; else without rows
    scales: QueryResult[TaskScale]  # of the training tasks
    deciding: rows.MatchRow  # the match that the verdict uses; without values if there is no match
    verdict: Verdict
    again: Again | None = None  # from the caller: only the command line knows its flags

    @property
    def unit(self) -> str:
        return self.deciding.unit or self.deciding.metric or "metric units"

    @property
    def training_tasks(self) -> list[str]:
        """The training tasks, if programs are scored over several."""
        return [row.task for row in self.scales.rows] if len(self.scales.rows) > 1 else []

    @property
    def on(self) -> str:
        """The task, or a list of all training tasks."""
        return listed(self.training_tasks) or self.task

    @property
    def score_unit(self) -> str:
        """The unit of scores over all training tasks."""
        return UNIT if self.training_tasks else self.unit

    @property
    def metric(self) -> str:
        return self.deciding.metric or "metric"

    @property
    def measure(self) -> str:
        """The metric with its unit; only once if both are the same text."""
        return self.metric if self.unit == self.metric else f"{self.metric}, {self.unit}"

    @property
    def config(self) -> StudySettings:
        return next((row.config for row in self.study.rows), None) or {}

    @property
    def has_search(self) -> bool:
        """Whether the study evolved programs."""
        return self.config.get("command") in ("evolve", "improve")

    @property
    def gain_name(self) -> str:
        """What the gains of the standings are called."""
        return shared_gain_name(row.trust for row in self.standings.rows)

    @property
    def further(self) -> Sequence[TaskSettings]:
        """The training tasks after the first, as in the config."""
        return self.config.get("further") or ()

    @property
    def totals(self) -> rows.OverviewRow:
        return self.overview.rows[0]

    @property
    def champion_id(self) -> str | None:
        return next((row.program_id for row in self.champion.rows), None)

    @property
    def task(self) -> str:
        if self.logs.rows:
            return "imported logs"
        return str(self.deciding.task or self.config.get("task") or "its task")

    def of_match(self, match_id: str | None) -> list[rows.StandingRow]:
        """The standings of one match, best first."""
        return [row for row in self.standings.rows if row.match_id == match_id]

    @property
    def board(self) -> list[rows.StandingRow]:
        """The standings of the deciding match: the arms with a verified gain, best first."""
        return [row for row in self.of_match(self.deciding.match_id) if row.gain is not None]

"""What a report is made of: sections of figures, each figure with its rows, its table and the queries behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from analysis.home_scales import TaskScale
from analysis.report import rows
from analysis.report.source import Answer, Source
from analysis.scales import UNIT
from analysis.wording import listed

Row = TypeVar("Row")
Point = dict[str, str | float | None]  # what a picture is told of one row


@dataclass(frozen=True)
class Table:
    """A table of finished text. ``titles`` that start with ``>`` are of columns of numbers, set to the right."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, rows: Sequence[Row], columns: Mapping[str, Callable[[Row], str]]) -> Table:
        """``columns``: the text of each column's cells by its title."""
        return cls(tuple(columns), tuple(tuple(cell(row) for cell in columns.values()) for row in rows))


@dataclass(frozen=True)
class Figure:
    """A picture that page.js draws from ``data``, and the same without JavaScript: caption, table, queries.

    ``legend`` pairs the name of a mark (a symbol in marks.html.j2) with its meaning.
    """

    name: str  # id on the page
    kind: str  # which drawing of charts.js
    title: str
    caption: str
    data: Any
    table: Table
    answers: tuple[Answer[object], ...]
    legend: tuple[tuple[str, str], ...] = ()
    open: bool = False  # whether the table is shown unasked


@dataclass(frozen=True)
class Section:
    """One part of the page. ``lead`` is a sentence that says what is to be seen; empty parts say why they are."""

    name: str
    title: str
    lead: str = ""
    figures: tuple[Figure, ...] = ()
    template: str = "figures.html.j2"
    more: Mapping[str, Any] = field(default_factory=dict)
    answers: tuple[Answer[object], ...] = ()


@dataclass(frozen=True)
class Again:
    """The command line that founds such a study again, what must be done before it, and what is to be said of it."""

    command: str
    before: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Facts:
    """What several parts need to know: asked once."""

    source: Source
    study: Answer[rows.StudyRow]
    overview: Answer[rows.OverviewRow]
    matches: Answer[rows.MatchRow]
    standings: Answer[rows.StandingRow]
    champion: Answer[rows.ChampionRow]
    runs: Answer[rows.RunRow]
    noise: Answer[rows.NoiseRow]
    logs: Answer[rows.LogRow]  # of an import: its logs; else without rows
    scales: Answer[TaskScale]  # of the tasks on which programs were chosen
    deciding: rows.MatchRow  # the match that the verdict rests on; without values where there is no match
    again: Again | None = None  # of whoever asks for the report, for only the command line knows its own flags

    @property
    def unit(self) -> str:
        return self.deciding.unit or self.deciding.metric or "metric units"

    @property
    def homes(self) -> list[str]:
        """The tasks that programs are scored over, where these are several."""
        return [row.task for row in self.scales.rows] if len(self.scales.rows) > 1 else []

    @property
    def on(self) -> str:
        """The task, or all home tasks in a row."""
        return listed(self.homes) or self.task

    @property
    def score_unit(self) -> str:
        """Of scores over all home tasks."""
        return UNIT if self.homes else self.unit

    @property
    def metric(self) -> str:
        return self.deciding.metric or "metric"

    @property
    def measure(self) -> str:
        """The metric with its unit, said once where both are the same words."""
        return self.metric if self.unit == self.metric else f"{self.metric}, {self.unit}"

    @property
    def config(self) -> Mapping[str, Any]:
        return next((row.config for row in self.study.rows), None) or {}

    @property
    def has_search(self) -> bool:
        """Whether the study bred programs."""
        return self.config.get("command") in ("evolve", "improve")

    @property
    def further(self) -> Sequence[Mapping[str, Any]]:
        """The tasks beside the first on which programs are chosen, as the config has them."""
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
        """The standings that the verdict rests on: the arms with a verified gain, best first."""
        return [row for row in self.of_match(self.deciding.match_id) if row.gain is not None]

"""What a report is made of: sections of figures, each figure with its rows, its table and the queries behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from analysis.report.source import Answer, Source
from analysis.report.words import listed
from analysis.scales import UNIT


@dataclass(frozen=True)
class Table:
    """A table of finished text. ``titles`` that start with ``>`` are of columns of numbers, set to the right."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
        return cls(tuple(titles), tuple(tuple(row) for row in rows))


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
    answers: tuple[Answer, ...]
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
    answers: tuple[Answer, ...] = ()


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
    study: Answer
    overview: Answer
    matches: Answer
    standings: Answer
    champion: Answer
    runs: Answer
    noise: Answer
    logs: Answer  # of an import: its logs; else without rows
    scales: Answer  # of the tasks on which programs were chosen
    deciding: Mapping[str, Any]  # the match that the verdict rests on; empty where there is no match
    again: Again | None = None  # of whoever asks for the report, for only the command line knows its own flags

    @property
    def unit(self) -> str:
        match = self.deciding or self.matches.last
        return str(match.get("unit") or match.get("metric") or "metric units")

    @property
    def homes(self) -> list[str]:
        """The tasks that programs are scored over, where these are several."""
        return [row["task"] for row in self.scales.rows] if len(self.scales.rows) > 1 else []

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
        return str((self.deciding or self.matches.last).get("metric") or "metric")

    @property
    def measure(self) -> str:
        """The metric with its unit, said once where both are the same words."""
        return self.metric if self.unit == self.metric else f"{self.metric}, {self.unit}"

    @property
    def config(self) -> Mapping[str, Any]:
        return self.study.first.get("config") or {}

    @property
    def task(self) -> str:
        if self.logs.rows:
            return "imported logs"
        named = self.deciding or self.matches.last
        return str(named.get("task") or self.config.get("task") or "its task")

    def of_match(self, match_id: str | None) -> list[dict[str, Any]]:
        """The standings of one match, best first."""
        return [row for row in self.standings.rows if row["match_id"] == match_id]

    @property
    def board(self) -> list[dict[str, Any]]:
        """The standings that the verdict rests on: the arms with a verified gain, best first."""
        return [row for row in self.of_match(self.deciding.get("match_id")) if row["gain"] is not None]

"""The facts that several parts of a report share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from analysis.home_scales import TaskScale
from analysis.report.model import Again, Facts
from analysis.report.rows import ChampionRow, LogRow, MatchRow, NoiseRow, OverviewRow, RunRow, StandingRow, StudyRow
from analysis.report.source import Source
from programs.errors import MetaloopError

if TYPE_CHECKING:
    from trainer.task import Task

MATCHES = 8  # drawn on the page, the latest; the others are a query away
RUNS = 48  # whose course is drawn
LOGS = 40  # listed of an import
POINTS = 12_000  # experiments of those runs together


def gather(source: Source, again: Again | None = None) -> Facts:
    matches = source.ask("matches", MatchRow)
    champion = source.ask("champion", ChampionRow)
    deciding = deciding_match(matches.rows, bool(champion.rows))
    shown = [row.match_id for row in matches.rows if row.ended][-MATCHES:]
    wanted = list(dict.fromkeys([*shown, *([deciding.match_id] if deciding.match_id else [])]))
    return Facts(
        source=source,
        study=source.ask("study", StudyRow),
        overview=source.ask("overview", OverviewRow),
        matches=matches,
        standings=source.ask("standings", StandingRow, matches=wanted),
        champion=champion,
        runs=source.ask("runs", RunRow, match=deciding.match_id, points=POINTS, most=RUNS),
        noise=source.ask("noise", NoiseRow),
        logs=source.ask("logs", LogRow, metric=deciding.metric, most=LOGS),
        scales=source.ask("scales", TaskScale),
        deciding=deciding,
        again=again,
    )


def known_task(name: str) -> Task | None:
    """The task of that name or folder; None where it is not on this machine."""
    from trainer.task import Task

    try:
        return Task.load(name) if name else None
    except (MetaloopError, OSError):
        return None


def deciding_match(matches: Sequence[MatchRow], crowned: bool) -> MatchRow:
    """The confirmation of a crowned champion, else the latest match with a result, else the one with most runs.

    An ablation decides only where there is nothing else.
    """
    ended = [row for row in matches if row.ended]
    ended = [row for row in ended if row.purpose != "ablation"] or ended
    confirmed = [row for row in ended if row.purpose == "confirmation"] if crowned else []
    return (confirmed or ended or sorted(matches, key=lambda row: row.runs) or [MatchRow()])[-1]

"""The facts that several parts of a report share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from analysis.report.model import Again, ReportFacts
from analysis.report.rows import ChampionRow, LogRow, MatchRow, NoiseRow, OverviewRow, RunRow, StandingRow, StudyRow
from analysis.report.source import ReportSource
from analysis.scales import TaskScale
from analysis.trust import weakest
from analysis.verdict.verdict import verdict_of
from programs.errors import MetaloopError
from trainer.cards import freshness

if TYPE_CHECKING:
    from trainer.task import Task

MATCHES = 8  # the latest, drawn on the page
MANY_TASKS = 3  # a stage with more has one table instead of a chart per task
RUNS = 48  # drawn on the page
LOGS = 40  # listed for an import
POINTS = 12_000  # experiments of those runs together


def gather(source: ReportSource, again: Again | None = None) -> ReportFacts:
    matches = source.ask("matches", MatchRow)
    champion = source.ask("champion", ChampionRow)
    deciding = deciding_match(matches.rows, bool(champion.rows))
    shown = stages([row for row in matches.rows if row.ended])[-MATCHES:]
    ids = [match_id for stage in shown for match_id in stage]
    match_ids = list(dict.fromkeys([*ids, *([deciding.match_id] if deciding.match_id else [])]))
    return ReportFacts(
        source=source,
        study=source.ask("study", StudyRow),
        overview=source.ask("overview", OverviewRow),
        matches=matches,
        standings=source.ask("standings", StandingRow, matches=match_ids),
        champion=champion,
        runs=source.ask("runs", RunRow, match=deciding.match_id, points=POINTS, most=RUNS),
        noise=source.ask("noise", NoiseRow),
        logs=source.ask("logs", LogRow, metric=deciding.metric, most=LOGS),
        scales=source.ask("scales", TaskScale),
        deciding=deciding,
        verdict=verdict_of(source.con),
        again=again,
    )


def stages(matches: Sequence[MatchRow] | Sequence[StandingRow]) -> list[list[str]]:
    """Match ids: each match alone, or together with its whole stage if that was run on many tasks."""
    tasks: dict[object, set[str | None]] = {}
    for row in matches:
        tasks.setdefault((row.purpose, row.generation), set()).add(row.task)
    out: dict[object, dict[str, None]] = {}
    for row in matches:
        stage = (row.purpose, row.generation)
        key = stage if len(tasks[stage]) > MANY_TASKS else row.match_id
        out.setdefault(key, {})[row.match_id or ""] = None
    return [list(ids) for ids in out.values()]


def known_task(name: str) -> Task | None:
    """The task of that name or folder; None if it is not on this machine."""
    from trainer.task import Task

    try:
        return Task.load(name) if name else None
    except (MetaloopError, OSError):
        return None


def fresh_of(facts: ReportFacts) -> str:
    """Which randomness is fresh when a final script is trained again, on the task with the least (`freshness`): as the
    decision has it, since a task's folder may have moved or changed."""
    if facts.verdict.decision and facts.verdict.decision.fresh:
        return facts.verdict.decision.fresh
    tasks = [known_task(str(on["task"])) for on in (facts.config, *facts.further) if on.get("task")]
    if tasks and all(tasks):
        return freshness.least([task for task in tasks if task is not None])
    return freshness.of_record("", weakest(row.trust for row in facts.board))


def deciding_match(matches: Sequence[MatchRow], has_champion: bool) -> MatchRow:
    """The confirmation of the champion, else the latest match with a result, else the one with most runs.

    An ablation decides only if there is no other match.
    """
    ended = [row for row in matches if row.ended]
    ended = [row for row in ended if row.purpose != "ablation"] or ended
    confirmed = [row for row in ended if row.purpose == "confirmation"] if has_champion else []
    return (confirmed or ended or sorted(matches, key=lambda row: row.runs) or [MatchRow()])[-1]

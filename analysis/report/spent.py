"""Part 7: the use of device time and money, and the idle share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from analysis.report.model import ReportFacts, ReportFigure, ReportSection, ReportTable
from analysis.report.rows import OverviewRow
from analysis.wording import count, duration, many, money, percent

NAMES = {
    "baseline": "untouched script, once per run",
    "keep": "experiments that were kept",
    "discard": "experiments that were discarded",
    "failed": "experiments that failed",
    "screen": "screens (shortened trainings)",
    "replicate": "repeats with other seeds",
    "confirm": "re-measurements inside runs",
    "forfeited": "unused rest of the budget",
    "sandbox": "agents' own processes",
    "verification": "verification of the final scripts",
    "shared baselines": "shared baselines",
    "audits": "audits (metaloop verify)",
    "replays": "kept commits, trained again",
}


@dataclass(frozen=True)
class SpentRow:
    what: str
    n: int
    charged: float | None
    spent: float
    payer: str

    @property
    def name(self) -> str:
        return NAMES.get(self.what, self.what)


@dataclass(frozen=True)
class BusyRow:
    run_wall: float | None
    experiment_wall: float | None
    cached_seconds: float | None
    wall: float | None


COLUMNS: Mapping[str, Callable[[SpentRow], str]] = {
    "what": lambda row: row.name,
    "paid by": lambda row: row.payer,
    ">times": lambda row: count(row.n),
    ">charged": lambda row: duration(row.charged),
    ">spent": lambda row: duration(row.spent),
}


def section(facts: ReportFacts) -> ReportSection:
    spent, (idle, busy) = facts.source.ask("spent", SpentRow), facts.source.ask_one("idle", BusyRow)
    rows = sorted((row for row in spent.rows if row.n), key=lambda row: -(row.charged or row.spent))
    if not any(row.spent or row.charged for row in rows):
        return ReportSection("spent", "Where the time went", "The ledger has no device time.")
    figure = ReportFigure(
        name="time",
        kind="spent",
        title="Device time by use",
        caption="Hollow bar: device time charged to the runs, which includes cached results in full. Filled bar: "
        "device time spent on this machine. Verification is counted for the study, not charged to its runs.",
        data={"rows": [{key: getattr(row, key) for key in ("name", "n", "charged", "spent", "payer")} for row in rows]},
        table=ReportTable.of(rows, COLUMNS),
        answers=(spent, idle),
        legend=(("bar-run", "spent by runs"), ("bar-arena", "spent by the study itself"), ("bar-charged", "charged")),
    )
    return ReportSection(
        "spent", "Where the time went", " ".join([*wall_time(facts, busy), dollars(facts.totals)]), (figure,)
    )


def wall_time(facts: ReportFacts, row: BusyRow) -> list[str]:
    """The wall time, and the share of it in which runs were idle."""
    if not row.run_wall:
        return []
    idle = 1.0 - row.experiment_wall / row.run_wall if row.experiment_wall is not None else None
    workers = facts.config.get("workers")
    by = f" with {many(workers, 'worker')}" if workers else ""
    out = [f"The study took {duration(row.wall)} of wall time{by}."] if row.wall else []
    if idle is not None:
        out.append(
            f"Within the runs, {percent(max(idle, 0.0), 1)} of the wall time was spent outside experiments "
            "(bookkeeping, waiting, decisions)."
        )
    if row.cached_seconds:
        out.append(
            f"{duration(row.cached_seconds)} of device time were charged but not spent: these results were cached."
        )
    return out


def dollars(row: OverviewRow) -> str:
    if not row.model_tokens:
        return "No language model was used."
    return f"Language models: {count(row.model_tokens)} tokens, {money(row.model_usd)}."

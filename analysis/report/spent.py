"""Part 7: where device time and money went, and how much of it was idle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from analysis.report.model import Facts, Figure, Section, Table
from analysis.report.rows import OverviewRow
from analysis.wording import count, duration, many, money, percent

NAMES = {
    "baseline": "untouched script, once a run",
    "keep": "experiments that were kept",
    "discard": "experiments that were discarded",
    "failed": "experiments that failed",
    "screen": "short looks",
    "replicate": "repeats under other seeds",
    "confirm": "re-measurements inside runs",
    "forfeited": "budget left over, too little for a try",
    "sandbox": "what agents ran beside experiments",
    "verification": "verifying the final scripts",
    "shared baselines": "baselines that all arms share",
    "audits": "audits (metaloop verify)",
    "best of n": "best-of-N, trained again",
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


def section(facts: Facts) -> Section:
    spent, (idle, busy) = facts.source.ask("spent", SpentRow), facts.source.ask_one("idle", BusyRow)
    rows = sorted((row for row in spent.rows if row.n), key=lambda row: -(row.charged or row.spent))
    if not any(row.spent or row.charged for row in rows):
        return Section("spent", "Where the time went", "No device time is on record.")
    figure = Figure(
        name="time", kind="spent", title="Device time by what it went to",
        caption="Runs are charged in full for outcomes that came out of the cache; the hollow bar is what they were "
        "charged, the full bar what this machine really spent. The arena pays for verification.",
        data={"rows": [{key: getattr(row, key) for key in ("name", "n", "charged", "spent", "payer")} for row in rows]},
        table=Table.of(rows, COLUMNS), answers=(spent, idle),
        legend=(("bar-run", "spent by runs"), ("bar-arena", "spent by the arena"), ("bar-charged", "charged")),
    )  # fmt: skip
    return Section(
        "spent", "Where the time went", " ".join([*wall_time(facts, busy), dollars(facts.totals)]), (figure,)
    )


def wall_time(facts: Facts, row: BusyRow) -> list[str]:
    """How much of the workers' time went into experiments."""
    if not row.run_wall:
        return []
    idle = 1.0 - row.experiment_wall / row.run_wall if row.experiment_wall is not None else None
    workers = facts.config.get("workers")
    by = f" with {many(workers, 'worker')}" if workers else ""
    out = [f"It took {duration(row.wall)} by the clock{by}."] if row.wall else []
    if idle is not None:
        out.append(f"Inside runs {percent(max(idle, 0.0), 1)} of the time was idle: bookkeeping, waiting, deciding.")
    if row.cached_seconds:
        out.append(f"{duration(row.cached_seconds)} were charged and not spent, because the outcome was in the cache.")
    return out


def dollars(row: OverviewRow) -> str:
    if not row.model_tokens:
        return "No money went to language models."
    return f"Language models: {count(row.model_tokens)} tokens, {money(row.model_usd)}."

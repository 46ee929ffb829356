"""Part 7: where device time and money went, and how much of it was idle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from analysis.report.model import Facts, Figure, Section, Table
from analysis.report.words import count, duration, many, money, percent

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


def section(facts: Facts) -> Section:
    spent, idle = facts.source.ask("spent"), facts.source.ask("idle")
    rows = [dict(row) | {"name": NAMES.get(row["what"], row["what"])} for row in spent.rows if row["n"]]
    if not any(row["spent"] or row["charged"] for row in rows):
        return Section("spent", "Where the time went", "No device time is on record.")
    rows.sort(key=lambda row: -(row["charged"] or row["spent"]))
    figure = Figure(
        name="time", kind="spent", title="Device time by what it went to",
        caption="Runs are charged in full for outcomes that came out of the cache; the hollow bar is what they were "
        "charged, the full bar what this machine really spent. The arena pays for verification.",
        data={"rows": [{key: row[key] for key in ("name", "n", "charged", "spent", "payer")} for row in rows]},
        table=table(rows), answers=(spent, idle),
        legend=(("bar-run", "spent by runs"), ("bar-arena", "spent by the arena"), ("bar-charged", "charged")),
    )  # fmt: skip
    return Section("spent", "Where the time went", " ".join([*busy(facts, idle.first), dollars(facts)]), (figure,))


def busy(facts: Facts, row: dict[str, Any]) -> list[str]:
    """How much of the workers' time went into experiments."""
    if not row.get("run_wall"):
        return []
    idle = 1.0 - row["experiment_wall"] / row["run_wall"] if row["experiment_wall"] is not None else None
    workers = facts.config.get("workers")
    by = f" with {many(workers, 'worker')}" if workers else ""
    out = [f"It took {duration(row['wall'])} by the clock{by}."] if row["wall"] else []
    if idle is not None:
        out.append(f"Inside runs {percent(max(idle, 0.0), 1)} of the time was idle: bookkeeping, waiting, deciding.")
    if row["cached_seconds"]:
        out.append(
            f"{duration(row['cached_seconds'])} were charged and not spent, because the outcome was in the cache."
        )
    return out


def dollars(facts: Facts) -> str:
    row = facts.overview.first
    tokens = (row["tokens"] or 0) + (row["mutation_tokens"] or 0)
    if not tokens:
        return "No money went to language models."
    usd = [row["usd"], row["mutation_usd"]]
    paid = None if any(value is None for value in usd) else sum(usd)
    return f"Language models: {count(tokens)} tokens, {money(paid)}."


def table(rows: Sequence[dict[str, Any]]) -> Table:
    titles = ("what", "paid by", ">times", ">charged", ">spent")
    return Table.of(titles, [
        (row["name"], row["payer"], count(row["n"]), duration(row["charged"]), duration(row["spent"])) for row in rows
    ])  # fmt: skip

"""Part 10: how to reproduce: the commands, the hashes that pin what was run, and the versions it ran with."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from analysis.report.model import Facts, Section, Table
from analysis.wording import count, duration

# What the numbers of a plan are called where their names do not say it.
PLAN = {
    "aa_runs": "runs of stock's A/A twin", "stock_breeds": "", "control_runs": "runs of the other controls",
    "ablation_runs": "runs of the champion without its ideas", "best_of_seeds": "seeds of best-of-N",
    "seeds": "runs of each program", "batch": "a race; runs at a time", "roles": "", "run_budget": "", "origin": "",
}  # fmt: skip


@dataclass(frozen=True)
class SegmentRow:
    segment: str
    records: int
    head: str | None


def section(facts: Facts) -> Section:
    heads = facts.source.ask("heads", SegmentRow)
    segments = Table.of(
        heads.rows,
        {
            "segment": lambda row: row.segment,
            ">records": lambda row: count(row.records),
            "hash of its last record": lambda row: row.head or "",
        },
    )
    more = {"commands": commands(facts), "again": facts.again, "pins": pins(facts), "versions": versions(facts),
            "segments": segments}  # fmt: skip
    lead = "The ledger is the only truth; everything on this page is a query over it."
    answers = (facts.study, facts.matches, heads)
    return Section("reproduce", "How to reproduce", lead, template="reproduce.html.j2", more=more, answers=answers)


def commands(facts: Facts) -> list[tuple[str, str]]:
    """(command, what it does) for whoever has the study's folder."""
    place = shlex.quote(facts.source.place)
    if facts.logs.rows:
        found = [
            (f"metaloop log {place}", "every row of the logs"),
            (f'metaloop sql {place} "FROM imports"', "one row a log: what it claims, and what noise alone would give"),
            (f'metaloop sql {place} "FROM quarantine"', "the lines that could not be read, each with its reason"),
        ]
    else:
        found = [(f"metaloop standings {place} --all", "every match, with intervals and ties")]
        if facts.champion.rows:
            found.append((f"metaloop verify {place}", "the lead again, on fresh seeds and fresh hidden data"))
        found += [(f"metaloop credit {place} --all", "every row of credit")]
        if (run := facts.runs.first) is not None:
            shown = f"metaloop show {run.run_id} -s {place}"
            found.append((shown, "one run; any id of this page will do, or the first letters of one"))
    return [
        *found,
        (f'metaloop sql {place} "FROM standings"', "any question at all; docs/views.md lists the columns"),
        (f"metaloop report {place}", "this page again"),
    ]


def pins(facts: Facts) -> list[tuple[str, str]]:
    """(name, hash or figure) of what the figures hold for."""
    row, match = facts.study.first, facts.deciding
    found = [
        ("study", row and row.study_id),
        ("founded", moment(row.started_at if row else None)),
        ("last record", moment(row.last_record_at if row else None)),
        ("task", f"{match.task} ({match.task_id})" if match.task else None),
        ("hardware class", match.hardware_class),
        ("budget of a run", f"{duration(match.run_budget)} of device time" if match.run_budget else None),
        ("champion", facts.champion_id),
        ("matches", None if facts.logs.rows else count(len(facts.matches.rows))),
        ("workers", facts.config.get("workers")),
        ("plan", plan(facts.config.get("plan") or {})),
    ]
    return [(name, str(value)) for name, value in found if value]


def moment(at: str | None) -> str | None:
    """``2026-11-20 14:05:10 UTC`` of ``2026-11-20T14:05:10.123Z``."""
    return f"{at[:19].replace('T', ' ')} UTC" if at else None


def plan(numbers: Mapping[str, Any]) -> str:
    """The sizes of a study: ``starters 6, opening runs 4, …``."""
    named = {PLAN.get(key, key.replace("_", " ")): value for key, value in numbers.items()}
    return ", ".join(f"{name} {value}" for name, value in named.items() if name and value not in (None, [], 0))


def versions(facts: Facts) -> list[tuple[str, str]]:
    """What the study ran with, as it was recorded then."""
    known = facts.config.get("versions") or {"metaloop": facts.study.first and facts.study.first.version}
    return [(name, str(version)) for name, version in known.items() if version]

"""Part 10: how to reproduce the study: commands, hashes and versions."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from analysis.report.facts import fresh_of
from analysis.report.model import ReportFacts, ReportSection, ReportTable
from analysis.study_settings import PlanSettings
from analysis.wording import count, duration
from trainer.cards import freshness

# Labels of the numbers of a plan whose names are unclear; "" hides a number.
PLAN = {
    "aa_runs": "runs of stock's A/A twin",
    "control_runs": "runs of the other controls",
    "ablation_runs": "runs of the champion without its ideas",
    "start_runs": "runs of the program that the champion started from",
    "turns": "",
    "harvest_percent": "harvest, in percent of the device time of the runs",
    "seeds": "runs of each program",
    "batch": "a race; runs at a time",
    "roles": "",
    "run_budget": "",
    "origin": "",
}


@dataclass(frozen=True)
class SegmentRow:
    segment: str
    records: int
    head: str | None


def section(facts: ReportFacts) -> ReportSection:
    heads = facts.source.ask("heads", SegmentRow)
    segments = ReportTable.of(
        heads.rows,
        {
            "segment": lambda row: row.segment,
            ">records": lambda row: count(row.records),
            "hash of its last record": lambda row: row.head or "",
        },
    )
    more = {
        "commands": commands(facts),
        "again": facts.again,
        "pins": pins(facts),
        "versions": versions(facts),
        "segments": segments,
    }
    lead = "Every number on this page comes from a query on the study's records (the ledger)."
    answers = (facts.study, facts.matches, heads)
    return ReportSection(
        "reproduce", "How to reproduce", lead, template="reproduce.html.j2", more=more, answers=answers
    )


def commands(facts: ReportFacts) -> list[tuple[str, str]]:
    """(command, what it shows), given the study's folder."""
    study = shlex.quote(facts.source.study)
    if facts.logs.rows:
        listed = [
            (f"metaloop log {study}", "every row of the logs"),
            (
                f'metaloop sql {study} "FROM imports"',
                "one row per log: its claim, and the gain expected from noise alone",
            ),
            (f'metaloop sql {study} "FROM quarantine"', "the lines that could not be read, with reasons"),
        ]
    else:
        listed = [(f"metaloop standings {study} --all", "every match, with intervals and ties")]
        if facts.champion.rows and facts.deciding.purpose != "night":
            listed.append(
                (f"metaloop verify {study}", f"measures the lead again, on {freshness.SHORT[fresh_of(facts)]}")
            )
        listed += [(f"metaloop credit {study} --all", "every credit row")]
        if (run := facts.runs.first) is not None:
            shown = f"metaloop show {run.run_id} -s {study}"
            listed.append((shown, "one run; accepts any id on this page, or a prefix"))
    return [
        *listed,
        (f'metaloop sql {study} "FROM standings"', "any SQL query; docs/views.md lists the columns"),
        (f"metaloop report {study}", "this page again"),
    ]


def pins(facts: ReportFacts) -> list[tuple[str, str]]:
    """(name, hash or figure): what identifies the study, its task and its settings."""
    row, match = facts.study.first, facts.deciding
    rows = [
        ("study", row and row.study_id),
        ("created", moment(row.started_at if row else None)),
        ("last record", moment(row.last_record_at if row else None)),
        ("task", f"{match.task} ({match.task_id})" if match.task else None),
        ("hardware class", match.hardware_class),
        ("budget of a run", f"{duration(match.run_budget)} of device time" if match.run_budget else None),
        ("champion", facts.champion_id),
        ("matches", None if facts.logs.rows else count(len(facts.matches.rows))),
        ("workers", facts.config.get("workers")),
        ("plan", plan(facts.config.get("plan") or {})),
    ]
    return [(name, str(value)) for name, value in rows if value]


def moment(at: str | None) -> str | None:
    """``2026-11-20 14:05:10 UTC`` of ``2026-11-20T14:05:10.123Z``."""
    return f"{at[:19].replace('T', ' ')} UTC" if at else None


def plan(numbers: PlanSettings) -> str:
    """The sizes of a study: ``starters 6, opening runs 4, …``."""
    named = {PLAN.get(key, key.replace("_", " ")): value for key, value in numbers.items()}
    return ", ".join(f"{name} {value}" for name, value in named.items() if name and value not in (None, [], 0))


def versions(facts: ReportFacts) -> list[tuple[str, str]]:
    """The software versions of the study, as recorded."""
    row = facts.study.first
    known = facts.config.get("versions") or {"metaloop": row.version if row else None}
    return [(name, str(version)) for name, version in known.items() if version]

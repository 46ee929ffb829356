"""Part 10: how to reproduce: the commands, the hashes that pin what was run, and the versions it ran with."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from analysis.report.model import Facts, Section, Table
from analysis.report.words import count, duration, many

# The flag of each setting of a study that a command takes.
FLAGS = (("task", "--task"), ("run_budget", "--run-budget"), ("researcher", "--researcher"), ("seed", "--seed"))
DEFAULTS = {"researcher": "scripted"}


def section(facts: Facts) -> Section:
    heads = facts.source.ask("heads")
    segments = Table.of(("segment", ">records", "hash of its last record"), [
        (row["segment"], count(row["records"]), row["head"] or "") for row in heads.rows
    ])  # fmt: skip
    more = {"commands": commands(facts), "again": again(facts), "pins": pins(facts), "versions": versions(facts),
            "segments": segments}  # fmt: skip
    lead = "The ledger is the only truth; everything on this page is a query over it."
    answers = (facts.study, facts.matches, heads)
    return Section("reproduce", "How to reproduce", lead, template="reproduce.html.j2", more=more, answers=answers)


def commands(facts: Facts) -> list[tuple[str, str]]:
    """(command, what it does) for whoever has the study's folder."""
    place = shlex.quote(facts.source.place)
    found = [(f"metaloop standings {place} --all", "every match, with intervals and ties")]
    if facts.champion.rows:
        found.append((f"metaloop verify {place}", "the lead, on fresh seeds and fresh hidden data"))
    found += [
        (f"metaloop credit {place} --all", "every row of credit"),
        (f"metaloop show {facts.runs.first['run_id']} -s {place}", "one run; any id or prefix of one will do")
        if facts.runs.rows else (f"metaloop log {place}", "its experiments"),
        (f'metaloop sql {place} "FROM standings"', "any question at all; docs/views.md lists the columns"),
        (f"metaloop report {place}", "this page again"),
    ]  # fmt: skip
    return found


def again(facts: Facts) -> str:
    """The command line that asks for such a study; empty where the config is not on record."""
    config = facts.config
    if not config.get("command"):
        return ""
    parts = ["metaloop", str(config["command"])]
    for key, flag in FLAGS:
        value = config.get(key)
        if value is not None and DEFAULTS.get(key) != value:
            parts += [flag, f"{value:g}" if isinstance(value, float) else str(value)]
    if config.get("fixed_steps"):
        parts.append("--fixed-steps")
    return shlex.join(parts)


def pins(facts: Facts) -> list[tuple[str, str]]:
    """(name, hash or figure) of what the figures hold for."""
    row, match = facts.study.first, facts.deciding or facts.matches.last
    found = [
        ("study", row.get("study_id")),
        ("founded", row.get("started_at")),
        ("last record", row.get("last_record_at")),
        ("task", f"{match['task']} ({match['task_id']})" if match else None),
        ("hardware class", match.get("hardware_class")),
        ("budget of a run", f"{duration(match['run_budget'])} of device time" if match.get("run_budget") else None),
        ("champion", facts.champion.first.get("program_id")),
        ("matches", many(len(facts.matches.rows), "match").replace("matchs", "matches")),
        ("plan", json.dumps(facts.config["plan"]) if facts.config.get("plan") else None),
    ]
    return [(name, str(value)) for name, value in found if value]


def versions(facts: Facts) -> list[tuple[str, str]]:
    """What the study ran with, as it was recorded then."""
    known: Mapping[str, Any] = facts.config.get("versions") or {"metaloop": facts.study.first.get("version")}
    return [(name, str(version)) for name, version in known.items() if version]

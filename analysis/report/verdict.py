"""Part 1: the verdict: its table, its sentences, and what it cost."""

from __future__ import annotations

from analysis.report.facts import known_task
from analysis.report.model import ReportFacts, ReportSection
from analysis.verdict.decision import Decision

WORDS = {
    "better": "significant",
    "open": "not significant",
    "none": "not tested",
}


def section(facts: ReportFacts) -> ReportSection:
    tasks = dict.fromkeys([str(facts.config.get("task") or ""), *(str(on["task"]) for on in facts.further)])
    known = [task for task in map(known_task, tasks) if task is not None]
    more = {
        "verdict": facts.verdict, "state": WORDS[facts.verdict.state], "tasks": known, "logs": bool(facts.logs.rows),
        "night": bool(facts.config.get("plan") and facts.config["plan"].get("night")),
    }  # fmt: skip
    answers = (*([facts.champion] if facts.champion.rows else []), facts.standings, facts.overview)
    return ReportSection("verdict", "The verdict", template="verdict.html.j2", more=more, answers=answers)


def decided(facts: ReportFacts) -> Decision | None:
    """The study's decision; None without a champion."""
    return facts.verdict.decision

"""Part 9: the caveats that apply. Every study goes through the same list of checks."""

from __future__ import annotations

from analysis.report.model import ReportFacts, ReportSection
from analysis.report.source import QueryResult
from analysis.tables import statement


def section(facts: ReportFacts) -> ReportSection:
    found = facts.verdict.caveats
    lead = "" if found else "None of the standard caveats applies to this study."
    answers: tuple[QueryResult[object], ...] = (QueryResult("caveats", statement("caveats"), ()),)
    return ReportSection(
        "caveats", "Caveats", lead, template="caveats.html.j2", more={"caveats": found}, answers=answers
    )

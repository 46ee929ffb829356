"""The page of what the parts of the best program and single changes of the script are worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from meta.window.records import QueryAnswer, ask

if TYPE_CHECKING:
    import duckdb
    from markupsafe import Markup

CHANGES = """SELECT label AS change, estimate AS gain, low, high, unit, task, n AS experiments, runs, q, design
FROM credit
WHERE method = 'edit' AND estimate IS NOT NULL
ORDER BY coalesce(q < 0.05 AND (low > 0 OR high < 0), false) DESC, if(q < 0.05, -estimate, q) NULLS LAST
LIMIT 30"""
PART = '{% import "macros.html.j2" as show %}{% include section.template %}'  # as page.html.j2 of the report does


@dataclass(frozen=True)
class CreditPage:
    """``text``: the report's part on the champion's text, with the estimate of each line; ``changes``: of single
    changes."""

    text: Markup
    changes: QueryAnswer


def credit_page(con: duckdb.DuckDBPyConnection, study: str) -> CreditPage:
    from markupsafe import Markup

    from analysis.report import champion
    from analysis.report.facts import gather
    from analysis.report.page import environment
    from analysis.report.source import ReportSource

    facts = gather(ReportSource(con, study))
    section = champion.section(facts)
    text = environment().from_string(PART).render(section=section, facts=facts)
    return CreditPage(Markup(text), ask(con, CHANGES))  # the report's environment has escaped it

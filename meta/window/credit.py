"""The page of what the parts of the best program and single changes of the script are worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from analysis.wording import interval_decimals
from meta.window.records import QueryAnswer, ask
from meta.window.words import figure

if TYPE_CHECKING:
    import duckdb
    from markupsafe import Markup

CHANGES = """SELECT label AS change, estimate AS gain, low, high, unit, task, n AS experiments, runs, q, design
FROM credit
WHERE method = 'edit' AND estimate IS NOT NULL
ORDER BY coalesce(q < 0.05 AND (low > 0 OR high < 0), false) DESC, if(q < 0.05, -estimate, q) NULLS LAST
LIMIT 30"""
PART = '{% import "macros.html.j2" as show %}{{ show.program(page.program, page.champion, study) }}'  # as in the report


@dataclass(frozen=True)
class CreditPage:
    """``text``: the report's part on the champion's text, with the estimate of each line; ``changes``: of single
    changes."""

    text: Markup
    changes: QueryAnswer


def rounded(answer: QueryAnswer) -> QueryAnswer:
    """Of a row, gain and interval with the decimals that the interval justifies; q with three, as elsewhere."""

    def shown(row: Sequence[Any]) -> list[Any]:
        known = dict(zip(answer.columns, row, strict=True))
        digits = interval_decimals(known["low"], known["high"])
        gains = {key: figure(known[key], digits) for key in ("gain", "low", "high")}
        return list((known | gains | {"q": figure(known["q"], 3, least=0.001)}).values())

    return replace(answer, rows=[shown(row) for row in answer.rows])


def credit_page(con: duckdb.DuckDBPyConnection, study: str) -> CreditPage:
    from markupsafe import Markup

    from analysis.report.page import Page, environment
    from analysis.report.source import ReportSource
    from analysis.verdict.verdict import verdict_of

    page = Page(ReportSource(con, study), verdict_of(con))
    text = environment().from_string(PART).render(page=page, study=study)
    return CreditPage(Markup(text), rounded(ask(con, CHANGES)))  # the report's environment has escaped it

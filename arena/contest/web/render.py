"""Renders templates. Values are escaped."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import pass_eval_context
from markupsafe import Markup

from analysis import wording
from analysis.report.axis import Axis
from analysis.report.page import TEMPLATES
from analysis.wording import decimals, number, typical
from arena.contest.entering.acts import consequence
from arena.contest.ranking.announced import race_results, secret_check, sentences
from arena.contest.ranking.history import progress_of
from arena.contest.ranking.views import EntryRow
from arena.contest.running.pace import progress_line
from arena.contest.stored import MeasuredRow, arm_label, entry_label, own_result
from arena.contest.tables import state_label
from arena.serving.clock import shown
from programs.common.templates import jinja_environment
from programs.common.text import cell

if TYPE_CHECKING:
    from jinja2 import Environment
    from jinja2.nodes import EvalContext

HERE = Path(__file__).parent
RANKS = (
    "A 95% interval is about its own row alone, between its runs: the error of the untouched script's measurement, "
    "which all rows share, is not in it. A rank range compares all pairs of rows at once (Holm's correction). "
    "That is stricter: with few runs, intervals that do not overlap may not be enough for different ranks."
)


def page(name: str, **values: Any) -> str:
    """``name``: a template, such as ``board.html.j2``."""
    return _environment().get_template(name).render(**values)


@cache
def _environment() -> Environment:
    environment = jinja_environment(
        HERE / "templates", TEMPLATES, escaped=lambda name: bool(name) and ".html" in str(name)
    )
    environment.filters |= {
        "utc": _utc,
        "duration": wording.duration,
        "count": wording.count,
        "number": number,
        "span": wording.span,
        "ranks": wording.ranks,
        "many": wording.many,
        "cell": cell,
        "minus": wording.minus,
        "progress_line": progress_line,
        "progress_of": progress_of,
        "state": state_label,
        "doing": doing,
    }
    environment.globals |= {
        "decimals": decimals,
        "typical": typical,
        "scale": _scale,
        "decision_sentences": sentences,
        "race_results": race_results,
        "secret_check": secret_check,
        "arm_label": arm_label,
        "entry_label": entry_label,
        "rank_sentence": RANKS,
        "consequence": consequence,
        "own_result": own_result,
    }
    return environment


@pass_eval_context
def _utc(context: EvalContext, value: datetime | str | None) -> str:
    """The time; on a page of HTML as one word, which no line breaks."""
    moment = shown(datetime.fromisoformat(value) if isinstance(value, str) else value)
    return Markup('<span class="utc">{}</span>').format(moment) if context.autoescape else moment


def doing(row: EntryRow) -> str:
    """What an entry of the queue does: between its runs it waits."""
    if row["state"] not in ("screening", "running"):
        return state_label(row["state"])
    runs = row["at_work"]
    return f"{row['state']}{f', {runs} runs at once' if runs > 1 else ''}" if runs else "waiting for its next run"


def _scale(rows: Sequence[MeasuredRow]) -> Axis:
    """Of the plots of the rows of one board."""
    return Axis.over((end for row in rows for end in (row["low"], row["high"], row["gain"], row["claimed"])), 6, 214)

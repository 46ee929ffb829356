"""``metaloop credit``: the estimated effects of edits, sentences and changes of programs, with design and interval."""

from __future__ import annotations

from typing import Annotated

import duckdb

from analysis.effects.attribution import METHODS
from analysis.verdict.caveats import STOP, caveats
from analysis.wording import many
from meta.cli import resolve, views
from meta.cli.commands import verb
from meta.cli.flags import AnyStudy
from meta.cli.options import flag
from meta.cli.output import Output
from programs.common.errors import UsageError


@verb(
    ("metaloop credit studies/NAME", "the significant effects, by method"),
    ("metaloop credit studies/NAME --method edit", "those of one method"),
    ("metaloop credit studies/NAME --all --json", "every row, for a script"),
)
def credit(
    out: Output,
    study: AnyStudy,
    method: Annotated[
        str | None, flag("Only effects estimated by this method (edit, directive, mutation …).", metavar="NAME")
    ],
    all: Annotated[bool, flag("Every row, also those that are not significant.")],
) -> None:
    """Show what changes the gain: each directive (a sentence or setting of a program), each
    edit of train.py, and each mutation (the change from a program to a new one). A row has
    the estimated effect, its 95% interval, n, and whether the change was randomized or only
    observed (an association). Lists the significant gains and losses (q below 0.05)."""
    folder, view = resolve.study_folder(study, out), views.view("credit")
    out.meanwhile("computing the estimates")
    with resolve.connect(folder, ["credit", "standings"]) as con:
        rows = view.rows(con, [method])
        known = [row["method"] for row in resolve.fetch(con, "SELECT DISTINCT method FROM credit ORDER BY method")]
        doubts(out, con)
    if method and method not in (*known, *METHODS.names):
        raise UsageError(f"no method {method!r}", hint=f"--method {', '.join(known or METHODS.names)}")
    listed = [row for row in rows if all or row["listed"]]
    nothing = f"no effect with q below 0.05; estimated: {', '.join(known)}" if known else "no effects estimated yet"
    views.show(out, listed, view, extra={"study": str(folder)}, empty=nothing)
    if len(rows) > len(listed):
        why = "without a q below 0.05 (all rows of a method are counted together) or beside a planned ablation"
        out.note(f"{many(len(rows) - len(listed), 'row')} hidden, {why}: --all")
    if listed:
        out.next(f"metaloop show {resolve.short(listed[0]['credit_id'])} -s {resolve.typed(folder)}")


def doubts(out: Output, con: duckdb.DuckDBPyConnection) -> None:
    """What makes the figures of a study untrustworthy, as remarks."""
    for caveat in caveats(con):
        if caveat.level == STOP:
            out.note(f"{caveat.title}. {caveat.text}")

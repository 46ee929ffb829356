"""``metaloop credit``: the estimated effects of edits, directives and mutations, with study design and interval."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, TypedDict

from analysis.wording import decimals, many, plain_number, plain_span
from meta.cli import render, resolve, trust
from meta.cli.flags import AnyStudy
from meta.cli.options import flag, verb
from meta.cli.output import Column, Output, Row, columns, table
from programs.errors import NotFound, UsageError

if TYPE_CHECKING:
    import duckdb

PLOT_LEAST, PLOT_MOST = 12, 40
OTHERS = 64  # characters that label and figures take beside the plot
PLAIN = columns("""
    label estimate low high se unit n q method design causal task knob value program_id directive_id child_id
    credit_id
""")
BUNDLE = (
    Column("edits", style="bold"),
    Column("on"),
    *(Column(key, right=True, show=lambda v: plain_number(v, 3)) for key in ("estimate", "low", "high")),
    Column("unit"),
    Column("task"),
)
EMPTY = "no effects estimated yet"
# What the rows of a method estimate, as a title.
ESTIMATED = {
    "claimed": "what the runs themselves claim",
    "add-one-in": "a kept change alone, trained again",
    "leave-one-out": "a kept change removed from the end of its run",
    "shapley": "a kept change, averaged over orders",
    "edit": "a single change to the untouched script",
    "directive": "experiments that cite the directive, compared with the script that they changed",
    "following": "runs that followed the directive minus runs that did not",
    "mutation": "child minus parent",
    "having": "programs with the directive minus programs without it",
    "factorial": "the directive in a planned ablation",
}
LEGEND = (
    "n: experiments (edit, directive), pairs of runs (mutation), else runs or seeds. One model estimates edits and "
    "directives from all experiments together, so that even n = 1 has an interval. q: p-value corrected for the number "
    'of tests ("-": not tested, because fewer than three runs tried it)'
)
QUERY = "SELECT * FROM credit ORDER BY method, estimate DESC NULLS LAST, credit_id"


class CreditLine(TypedDict):
    """A row of the view `credit`, with the columns in use."""

    credit_id: str
    method: str
    design: str
    causal: bool
    unit: str
    label: str | None
    directive_id: str | None
    child_id: str | None
    estimate: float | None
    se: float | None
    low: float | None
    high: float | None
    n: int
    q: float | None


@verb(
    ("metaloop credit studies/NAME", "the significant effects, by method"),
    ('metaloop credit studies/NAME --bundle "norm=batch" --on "lr=0.01"', "the effect of one edit given another"),
    ("metaloop credit studies/NAME --all --json", "every row, for a script"),
)
def credit(
    out: Output,
    study: AnyStudy,
    method: Annotated[str | None, flag("Only this method (edit, directive, mutation …).", metavar="NAME")],
    all: Annotated[bool, flag("Include effects whose 95% interval includes zero.")],
    bundle: Annotated[
        str | None, flag('The joint effect of these edits: "optimizer=adamw lr=0.003".', metavar="EDITS")
    ],
    on: Annotated[str | None, flag("With --bundle: the edits that the source already has.", metavar="EDITS")],
) -> None:
    """The estimated effect of each edit, each directive and each change between programs
    (mutation) on the gain: estimate, 95% interval, n, and whether it was randomized or
    only observed (an association)."""
    from analysis.attribution import recomputed

    if on and not bundle:
        raise UsageError("--on needs --bundle", hint='--bundle "EDITS" --on "EDITS"')
    folder = resolve.study_folder(study, out)
    if bundle:
        with resolve.connect(folder, []) as con:
            out.rows(bundles(con, bundle.split(), (on or "").split()), BUNDLE, extra={"study": str(folder)})
        return
    with resolve.connect(folder, ["credit"]) as con:
        rows = [r for r in resolve.fetch_as(con, CreditLine, QUERY) if method is None or r["method"] == method]
        trust.note(out, con, resolve.shown(folder), trust.OF_CREDIT)
        if older := recomputed(con):
            out.note(older)
    empty = EMPTY
    if not all and rows:
        hidden, empty = len(rows), "no effect whose 95% interval excludes zero"
        rows = [r for r in rows if resolved(r)]
        if hidden > len(rows):
            out.note(
                f"{many(hidden - len(rows), 'row')} hidden: no interval, or one that includes zero (--all shows them)"
            )
    if out.mode != "person":
        out.rows(rows, PLAIN, extra={"study": str(folder)}, empty=empty)
        return
    if not rows:
        out.note(empty)
    for name in dict.fromkeys(r["method"] for r in rows):
        _show(out, [r for r in rows if r["method"] == name])
    if rows:
        out.note(LEGEND)


def bundles(con: duckdb.DuckDBPyConnection, edits: list[str], on: list[str]) -> list[Row]:
    """The joint effect of these edits, on each task of the study that had all of them in its experiments."""
    from analysis.attribution import searched
    from analysis.edit_effects import edit_effects, key_of

    rows: list[Row] = []
    for scope in searched(con):
        effect = edit_effects(scope).bundle([key_of(edit) for edit in edits], [key_of(edit) for edit in on])
        if effect is not None:
            rows.append(
                {
                    "edits": " ".join(edits),
                    "on": " ".join(on),
                    "task": scope.task,
                    "unit": scope.unit,
                    "estimate": effect.mean,
                    "low": effect.low,
                    "high": effect.high,
                }
            )
    if not rows:
        raise NotFound(
            "no task has all of these edits in its experiments", hint="metaloop credit STUDY --method edit --all"
        )
    return rows


def resolved(row: CreditLine) -> bool:
    """Whether the interval excludes zero."""
    low, high = row.get("low"), row.get("high")
    return low is not None and high is not None and (low > 0 or high < 0)


SHORT = 1  # letters of a design in a table; the title has the legend


def _show(out: Output, rows: Sequence[CreditLine]) -> None:
    from rich.text import Text

    out.show(Text(title(rows), style="bold"))
    wide = min(max(out.console.width - OTHERS, PLOT_LEAST), PLOT_MOST)
    axis = render.Axis.of_intervals([(r["low"], r["estimate"], r["high"]) for r in rows], wide)
    scale = [r["se"] for r in rows if r["se"]] or [abs(r["estimate"]) / 10 for r in rows if r["estimate"]]
    digits = decimals(min(scale, default=None))
    columns = (
        Column("label", flex=True, style="bold"),
        Column("estimate", right=True, style="green"),
        Column("95%", right=True),
        Column("plot", title=axis.header()),
        Column("n", right=True),
        Column("q", right=True, show=lambda v: "<.001" if v is not None and v < 0.001 else plain_number(v, 3)),
        *([Column("design", title=" ")] if len(designs(rows)) > 1 else []),
    )
    out.show(table([_row(r, axis, digits) for r in rows], columns, out.console.width))


def title(rows: Sequence[CreditLine]) -> str:
    """Method, what it estimates, unit and design of its rows; a legend where they have different designs."""
    kinds, method = designs(rows), rows[0]["method"]
    about = f"{method}: {ESTIMATED[method]}" if method in ESTIMATED else method
    legend = kinds[0] if len(kinds) == 1 else "; ".join(f"{kind[:SHORT]}: {kind}" for kind in kinds)
    return f"{about}, in {rows[0]['unit']} ({legend})"


def designs(rows: Sequence[CreditLine]) -> list[str]:
    return list(dict.fromkeys(design(r) for r in rows))


def design(r: CreditLine) -> str:
    """The design, marked where it supports no causal claim."""
    return r["design"] + ("" if r["causal"] else ", an association")


def _label(text: str) -> str:
    """The edits of an idea, or the values of a setting, before its words: a narrow terminal cuts the end off, and many
    begin alike."""
    if setting := re.fullmatch(r"([\w.]+): \{(.*)\}", text):
        values = re.sub('[",]', "", setting[2]).replace(": ", "=")
        return f"{values}: {setting[1]}"
    edits = re.findall("`([^`]+)`", text)
    return f"{' '.join(edits)}: {text}" if edits else text


def _row(r: CreditLine, axis: render.Axis, digits: int) -> Row:
    label = _label(r["label"]) if r["label"] else None
    return {
        "label": label or resolve.short(r.get("directive_id") or r.get("child_id") or r["credit_id"]),
        "estimate": plain_number(r["estimate"], digits, sign=True),
        "95%": plain_span(r["low"], r["high"], digits),
        "plot": axis.interval(r["low"], r["estimate"], r["high"]),
        "n": str(r["n"]),
        "q": r["q"],
        "design": design(r)[:SHORT],
    }

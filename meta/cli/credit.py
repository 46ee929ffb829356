"""``metaloop credit``: the estimated effects of edits, directives and mutations, with study design and interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from analysis.wording import decimals, plain_number, plain_span
from meta.cli import render, resolve, trust
from meta.cli.credit_rows import (
    CreditLine,
    as_contrasts,
    conclusions,
    confirmed,
    hidden,
    ordered,
    sentence,
    shown,
)
from meta.cli.flags import AnyStudy
from meta.cli.options import flag, verb
from meta.cli.output import GAP, Column, Output, Row, columns
from programs.errors import NotFound, UsageError

if TYPE_CHECKING:
    import duckdb

PLOT_LEAST, PLOT_MOST = 8, 40
SHORT = 1  # letters of a design in a table; the title has the legend
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
    "leave-one-out": "a kept change removed from the end of its run",
    "edit": "a single change to the untouched script, by the model of all experiments",
    "directive": "experiments that cite the directive, compared with the script that they changed",
    "mutation": "child minus its parent, of several one of them",
    "factorial": "the directive in a planned ablation",
}
LEGEND = (
    "Gain: positive is better; of a directive (observational, not shown where a planned ablation is) the average "
    "change of the score by the experiments that cite the sentence, kept or not, 0 for a failed one. "
    "A run discards a change that made its script worse. So the experiments that cite a sentence can lose (directive) "
    "although a planned ablation shows no loss (factorial). A sentence and the edit that it names have rows of their "
    "own: the sentence is tried on the script that a run has by then, the edit is estimated alone on the untouched "
    "script. n: experiments of the search (edit, directive), pairs of runs (mutation), else runs or seeds, without "
    "the confirmation (of a contest, its race) and held-out tasks. The intervals of edits and directives come from "
    "one model of all experiments, so that one tried only once (n = 1) has an interval, too. q: p-value corrected for "
    'the number of tests ("-": not tested, because fewer than three runs tried it, or, of an edit, almost only beside '
    "one that hurts: it may only repair that one). `next:` shows the experiments or runs behind the first row."
)
QUERY = "FROM credit"


@verb(
    ("metaloop credit studies/NAME", "the significant effects, by method"),
    ('metaloop credit studies/NAME --bundle "norm=batch" --on "lr=0.01"', "the effect of one edit given another"),
    ("metaloop credit studies/NAME --all --json", "every row, for a script"),
)
def credit(
    out: Output,
    study: AnyStudy,
    method: Annotated[
        str | None, flag("Only effects estimated by this method (edit, directive, mutation …).", metavar="NAME")
    ],
    all: Annotated[bool, flag("Every row, also those that are not significant.")],
    bundle: Annotated[
        str | None, flag('The joint effect of these edits: "optimizer=adamw lr=0.003".', metavar="EDITS")
    ],
    on: Annotated[str | None, flag("With --bundle: the edits that the script already has.", metavar="EDITS")],
) -> None:
    """Show what changes the gain: each directive (a sentence or setting of a program), each
    edit of train.py, and each mutation (the change from a program to a new one). A row has
    the estimated effect, its 95% interval, n, and whether the change was randomized or only
    observed (an association). Lists all significant gains and losses; the last lines name
    the largest gain."""
    from analysis.effects.attribution import METHODS
    from meta.cli.standings import announced

    if on and not bundle:
        raise UsageError("--on needs --bundle", hint='--bundle "EDITS" --on "EDITS"')
    folder = resolve.study_folder(study, out)
    if bundle:
        with resolve.connect(folder, []) as con:
            out.rows(bundles(con, bundle.split(), (on or "").split()), BUNDLE, extra={"study": str(folder)})
        return
    out.meanwhile("computing the estimates")
    with resolve.connect(folder, ["credit"]) as con:
        stored = resolve.fetch_as(con, CreditLine, QUERY)
        estimated = sorted({row["method"] for row in stored})
        if method and method not in (*estimated, *ESTIMATED, *METHODS.added):
            others = estimated or [*ESTIMATED, *METHODS.added]
            raise UsageError(f"no method {method!r}", hint=f"--method {', '.join(others)}")
        trust.note(out, con, resolve.shown(folder), trust.OF_CREDIT)
        decision = announced(con)
    every = ordered(row for row in stored if method in (None, row["method"]))
    rows = every if all else shown(every)
    verdict = confirmed(decision) if any(row["method"] == "mutation" for row in every) else ""
    if out.mode == "person":
        for group in dict.fromkeys((r["method"], r["unit"]) for r in rows):
            _show(out, as_contrasts([r for r in rows if (r["method"], r["unit"]) == group]))
        if rows:
            out.note(LEGEND)
            out.next(f"metaloop show {resolve.short(rows[0]['credit_id'])} -s {resolve.typed(folder)}")
    else:
        out.rows(rows, PLAIN, extra={"study": str(folder)})
    nothing = f"no effects estimated by {method}; this study has: {', '.join(estimated)}" if estimated else EMPTY
    for remark in (hidden(every, rows), *conclusions(every), verdict) if every else (nothing,):
        if remark:
            out.note(remark)


def bundles(con: duckdb.DuckDBPyConnection, edits: list[str], on: list[str]) -> list[Row]:
    """The joint effect of these edits, on each task of the study that had all of them in its experiments."""
    from analysis.effects.attribution import searched
    from analysis.effects.experiments import edit_effects, key_of

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


def _show(out: Output, rows: Sequence[CreditLine]) -> None:
    """A line for each row; where the labels do not fit beside the figures, each is above its own."""
    from rich.cells import cell_len
    from rich.text import Text

    labels, digits, mixed = [_label(r, rows) for r in rows], _digits(rows), len(designs(rows)) > 1
    heads = ["gain", "95%", "n", "q", *[" "] * mixed, "row"]
    figures = [_figures(r, digits, mixed) for r in rows]
    widths = [max(map(len, column)) for column in zip(heads, *figures, strict=True)]
    longest = max(map(cell_len, labels))
    room = out.console.width - sum(widths) - GAP * (len(widths) + 1)
    indent = longest if longest <= room - PLOT_LEAST else 0
    axis = render.Axis.of_intervals(
        [(r["low"], r["estimate"], r["high"]) for r in rows], min(max(room - indent, PLOT_LEAST), PLOT_MOST)
    )

    def line(cells: Sequence[str], plot: str) -> str:
        padded = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
        return "".join(" " * GAP + cell for cell in (*padded[:2], plot, *padded[2:]))

    out.show(Text(title(rows), style="bold"))
    out.show(Text(" " * indent + line(heads, axis.header()), style="dim"))
    for r, label, cells in zip(rows, labels, figures, strict=True):
        text = Text(label, style="bold")
        shown = line(cells, axis.interval(r["low"], r["estimate"], r["high"]))
        if not indent:
            out.show(text)
            text = Text()
        out.show(text + Text(" " * (indent - cell_len(text.plain)) + shown))


def _digits(rows: Sequence[CreditLine]) -> int:
    wide = [r["high"] - r["low"] for r in rows if r["low"] is not None and r["high"] is not None]
    scale = [each / 4 for each in wide if each] or [abs(r["estimate"]) / 10 for r in rows if r["estimate"]]
    return decimals(min(scale, default=None))


def _figures(r: CreditLine, digits: int, mixed: bool) -> list[str]:
    q = r["q"]
    return [
        plain_number(r["estimate"], digits, sign=True),
        plain_span(r["low"], r["high"], digits),
        str(r["n"]),
        "<.001" if q is not None and q < 0.001 else plain_number(q, 3),
        *[design(r)[:SHORT]] * mixed,
        resolve.short(r["credit_id"]),
    ]


def _label(r: CreditLine, rows: Sequence[CreditLine]) -> str:
    label = sentence(r["label"] or resolve.short(r["directive_id"] or r["child_id"] or r["credit_id"]))
    return label if len({row["task"] for row in rows}) == 1 else f"{label} (on {r['task']})"


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

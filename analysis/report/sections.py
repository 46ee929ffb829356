"""The parts of a report: a query, a chart and a fixed caption each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.statistics import Estimate

Row = dict[str, Any]
# By chart: names of its legend that not every study has, and the column or letter that they are drawn from.
DRAWN_FROM = {
    "claims": {"claimed": "chance_gain"},
    "run": {"discarded": "d", "again": "r", "failed": "x", "final": "final"},
}


def unchanged(row: Row) -> Row:
    return row


@dataclass(frozen=True)
class Part:
    """A part of the page; left out where its query has no rows. ``name``: of the query in sql/. ``chart``: the
    function of charts.js that draws the rows, "" for a table alone. ``split``: a figure for each value of this column.
    ``hidden``: columns that the chart alone uses. ``through`` completes a row. ``unit``: if not the verdict's."""

    name: str
    title: str
    caption: str
    chart: str = ""
    split: str = ""
    hidden: tuple[str, ...] = ()
    legend: tuple[tuple[str, str], ...] = ()
    through: Callable[[Row], Row] = unchanged
    unit: str = ""

    def legend_of(self, rows: Sequence[Row]) -> list[tuple[str, str]]:
        """The entries of the legend that some row has."""
        keys = {key for row in rows for key, value in row.items() if value is not None}
        keys |= {point["letter"] for row in rows for point in row.get("points", ())}
        drawn_from = DRAWN_FROM.get(self.chart, {})
        return [entry for entry in self.legend if drawn_from.get(entry[0]) in (None, *keys)]


def with_interval(row: Row) -> Row:
    low, high = Estimate(row["gain"], row["se"], row["df"] or 0).interval()
    return {**{key: value for key, value in row.items() if key not in ("se", "df")}, "low": low, "high": high}


GAINS = (
    ("champion", "champion, its gain with a 95% interval"),
    ("program", "program"),
    ("control", "stock, stock again (A/A) or one-line"),
    ("claimed", "the runs' own claim, which ranks nothing"),
)
PARTS = (
    Part(
        "logs", "Imported logs",
        "Claimed gain: how much better the best kept measurement is than the baseline. Hollow dot: the gain that as "
        "many tries without any effect are expected to show by noise, where the noise is known.",
        chart="claims", split="unit", hidden=("id",),
        legend=(("program", "claimed gain"), ("claimed", "expected from noise alone")),
    ),
    Part("refused", "Logs left out", "No run was imported from these."),
    Part(
        "standings", "Standings",
        "Gain of the final scripts over the untouched one, both trained again. Further right is better. Intervals are "
        "between runs. Ranks come from tests of all pairs (Welch, Holm); a confirmation has none.",
        chart="standings", split="task", hidden=("id", "unit"), legend=GAINS,
    ),
    Part(
        "transfer", "Several tasks",
        "Gain on each task; ratio: to stock there, where stock's gain is clear of 0. home: a task of the search; "
        "elsewhere: one that it did not use.",
        chart="effects", split="task", hidden=("unit",),
    ),
    Part(
        "effects", "Planned ablation",
        "The change of the gain by each directive, switched on and off by a plan, averaged over the others; or by each "
        "kept commit of a run: its final script against that script without the commit, and without those that need "
        "it. Estimates of the search (metaloop credit) ask what a change does when it is tried in some "
        "script, so they can differ; this plan decides what the line itself does. Intervals are of single rows; q is "
        "corrected for all rows that have one (false discovery rate).",
        chart="effects", split="of", hidden=("id", "unit", "significant"),
        legend=(("program", "significant (q below 5%)"), ("unmeasured", "not significant")),
    ),
    Part(
        "night", "The night",
        "The programs took turns on one lineage of the script, main. These metrics chose what was kept, so they claim "
        "too much.",
        hidden=("run_id", "start"), unit="units of the metric",
    ),
    Part(
        "runs", "One run, close up",
        "Up to 48 runs, the deciding ones first. The researcher's own measurements. The band is 2 SD of one script "
        "between seeds, or of what a log measured again; it is no test. Values outside the frame are drawn at its "
        "edge.",
        chart="run", hidden=("id", "points", "deciding", "direction", "metric", "sd", "final"),
        legend=(("kept", "kept, or a new best of a log that does not say what was kept"),
                ("discarded", "discarded, or not resolved"), ("again", "measured again"), ("failed", "failed"),
                ("best", "best so far, with the noise band"),
                ("final", "the final script, trained again")),
    ),
    Part(
        "lineage", "Lineage of the programs",
        "Each row is a program of the search, below its parent; change: directives added and left out. Programs that "
        "were chosen for a high mean look better than they are.",
        chart="lineage", hidden=("id", "parents", "depth", "champion"), through=with_interval,
        legend=(("program", "program"), ("champion", "champion")),
    ),
    Part(
        "spent", "Where the device time went",
        "Charged counts a result that was known in full; spent is what this machine did.",
        chart="spent", legend=(("bar-run", "spent by runs"), ("bar-arena", "by the arena"), ("bar-charged", "charged")),
    ),
)  # fmt: skip

"""The result of an ablation: the rows of the view `credit` for its directives or kept changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.statistics import mean_interval
from analysis.wording import estimate, many, plain_text
from meta.cli import resolve, views
from meta.cli.credit import doubts
from meta.cli.output import Output
from programs.errors import NotFound
from programs.text import one_line

ONE_SEED = "all runs share one run seed, so the effects are of that seed"
WHOLE = """
SELECT f.gain - u.gain AS gain FROM replays AS f JOIN replays AS u USING (ablation_id, seed)
WHERE f.run_id = $1 AND len(u.commits) = 0 AND list_sort(f.commits) = (
    SELECT list_sort(factors) FROM ablations WHERE run_id = $1 AND method = 'replay')
"""


def show_ablation_result(out: Output, folder: Path, identity: str) -> list[str]:
    """Show the rows of an ablation; ``identity``: the match of a design, or a run. Returns the commands that go on."""
    view = views.view("credit")
    with resolve.connect(folder, ["credit", "standings"]) as con:
        rows = [row for row in view.rows(con, [None]) if identity in (row["match_id"], row["run_id"])]
        gains = [row["gain"] for row in resolve.fetch(con, WHOLE, [identity])]
        doubts(out, con)
        seeds = resolve.fetch(con, "SELECT count(DISTINCT run_seed) AS n FROM runs WHERE match_id = ?", [identity])
    if not rows:
        raise NotFound(f"nothing was estimated for {identity}", hint="metaloop credit STUDY --all")
    views.show(out, rows, view, extra={"study": resolve.shown(folder)})
    if rows[0]["method"] == "leave-one-out":
        for line in closing_lines(rows, gains):
            out.note(line)
    elif seeds[0]["n"] == 1:
        out.note(ONE_SEED)
    study = resolve.typed(folder)
    return [f"metaloop show {resolve.short(rows[0]['credit_id'])} -s {study}", f"metaloop credit {study}"]


def closing_lines(rows: Sequence[Mapping[str, Any]], gains: Sequence[float]) -> list[str]:
    """What the final script gains, how many changes help, which do harm, and what to do with the others."""
    gain = mean_interval(gains)
    whole = estimate(gain.mean, gain.low, gain.high, rows[0]["unit"])
    above = [row for row in rows if (row["low"] or 0.0) > 0.0]
    together = sum(row["q"] is not None and row["q"] < 0.05 for row in above)
    harmful = [one_line(row["label"]) for row in rows if (row["high"] or 0.0) < 0.0]
    lines = [
        f"the final script over the untouched one, on these {many(gain.n, 'seed')}: {plain_text(whole)}",
        f"distinguishable from noise, each for itself (95% interval above 0): {len(above)} of its "
        f"{many(len(rows), 'change')}; {together} when all are counted together (q below 0.05)",
    ]
    if harmful:
        lines.append(f"harmful, each for itself (95% interval below 0): {', '.join(harmful)}")
    if len(above) + len(harmful) < len(rows):
        lines.append("the others: keep what costs nothing, take them out one by one, or train with a larger -n")
    return lines

"""The result of an ablation: the rows of the view `credit` for its directives or kept changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.statistics import mean_interval
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
    whole = effect_of_all(rows, gains) if rows[0]["method"] == "leave-one-out" else {}
    views.show(out, rows, view, extra={"study": resolve.shown(folder), **whole})
    if whole and out.mode != "json":
        out.thing(whole)
    elif seeds[0]["n"] == 1:
        out.note(ONE_SEED)
    study = resolve.typed(folder)
    return [f"metaloop show {resolve.short(rows[0]['credit_id'])} -s {study}", f"metaloop credit {study}"]


def effect_of_all(rows: Sequence[Mapping[str, Any]], gains: Sequence[float]) -> dict[str, object]:
    """The gain of the final script over the untouched one, by its ``gains`` with each seed, and how many of its changes
    have an interval above 0, each for itself; ``corrected``: those with q below 0.05."""
    gain = mean_interval(gains)
    above = [row for row in rows if (row["low"] or 0.0) > 0.0]
    harmful = [one_line(row["label"]) for row in rows if (row["high"] or 0.0) < 0.0]
    return {
        "gain_of_all": gain.mean, "low": gain.low, "high": gain.high, "unit": rows[0]["unit"], "seeds": gain.n,
        "changes": len(rows), "helpful": len(above), "harmful": ", ".join(harmful),
        "corrected": sum(row["q"] is not None and row["q"] < 0.05 for row in above),
    }  # fmt: skip

"""The mean of a champion's ratios to stock's gain over all reserved (held-out) tasks.

It is an estimate with a lower bound; the tests that a study announces are for the single tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.ratios import Sides, mean_of_ratios
from analysis.statistics import Ratio
from analysis.transfer import BARE, TransferRun, baseline_of, touched_share, transfer_runs

if TYPE_CHECKING:
    import duckdb

STREAM = "reserve"


@dataclass(frozen=True)
class OverReserved:
    """Mean ratios over ``tasks`` held-out tasks, two or more; ``bare``: without its ideas, None unless run on each."""

    tasks: int
    champion: Ratio
    bare: Ratio | None


def over_reserved(con: duckdb.DuckDBPyConnection, reserved: Mapping[str, bool]) -> OverReserved | None:
    """``reserved``: task → whether the champion ran there; if it behaves like stock, its ratio is exactly 1.

    None for fewer than two tasks, or if runs are missing.
    """
    runs = [run for run in transfer_runs(con) if run.stream == STREAM]
    ran = {task: [run for run in runs if run.task == task] for task, played in reserved.items() if played}
    baselines = {task: baseline_of(con, task, STREAM) for task in ran}
    champion = _mean(ran, baselines, "champion", len(reserved))
    if len(reserved) < 2 or champion is None:
        return None
    return OverReserved(len(reserved), champion, _mean(ran, baselines, BARE, len(reserved)))


def _mean(
    ran: Mapping[str, Sequence[TransferRun]], baselines: Mapping[str, Sequence[float]], role: str, tasks: int
) -> Ratio | None:
    """The mean over ``tasks``; tasks without runs count as 1, without error."""
    sides = []
    for task, runs in ran.items():
        own, stock = ([run for run in runs if run.role == side] for side in (role, "control"))
        if not own or not stock:
            return None
        gains, theirs = ([run.gain for run in sample] for sample in (own, stock))
        sides.append(Sides(gains, theirs, baselines[task], (touched_share(own), touched_share(stock))))
    if not sides:
        return None
    over_run, share = mean_of_ratios(sides), len(sides) / tasks
    if over_run.ratio is None:
        return None
    mean = share * over_run.ratio + 1.0 - share
    lower = None if over_run.lower is None else mean - share * (over_run.ratio - over_run.lower)
    return Ratio(mean, lower, over_run.level, over_run.n_top, over_run.n_bottom)

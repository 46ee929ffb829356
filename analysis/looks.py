"""How often a search looked at the same rows, what gain these can resolve, and what luck alone would show there."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.verdict.decision import Looks
from trainer.data import scored_rows
from trainer.rows import (
    DRAWN,
    EXACT,
    KEPT,
    VALUES,
    RowStore,
    luck_of_looks,
    luck_test,
    paired,
    resolvable,
    share_error,
)

if TYPE_CHECKING:
    from analysis.ledger.run_state import RunState, StudyState
    from inner_loop.events import Experiment
    from trainer.rows import Rows
    from trainer.streams import Streams
    from trainer.task import Task

    Try = tuple[RunState, Experiment, Experiment]  # the run, what it tried, what it was compared with

NIGHT = "night"  # proposer of what a night trains by itself (`inner_loop.night`)
LUCK_SEED = 1


def looks_of(folder: Path, state: StudyState, task: Task, streams: Streams, earlier: int = 0) -> Looks | None:
    """Of a study of an own repository, from its ledger and the values of rows in its folder; None for other tasks, for
    a time, an exact metric, and where nothing was tried. Raises Corrupt where values of rows are missing."""
    if task.run is None or task.timed or task.data_noise in (DRAWN, EXACT):
        return None
    runs = [run for run in state.runs.values() if run.started is not None and run.started.task == task.name]
    pairs = [(run, tried, base) for run in runs for tried, base in tries_of(run)]
    if not pairs:
        return None
    known = Looks(task.metric, len(pairs) + earlier, earlier)
    if task.data_noise == VALUES:
        return _by_rows(known, RowStore(folder), task, streams, pairs)
    if task.counted_rows:
        return _by_count(known, task, pairs)
    return known


def tries_of(run: RunState) -> Iterator[tuple[Experiment, Experiment]]:
    """Each script that a run tried and scored, with the experiment of the script that it changed (of a night `main` of
    then). Repeats with other seeds are no tries, and neither is the `main` with which a night began."""
    numbered = {experiment.number: experiment for experiment in run.experiments.values()}
    for number, experiment in sorted(numbered.items()):
        base = numbered.get(experiment.parent_number or 0)
        is_try = number and not experiment.replicate and experiment.proposer != NIGHT
        if is_try and experiment.metric is not None and base is not None:
            yield experiment, base


def _by_rows(known: Looks, store: RowStore, task: Task, streams: Streams, pairs: list[Try]) -> Looks:
    """By the values of rows, without the held-back ones, which no try could see."""
    import numpy as np

    def values(experiment: Experiment) -> Rows | None:
        whole = store.get(experiment.rows) if experiment.rows else None
        return None if whole is None else whole[scored_rows(task, streams, "search", len(whole))]

    gains: list[Rows] = []
    errors, kept, last, main = list[float](), 0.0, np.empty(0), None
    for run, tried, base in pairs:
        new, old = values(tried), values(base)
        if new is None or old is None or len(new) != len(old):
            continue
        gain = paired(task.sign, [old], [new])
        gains.append(task.sign * (old - new))
        errors += [gain.se] if gain.se else []
        decision, last = run.decisions.get(tried.experiment_id), old
        if decision is not None and decision.decision == "keep":
            kept, main = kept + gain.value, new
    first = pairs[0][0].experiments
    untouched = values(next(record for record in first.values() if not record.number))
    if not gains or untouched is None:
        return known
    luck = luck_test(gains, untouched, kept, LUCK_SEED, KEPT)
    apart = paired(task.sign, [untouched], [main]).se if main is not None else None
    return replace(
        known, rows=len(last), step=1 / len(last) if np.isin(last, (0.0, 1.0)).all() else None,
        resolvable=resolvable(statistics.median(errors)) if errors else None,
        kept=kept, luck=luck_of_looks(apart, known.tries - known.earlier) if apart else luck.gain, p=luck.p,
    )  # fmt: skip


def _by_count(known: Looks, task: Task, pairs: list[Try]) -> Looks:
    """By the number of rows alone: two scripts are taken to fail on unrelated rows, so the error is not too small."""
    rows, first = task.counted_rows or 1, pairs[0][2].metric
    se = math.sqrt(2) * share_error(first or 0.0, rows)
    luck = luck_of_looks(se, known.tries)
    return replace(known, rows=rows, step=1 / rows, resolvable=resolvable(se), luck=luck)

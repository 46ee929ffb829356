"""Compares sources by the measurements of one run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from inner_loop.bench import Bench
from inner_loop.events import Experiment
from trainer.rows import EXACT, VALUES, Difference, paired, pooled_sd, share_error
from trainer.task import Task

#: Repeats of a run, beyond one training for each source, that suffice for a standard deviation.
LEAST_REPEATS = 2
Decision = Literal["keep", "undecided", "discard"]
WORDS = {"keep": "better", "undecided": "not resolved", "discard": "not better"}


def difference(bench: Bench, candidate: Experiment, other: Experiment) -> Difference | None:
    """The gain of a source over another one, in metric units, positive when better: the mean over the training seeds
    with which both were measured in full, each against the same seed. None without one.

    Its standard error contains the noise of the rows and of these seeds, as far as they are known; None: neither is.
    """
    pairs, gain = same_seed_pairs(bench, candidate, other), gain_over(bench, candidate, other)
    if gain is None:
        return None
    if bench.task.data_noise == EXACT:
        return Difference(gain, 0.0, 0.0)
    rows, seed = _rows_variance(bench, pairs), _seed_variance(bench)
    variance = (rows or 0.0) + (seed or 0.0) / len(pairs)
    return Difference(gain, math.sqrt(variance) or None, None if rows is None else math.sqrt(rows))


def decide_by(bench: Bench, found: Difference | None) -> Decision:
    """Keep a gain of at least the least one; a smaller difference is undecided."""
    if found is None:
        return "discard"
    least = least_gain(bench, found)
    if found.value > 0 and found.value >= least:
        return "keep"
    return "undecided" if abs(found.value) < least else "discard"


def least_gain(bench: Bench, found: Difference) -> float:
    """The gain from which on a source with this difference is kept, in metric units: as many standard errors as the run
    asks for; 0, where none is known or asked for: any gain is. The second seed of a run that repeats wins replaces the
    seeds' part of the error; the rows are the same for all tries, so their part stays."""
    return bench.kept_errors * ((found.rows_se if bench.repeats_wins else found.se) or 0.0)


def judge(
    bench: Bench, record: Experiment, other: Experiment, repeat: Experiment | None = None
) -> tuple[str, str, Difference | None]:
    """What becomes of an experiment by its gain over another one, as `Bench.decide` takes it. Only a first training in
    full, of a source that has failed with no seed, can be kept. ``repeat``: its training with a second seed."""
    if not record.ok:
        return "discard", f"{record.status}: {record.reason}", None
    if not record.full:
        return "screen", f"at {record.fraction:g} of the budget", None
    if record.replicate:
        return "replicate", f"experiment {record.parent_number} again, with seed {record.replicate}", None
    if repeat and not repeat.ok:
        return "discard", f"{repeat.status} with {second_training(bench.task)}", None
    failed = any(earlier.source == record.source and earlier.full and not earlier.ok for earlier in bench.history)
    compared = None if failed else difference(bench, record, other)
    decision = decide_by(bench, compared)
    return decision, f"{WORDS[decision]}: {gain_over_source(bench, compared, other, 2 if repeat else 1)}", compared


def second_training(task: Task) -> str:
    return "a second seed" if task.takes_seed else "a second training"


def gain_text(found: Difference) -> str:
    """A gain and its standard error: `+0.004 ± 0.009`."""
    error = f" ± {found.se:.2g}" if found.se else ""
    return f"{found.value:+.3g}{error}"


def gain_over_source(bench: Bench, found: Difference | None, other: Experiment, seeds: int = 1) -> str:
    """A gain, its standard error, and what it was compared with, for the reason of a decision."""
    unit = f" {bench.task.unit}" if bench.task.unit else ""
    over = "with the same seed" if seeds == 1 else f"with the same {seeds} seeds"
    if not bench.task.takes_seed:
        over = "in 1 training of each" if seeds == 1 else f"in {seeds} trainings of each"
    return f"{gain_text(found)}{unit} against experiment {other.number}, {over}" if found else "nothing to compare"


def gain_over(bench: Bench, candidate: Experiment, other: Experiment) -> float | None:
    """Mean gain in metric units over the training seeds with which both sources were measured in full."""
    gains = [bench.gain(after, before) or 0.0 for before, after in same_seed_pairs(bench, candidate, other)]
    return sum(gains) / len(gains) if gains else None


def same_seed_pairs(bench: Bench, candidate: Experiment, other: Experiment) -> list[tuple[Experiment, Experiment]]:
    """(of the other source, of the candidate) for each training seed with which both were measured in full."""
    metrics = measured(bench.history, candidate.source_id)
    theirs = measured(bench.history, other.source_id)
    return [(theirs[seed], metrics[seed]) for seed in sorted(metrics.keys() & theirs.keys())]


def measured(history: Sequence[Experiment], source_id: str) -> dict[int, Experiment]:
    """A source's full experiments that did not fail: replicate number → experiment."""
    full = (trained for trained in history if trained.source_id == source_id and trained.full and trained.ok)
    return {experiment.replicate: experiment for experiment in full}


def measurements(history: Sequence[Experiment], source_id: str) -> dict[int, float]:
    """Metrics of a source's full experiments: replicate number → metric."""
    return {number: experiment.metric or 0.0 for number, experiment in measured(history, source_id).items()}


def mean_metric(bench: Bench, record: Experiment) -> float | None:
    """Mean metric of a record's source over all training seeds with which it was measured in full."""
    values = list(measurements(bench.history, record.source_id).values())
    return sum(values) / len(values) if values else None


def seed_sd(bench: Bench) -> float | None:
    """The standard deviation of the metric between training seeds: as the task's card has it, else pooled over the
    sources that this run has measured with several seeds. None if it is unknown."""
    if sd := bench.task.seed_sd:
        return sd
    sd, repeats = pooled_sd([*group.values()] for group in _repeated(bench)) or (None, 0)
    return sd or None if repeats >= LEAST_REPEATS else None


def _repeated(bench: Bench) -> list[dict[int, float]]:
    """The metrics by seed of each source that the run has measured in full with several seeds."""
    metrics: dict[str, dict[int, float]] = {}
    for record in bench.history:
        if record.full and record.metric is not None:
            metrics.setdefault(record.source_id, {})[record.replicate] = record.metric
    return [by_seed for _, by_seed in sorted(metrics.items()) if len(by_seed) > 1]


def _seed_variance(bench: Bench) -> float | None:
    """The variance of the difference of two sources on one training seed: pooled over the pairs of sources that the run
    has measured with the same seeds, else twice that of one source. None if neither is known."""
    alike: dict[tuple[int, ...], list[dict[int, float]]] = {}
    for by_seed in _repeated(bench):
        alike.setdefault(tuple(sorted(by_seed)), []).append(by_seed)
    squares, freedom = 0.0, 0
    for seeds, sources in alike.items():
        centred = [[metrics[seed] - sum(metrics.values()) / len(seeds) for seed in seeds] for metrics in sources]
        shared = [sum(column) / len(sources) for column in zip(*centred, strict=True)]  # what all have of a seed
        squares += sum((x - mean) ** 2 for row in centred for x, mean in zip(row, shared, strict=True))
        freedom += (len(sources) - 1) * (len(seeds) - 1)
    if freedom >= LEAST_REPEATS:
        return 2 * squares / freedom
    sd = seed_sd(bench)
    return None if sd is None else 2 * sd**2


def _rows_variance(bench: Bench, pairs: Sequence[tuple[Experiment, Experiment]]) -> float | None:
    """The variance of a difference by the draw of the rows, which no seed reduces: paired where the values of rows are
    known, else by their number, as if the two sources did not share them. None if neither is known."""
    import numpy as np

    sides = [list(side) for side in zip(*pairs, strict=True)]
    names = [[record.rows for record in side if record.rows] for side in sides]
    if all(len(side) == len(pairs) for side in names):
        old, new = ([bench.data.searched_rows(name) for name in side] for side in names)
        if len({len(values) for values in (*old, *new)}) == 1:
            se = paired(bench.task.sign, [np.mean(old, axis=0)], [np.mean(new, axis=0)]).se
            return None if se is None else se**2
    count = None if bench.task.data_noise == VALUES else bench.task.scoring["n_rows"]
    means = [sum(record.metric or 0.0 for record in side) / len(side) for side in sides]
    if count and all(0.0 <= mean <= 1.0 for mean in means):
        return sum(share_error(mean, count) ** 2 for mean in means)
    return None


def value(bench: Bench, record: Experiment) -> float:
    """Mean metric with the sign of the task, so greater is better; minus infinity if nothing was measured."""
    mean = mean_metric(bench, record)
    return float("-inf") if mean is None else -bench.task.sign * mean


def added_lines(candidate: Experiment, parent: Experiment) -> int:
    """Lines of source that a candidate has more than its parent; negative if it is shorter."""
    return _lines(candidate) - _lines(parent)


def _lines(record: Experiment) -> int:
    return sum(len(text.splitlines()) for _, text in record.source.files)

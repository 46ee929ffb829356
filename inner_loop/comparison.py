"""Compares sources by the measurements of one run."""

from __future__ import annotations

import math

from inner_loop.bench import Bench
from inner_loop.record import Record, measurements
from trainer.cards.card_summary import summary

#: Repeats of a run, beyond one training for each source, that suffice for a standard deviation.
LEAST_REPEATS = 2


def gain_over(bench: Bench, candidate: Record, other: Record) -> float | None:
    """Mean gain in metric units over the training seeds with which both sources were measured in full."""
    mine = measurements(bench.history, candidate.source.source_id)
    theirs = measurements(bench.history, other.source.source_id)
    common = sorted(mine.keys() & theirs.keys())
    if not common:
        return None
    return bench.task.sign * sum(theirs[seed] - mine[seed] for seed in common) / len(common)


def mean_metric(bench: Bench, record: Record) -> float | None:
    """Mean metric of a record's source over all training seeds with which it was measured in full."""
    values = list(measurements(bench.history, record.source.source_id).values())
    return sum(values) / len(values) if values else None


def seed_sd(bench: Bench) -> float | None:
    """The standard deviation of the metric between training seeds: as the task's card has it, else pooled over the
    sources that this run has measured with several seeds. None if it is unknown."""
    card = summary(bench.task)
    if card.state == "measured" and card.seed_sd:
        return card.seed_sd
    sources = {record.source.source_id for record in bench.history if record.replicate}
    groups = [list(measurements(bench.history, source).values()) for source in sorted(sources)]
    repeats = sum(len(group) - 1 for group in groups if group)
    if repeats < LEAST_REPEATS:
        return None
    squares = sum((one - sum(group) / len(group)) ** 2 for group in groups for one in group)
    return math.sqrt(squares / repeats) or None


def value(bench: Bench, record: Record) -> float:
    """Mean metric with the sign of the task, so greater is better; minus infinity if nothing was measured."""
    mean = mean_metric(bench, record)
    return float("-inf") if mean is None else -bench.task.sign * mean


def added_lines(candidate: Record, parent: Record) -> int:
    """Lines of source that a candidate has more than its parent; negative if it is shorter."""
    return _lines(candidate) - _lines(parent)


def _lines(record: Record) -> int:
    return sum(len(text.splitlines()) for _, text in record.source.files)

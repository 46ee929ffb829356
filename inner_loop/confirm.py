"""Confirmation at the end of a run: the best candidates run again with seeds that did not select them."""

from __future__ import annotations

from inner_loop.bench import Bench
from inner_loop.comparison import value
from inner_loop.events import Experiment, Proposal

#: Most candidates that share the reserved budget, and the fewest fresh seeds of each.
CANDIDATES, SEEDS = 4, 2


def confirm(bench: Bench, directive_ids: tuple[str, ...] = ()) -> Experiment:
    """Spend the remaining budget on the best sources, make the best one on fresh seeds the head, and return it.

    The head stays if the budget does not cover one fresh seed for two candidates, or if only one source was measured.
    """
    affordable = int(bench.remaining / bench.cost() + 1e-9)
    entrants = best_sources(bench, min(CANDIDATES, max(2, affordable // SEEDS)))
    if len(entrants) < 2 or affordable < len(entrants):
        return bench.head
    first = bench.next_replicate()
    again = [(entrant, first + seed) for seed in range(affordable // len(entrants)) for entrant in entrants]
    proposals = [
        Proposal(
            parent=entrant,
            directive_ids=directive_ids,
            replicate=seed,
            description=f"{entrant.description}, fresh seed {seed}",
        )
        for entrant, seed in again
    ]
    fresh: dict[int, list[float]] = {entrant.number: [] for entrant in entrants}
    for (entrant, _), record in zip(again, bench.experiments(proposals), strict=False):
        _take(bench, entrant, record, fresh)
    winner = _winner(bench, entrants, fresh)
    bench.move_head(winner)
    return winner


def best_sources(bench: Bench, count: int) -> list[Experiment]:
    """The head and the best other sources measured in full, best first, each once; includes the baseline."""
    firsts: dict[str, Experiment] = {}
    for record in bench.history:
        if record.full and record.ok:
            firsts.setdefault(record.source_id, record)
    head = firsts.pop(bench.head.source_id)
    ranked = sorted(firsts.values(), key=lambda record: -value(bench, record))
    return [head, *ranked[: count - 1]]


def _take(bench: Bench, entrant: Experiment, record: Experiment, fresh: dict[int, list[float]]) -> None:
    bench.decide(record, "confirm", f"fresh seed for experiment {entrant.number}")
    if record.metric is None:
        fresh.pop(entrant.number, None)
    elif entrant.number in fresh:
        fresh[entrant.number].append(record.metric)


def _winner(bench: Bench, entrants: list[Experiment], fresh: dict[int, list[float]]) -> Experiment:
    """The best mean over the seeds that all entrants without a failure have in common; without any, the head."""
    seeds = min((len(values) for values in fresh.values()), default=0)
    if not seeds:
        return entrants[0]
    standing = [entrant for entrant in entrants if entrant.number in fresh]
    return min(standing, key=lambda entrant: bench.task.sign * sum(fresh[entrant.number][:seeds]))

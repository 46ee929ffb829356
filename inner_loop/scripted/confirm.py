"""Confirmation at the end of a run: the best candidates run again with seeds that did not select them."""

from __future__ import annotations

import math

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
    repeats = [(entrant, first + seed) for seed in range(affordable // len(entrants)) for entrant in entrants]
    proposals = [
        Proposal(
            parent=entrant,
            directive_ids=directive_ids,
            replicate=seed,
            description=f"{entrant.description}, fresh seed {seed}",
        )
        for entrant, seed in repeats
    ]
    losses: dict[int, list[float]] = {entrant.number: [] for entrant in entrants}
    for (entrant, _), record in zip(repeats, bench.experiments(proposals), strict=False):
        bench.decide(record, "confirm", f"fresh seed for experiment {entrant.number}")
        losses[entrant.number].append(math.inf if record.metric is None else bench.task.sign * record.metric)
    complete = [entrant for entrant in entrants if math.inf not in losses[entrant.number]]
    seeds = min((len(losses[entrant.number]) for entrant in complete), default=0)  # that all of these have in common
    if not seeds:
        return bench.head
    winner = min(complete, key=lambda entrant: sum(losses[entrant.number][:seeds]))
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

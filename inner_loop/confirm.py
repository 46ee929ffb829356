"""Confirmation at the end of a run: the best candidates once more, with seeds that nobody chose them by."""

from __future__ import annotations

from inner_loop.bench import Bench
from inner_loop.comparison import value
from inner_loop.record import Record
from inner_loop.wave import ExperimentRequest
from trainer.edits import Edit

#: At most so many candidates share what was set aside; each gets at least two fresh seeds.
CANDIDATES, SEEDS = 4, 2


def confirm(bench: Bench, because: tuple[str, ...] = ()) -> Record:
    """Spend what is left on the best sources and make the best one by fresh seeds alone the head; returns it.

    Where the rest does not buy one fresh seed for two candidates, or only one was measured, the head stays.
    """
    affordable = int(bench.remaining / bench.cost() + 1e-9)
    entrants = best_sources(bench, min(CANDIDATES, max(2, affordable // SEEDS)))
    if len(entrants) < 2 or affordable < len(entrants):
        return bench.head
    first = bench.next_replicate()
    again = [(entrant, first + seed) for seed in range(affordable // len(entrants)) for entrant in entrants]
    asks = [
        ExperimentRequest(
            Edit(), entrant, because, replicate=seed, description=f"{entrant.description}, fresh seed {seed}"
        )
        for entrant, seed in again
    ]
    fresh: dict[int, list[float]] = {entrant.number: [] for entrant in entrants}
    for (entrant, _), record in zip(again, bench.experiments(asks), strict=False):
        _take(bench, entrant, record, fresh)
    winner = _winner(bench, entrants, fresh)
    bench.move_head(winner)
    return winner


def best_sources(bench: Bench, count: int) -> list[Record]:
    """The head and the best other sources measured in full, best first, each once; the baseline is one of them."""
    firsts: dict[str, Record] = {}
    for record in bench.history:
        if record.full and record.ok:
            firsts.setdefault(record.source.source_id, record)
    head = firsts.pop(bench.head.source.source_id)
    ranked = sorted(firsts.values(), key=lambda record: -value(bench, record))
    return [head, *ranked[: count - 1]]


def _take(bench: Bench, entrant: Record, record: Record, fresh: dict[int, list[float]]) -> None:
    bench.decide(record, "confirm", f"fresh seed for experiment {entrant.number}")
    if record.metric is None:
        fresh.pop(entrant.number, None)
    elif entrant.number in fresh:
        fresh[entrant.number].append(record.metric)


def _winner(bench: Bench, entrants: list[Record], fresh: dict[int, list[float]]) -> Record:
    """The best mean over the seeds that every entrant which never failed was measured with; else the head."""
    seeds = min((len(values) for values in fresh.values()), default=0)
    if not seeds:
        return entrants[0]
    standing = [entrant for entrant in entrants if entrant.number in fresh]
    return min(standing, key=lambda entrant: bench.task.sign * sum(fresh[entrant.number][:seeds]))

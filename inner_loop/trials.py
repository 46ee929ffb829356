"""Measures candidates with all their seeds, as many as the remaining budget covers; screens them in waves, and judges
them against their parent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from inner_loop.bench import Bench, BudgetSpent
from inner_loop.citations import Citations, joined
from inner_loop.comparison import added_lines, gain_over
from inner_loop.contracts import KeepRule, KeepVerdict, Proposal
from inner_loop.record import Record
from inner_loop.wave import ExperimentRequest
from programs.charter import Charter, promoted


class Trials:
    """Applies the charter's replicates, screening, simplicity and keep rule."""

    def __init__(self, charter: Charter, rule: KeepRule, citations: Citations) -> None:
        self._charter = charter
        self._rule = rule
        self._citations = citations

    def measure(self, bench: Bench, parent: Record, proposal: Proposal) -> Record:
        """Run the candidate in full, with every training seed of the charter; stop at a failure.

        The record of the first seed represents the candidate and is left undecided; the others are `replicate`. Raises
        BudgetSpent if the first seed cannot be afforded.
        """
        records = self.side_by_side(bench, parent, [proposal])
        if not records:
            raise BudgetSpent(f"{bench.remaining:.3g} s left, an experiment takes {bench.cost():.3g} s")
        return records[0]

    def side_by_side(self, bench: Bench, parent: Record, wave: Sequence[Proposal]) -> list[Record]:
        """All candidates of a wave as by `measure`, as many as the budget covers, from the first on.

        One device runs one candidate after the other, each with all its seeds. Several devices run the wave seed by
        seed: all candidates with the first seed, then those that have not failed with the next. So the number and seed
        of every experiment are known before its wave is launched.
        """
        if bench.devices == 1 and self._charter.replicates > 1:
            records_so_far: list[Record] = []
            for proposal in wave:
                first = bench.experiments([request_of(parent, proposal)])
                if not first:
                    break
                records_so_far += first
                self._replicate(bench, parent, [(first[0], proposal)])
            return records_so_far
        records = bench.experiments([request_of(parent, proposal) for proposal in wave])
        self._replicate(bench, parent, list(zip(records, wave, strict=False)))
        return records

    def _replicate(self, bench: Bench, parent: Record, pairs: Sequence[tuple[Record, Proposal]]) -> None:
        """The charter's further seeds of candidates, until they fail or the budget is spent."""
        living = [(record, proposal) for record, proposal in pairs if record.ok]
        because = self._citations.cite("replicates")
        for replicate in range(1, self._charter.replicates):
            asks = [
                request_of(
                    parent,
                    proposal,
                    replicate=replicate,
                    because=joined(proposal.because, because),
                    description=f"{record.description}, seed {replicate}",
                )
                for record, proposal in living
            ]
            further = bench.experiments(asks)
            for again, (record, _) in zip(further, living, strict=False):
                bench.decide(again, "replicate", f"seed {replicate} of experiment {record.number}")
            living = [pair for again, pair in zip(further, living, strict=False) if again.ok]

    def screen(self, bench: Bench, parent: Record, wave: Sequence[Proposal], promoted: int) -> list[Proposal]:
        """Run each proposal at a fraction of the budget; promote the best by that metric alone, best first."""
        fraction = self._charter.screen.fraction
        because = self._citations.cite("screen.fraction", "screen.promote", "wave")
        asks = [request_of(parent, p, fraction=fraction, because=joined(p.because, because)) for p in wave]
        tried = list(zip(bench.experiments(asks), wave, strict=False))  # the budget may end within the wave
        ranked = sorted(
            (pair for pair in tried if pair[0].ok), key=lambda pair: bench.task.sign * (pair[0].metric or 0.0)
        )
        ranks = {record.number: rank for rank, (record, _) in enumerate(ranked, 1)}
        for record, _ in tried:
            bench.decide(record, "screen", _screened(record, ranks.get(record.number), len(tried), promoted))
        return [proposal for _, proposal in ranked[:promoted]]

    def judge(self, bench: Bench, candidate: Record, parent: Record) -> KeepVerdict:
        """The keep rule's verdict. The charter's least gain and added lines of source raise the required gain."""
        if not candidate.ok:
            return KeepVerdict(False, f"{candidate.outcome.status}: {candidate.outcome.reason}")
        failed = self._failed_replicate(bench, candidate)
        if failed is not None:
            return KeepVerdict(False, f"{failed.outcome.status} under seed {failed.replicate}: {failed.outcome.reason}")
        earn = self._charter.simplicity * max(0, added_lines(candidate, parent))
        return self._rule.judge(bench, candidate, parent, earn=max(earn, self._charter.keep.least))

    def best_first(self, bench: Bench, candidates: Sequence[Record], parent: Record) -> list[Record]:
        """Candidates by gain over their parent; failed ones come last."""

        def rank(record: Record) -> float:
            gain = gain_over(bench, record, parent)
            return float("inf") if gain is None else -gain

        return sorted(candidates, key=rank)

    def _failed_replicate(self, bench: Bench, candidate: Record) -> Record | None:
        """A later seed with which the candidate failed; a source that fails with some seed is not kept."""
        later = bench.history[candidate.number + 1 :]
        mine = (r for r in later if r.source.source_id == candidate.source.source_id and r.full)
        return next((record for record in mine if not record.ok), None)


def request_of(parent: Record, one: Proposal, **other: Any) -> ExperimentRequest:
    """The request for a proposal's experiment; ``other`` overrides its fields."""
    ask = ExperimentRequest(
        one.edit, parent, one.because, description=one.description, proposer=one.proposer, source=one.source
    )
    return replace(ask, **other)


def _screened(record: Record, rank: int | None, count: int, promoted: int) -> str:
    if rank is None:
        return f"{record.outcome.status}: {record.outcome.reason}"
    return f"place {rank} of {count}{', promoted' if rank <= promoted else ''}"


def next_wave(bench: Bench, charter: Charter) -> tuple[int, int]:
    """(candidates to draw, how many to promote). promoted = 0: all are trained in full at once, as are those of a task
    that cannot be given a part of its budget.

    A wave that the budget cannot finish is made smaller, because a screened candidate that cannot be promoted is
    wasted. (0, 0) if not even one full candidate can be afforded.
    """
    full = bench.cost() * charter.replicates
    if not bench.meter.affords(full):
        return 0, 0
    fraction = bench.part(charter.screen.fraction)
    if fraction < 1.0:
        for size in range(charter.wave, 1, -1):
            chosen = promoted(size, charter.screen.promote)
            if chosen < size and bench.meter.affords(size * bench.cost(fraction) + chosen * full):
                return size, chosen
    size = charter.wave if fraction >= 1.0 else 1
    while size > 1 and not bench.meter.affords(size * full):
        size -= 1
    return size, 0

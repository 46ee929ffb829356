"""Measures candidates with all their seeds, as many as the remaining budget covers; screens them in waves, and judges
them against their parent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from inner_loop.bench import Bench, BudgetSpent
from inner_loop.comparison import added_lines, gain_over, measurements
from inner_loop.contracts import KeepRule, KeepVerdict, MoreSeeds
from inner_loop.events import Experiment, Proposal
from programs.charter import Charter, promoted
from programs.program import Program


class Trials:
    """Applies the charter's replicates, screening, simplicity and keep rule."""

    def __init__(self, program: Program, rule: KeepRule) -> None:
        self._program, self._charter, self._rule = program, program.charter, rule

    def measure(self, bench: Bench, parent: Experiment, proposal: Proposal) -> Experiment:
        """Run the candidate in full, with every training seed of the charter; stop at a failure.

        The record of the first seed represents the candidate and is left undecided; the others are `replicate`. Raises
        BudgetSpent if the first seed cannot be afforded.
        """
        records = self.side_by_side(bench, parent, [proposal])
        if not records:
            raise BudgetSpent(f"{bench.remaining:.3g} s left, an experiment takes {bench.cost():.3g} s")
        return records[0]

    def side_by_side(self, bench: Bench, parent: Experiment, wave: Sequence[Proposal]) -> list[Experiment]:
        """All candidates of a wave as by `measure`, as many as the budget covers, from the first on.

        One device runs one candidate after the other, each with all its seeds. Several devices run the wave seed by
        seed: all candidates with the first seed, then those that have not failed with the next. So the number and seed
        of every experiment are known before its wave is launched.
        """
        proposals = [replace(proposal, parent=parent) for proposal in wave]
        candidates: list[Experiment] = []
        for group in [proposals] if bench.devices > 1 else [[proposal] for proposal in proposals]:
            first = bench.experiments(group)
            if not first:
                break
            candidates += first
            self._replicate(bench, list(zip(first, group, strict=False)))
        return candidates

    def _replicate(self, bench: Bench, pairs: Sequence[tuple[Experiment, Proposal]]) -> None:
        """The charter's further seeds of candidates, until they fail or the budget is spent."""
        living = [(candidate, proposal) for candidate, proposal in pairs if candidate.ok]
        cited = self._program.cite("replicates")
        for replicate in range(1, self._charter.replicates):
            proposals = [
                replace(
                    proposal,
                    replicate=replicate,
                    directive_ids=tuple(dict.fromkeys((*proposal.directive_ids, *cited))),
                    description=f"{candidate.description}, seed {replicate}",
                )
                for candidate, proposal in living
            ]
            further = bench.experiments(proposals)
            for experiment, (candidate, _) in zip(further, living, strict=False):
                bench.decide(experiment, "replicate", f"seed {replicate} of experiment {candidate.number}")
            living = [pair for experiment, pair in zip(further, living, strict=False) if experiment.ok]

    def screen(self, bench: Bench, parent: Experiment, wave: Sequence[Proposal], promoted: int) -> list[Proposal]:
        """Run each proposal at a fraction of the budget; promote the best by that metric alone, best first."""
        cited = self._program.cite("screen.fraction", "screen.promote", "wave")
        fraction = self._charter.screen.fraction
        proposals = [
            replace(
                proposal,
                parent=parent,
                fraction=fraction,
                directive_ids=tuple(dict.fromkeys((*proposal.directive_ids, *cited))),
            )
            for proposal in wave
        ]
        tried = list(zip(bench.experiments(proposals), wave, strict=False))  # the budget may end within the wave
        ranked = sorted(
            (pair for pair in tried if pair[0].ok), key=lambda pair: bench.task.sign * (pair[0].metric or 0.0)
        )
        ranks = {experiment.number: rank for rank, (experiment, _) in enumerate(ranked, 1)}
        for experiment, _ in tried:
            reason = _screened(experiment, ranks.get(experiment.number), len(tried), promoted)
            bench.decide(experiment, "screen", reason)
        return [proposal for _, proposal in ranked[:promoted]]

    def judge(self, bench: Bench, candidate: Experiment, parent: Experiment) -> KeepVerdict:
        """The keep rule's verdict. The charter's least gain and added lines of source raise the required gain."""
        if not candidate.ok:
            return KeepVerdict(False, f"{candidate.status}: {candidate.reason}")
        for later in bench.history[candidate.number + 1 :]:  # a source that fails with some seed is not kept
            if later.source_id == candidate.source_id and later.full and not later.ok:
                return KeepVerdict(False, f"{later.status} under seed {later.replicate}: {later.reason}")
        earn = self._charter.simplicity * max(0, added_lines(candidate, parent))
        earn = max(earn, self._charter.keep.least)
        cited = self._program.cite("keep.rule", "keep.pairs")
        return verdict_of(self._rule, bench, candidate, parent, cited, earn=earn)

    def best_first(self, bench: Bench, candidates: Sequence[Experiment], parent: Experiment) -> list[Experiment]:
        """Candidates by gain over their parent; failed ones come last."""

        def rank(record: Experiment) -> float:
            gain = gain_over(bench, record, parent)
            return float("inf") if gain is None else -gain

        return sorted(candidates, key=rank)


def prepare_rule(rule: KeepRule, bench: Bench, directive_ids: tuple[str, ...] = ()) -> None:
    """Train the baseline with the seeds that a keep rule needs beyond those that it was trained with."""
    have = len(measurements(bench.history, bench.baseline.source_id))
    for replicate in range(have, rule.baseline_seeds(bench.task)):
        description = f"baseline, seed {replicate}: noise"
        proposal = Proposal(
            directive_ids=directive_ids, replicate=replicate, description=description, parent=bench.baseline
        )
        bench.decide(bench.experiment(proposal), "replicate", "noise of the baseline")


def verdict_of(
    rule: KeepRule,
    bench: Bench,
    candidate: Experiment,
    parent: Experiment,
    directive_ids: tuple[str, ...] = (),
    *,
    earn: float = 0.0,
) -> KeepVerdict:
    """A keep rule's verdict, after all the further seeds that it asks for, as far as the budget covers them: these
    experiments cite ``directive_ids``."""
    further: list[Experiment] = []
    while True:
        answer = rule.judge(bench, candidate, parent, further, earn=earn)
        if isinstance(answer, KeepVerdict):
            return answer
        try:
            further += _more_seeds(bench, answer, directive_ids)
        except BudgetSpent:
            return answer.otherwise


def _more_seeds(bench: Bench, request: MoreSeeds, directive_ids: tuple[str, ...]) -> list[Experiment]:
    """What a keep rule asks for. BudgetSpent where the budget does not cover all of it."""
    if not bench.can_afford(count=len(request.sources)):
        raise BudgetSpent("no budget left for further seeds")
    experiments: list[Experiment] = []
    for source in request.sources:
        description = f"{source.description}, fresh seed {request.replicate}"
        experiment = bench.experiment(
            Proposal(
                parent=source,
                directive_ids=directive_ids,
                replicate=request.replicate,
                description=description,
            )
        )
        bench.decide(experiment, "replicate", request.reason)
        experiments.append(experiment)
    return experiments


def _screened(record: Experiment, rank: int | None, count: int, promoted: int) -> str:
    if rank is None:
        return f"{record.status}: {record.reason}"
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

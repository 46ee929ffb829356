"""The researcher that works wave by wave: it screens, measures and keeps by a program's charter.

What a wave consists of is drawn by a subclass: by the program's proposers and ideas here (the scripted researcher), by
a model in `chat`.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace

from inner_loop.behaviour import resolved_ideas
from inner_loop.bench import Bench, BudgetSpent
from inner_loop.contracts import Situation, Turn, TurnResearcher
from inner_loop.events import Experiment, Proposal
from inner_loop.run_context import RunContext
from inner_loop.scripted import keep, proposers
from inner_loop.scripted.confirm import confirm
from inner_loop.scripted.surroundings import Surroundings
from inner_loop.scripted.trials import Trials, next_wave, prepare_rule
from programs.program import Program
from trainer.edits import Edit, EditError
from trainer.source import Source
from trainer.task import Task

#: Extra draws of a wave for proposals that do not apply or repeat a source.
DRAWS = 50
REDRAWS = 5  # for a proposal that no other turn of the same round makes


class WaveResearcher(TurnResearcher):
    """Repeats rounds: draw a wave, screen it, train the promoted candidates, apply the keep rule. A subclass draws.

    All its choices follow from the program, the outcomes and what is drawn, so a run can be resumed by replay.
    """

    def __init__(self, program: Program) -> None:
        self._program, self._charter = program, program.charter
        self._rule = keep.make(program.charter.keep)
        self._trials = Trials(program, self._rule)

    def draw(self, bench: Bench, size: int) -> list[Proposal]:
        """Up to ``size`` proposals that apply to the bench's head."""
        raise NotImplementedError

    def work(self, bench: Bench) -> None:
        """Raises what `draw` raises, besides what every researcher may raise."""
        try:
            bench.set_aside(self._for_confirmation(bench))
            with suppress(BudgetSpent):
                self._prepare(bench)
                while self._round(bench):
                    pass
            bench.set_aside(0.0)
            if self._charter.confirm > 0:
                confirm(bench, self._program.cite("confirm"))
        finally:
            self.close()

    def turn(self, bench: Bench, most: int, taken: Collection[Source] = ()) -> Turn:
        """One edit of the head, by the settings that say what is tried."""
        for _ in range(REDRAWS):
            proposal = next(iter(self.draw(bench, 1)), None)
            if proposal is None:
                return
            if bench.proposed_source(proposal) not in taken:
                yield proposal
                return

    def _for_confirmation(self, bench: Bench) -> float:
        """Device-seconds to reserve; 0 if they do not cover one fresh seed for two candidates."""
        share = self._charter.confirm * bench.budget_seconds
        return share if share >= 2 * bench.cost() else 0.0

    def _prepare(self, bench: Bench) -> None:
        """Run the baseline's other seeds, and what the keep rule needs."""
        for replicate in range(1, self._charter.replicates):
            description = f"baseline, seed {replicate}"
            proposal = Proposal(
                directive_ids=self._program.cite("replicates"), replicate=replicate, description=description
            )
            bench.decide(bench.experiment(proposal), "replicate", f"seed {replicate} of the baseline")
        prepare_rule(self._rule, bench, self._program.cite("keep.rule", "keep.margin"))

    def _round(self, bench: Bench) -> bool:
        """One wave from the head; False when the budget or the edits are used up."""
        size, promoted = next_wave(bench, self._charter)
        parent = bench.head
        wave = self.draw(bench, size)
        if not wave:
            return False
        self.ahead(bench, wave)
        if 0 < promoted < len(wave):
            chosen = self._trials.screen(bench, parent, wave, promoted)
            self._one_after_another(bench, parent, chosen)
        else:
            self._side_by_side(bench, parent, wave)
        return True

    def _one_after_another(self, bench: Bench, start: Experiment, chosen: list[Proposal]) -> None:
        """Promoted candidates by rank, each applied to what the wave has kept so far."""
        parent = start
        for proposal in chosen:
            fitting = proposal if parent is start else self.refit(bench, proposal)
            if fitting is None:
                continue
            candidate = self._trials.measure(bench, parent, fitting)
            if self._decide(bench, candidate, parent):
                parent = candidate

    def _side_by_side(self, bench: Bench, parent: Experiment, wave: list[Proposal]) -> None:
        """All of a wave in full from one parent; the best one is kept, if the rule keeps it."""
        candidates = self._trials.side_by_side(bench, parent, wave)
        winner: Experiment | None = None
        for candidate in self._trials.best_first(bench, candidates, parent):
            if winner is not None:
                bench.decide(candidate, "discard", f"experiment {winner.number} of the same wave was kept")
            elif self._decide(bench, candidate, parent):
                winner = candidate

    def _decide(self, bench: Bench, candidate: Experiment, parent: Experiment) -> bool:
        verdict = self._trials.judge(bench, candidate, parent)
        bench.decide(candidate, verdict.decision, verdict.reason, verdict.compared)
        return verdict.keep


class ScriptedResearcher(WaveResearcher):
    """All chance comes from the seed."""

    def __init__(self, program: Program, task: Task, seed: int, context: RunContext) -> None:
        import numpy as np

        super().__init__(program)
        self._rng = np.random.default_rng(seed)
        self._surroundings = Surroundings(program.charter, task.edits)
        self._directive_ids = program.cite("proposers", "focus")
        ideas = resolved_ideas(program, task)
        self._proposer = proposers.make(program.charter, ideas, self._directive_ids, program.program_id)

    def draw(self, bench: Bench, size: int) -> list[Proposal]:
        wave: list[Proposal] = []
        for _ in range(size + DRAWS):
            if len(wave) == size:
                break
            situation = self._surroundings.situation(bench, bench.head)
            proposal = self._proposer.propose(situation, self._rng)
            if proposal is None:
                break
            fresh = all(proposal.edit != other.edit for other in wave)
            if fresh and self._applies(bench, situation, proposal.edit):
                self._surroundings.plan(bench.head, proposal.edit)
                wave.append(replace(proposal, directive_ids=proposal.directive_ids or self._directive_ids))
        return wave

    def refit(self, bench: Bench, proposal: Proposal) -> Proposal | None:
        situation = self._surroundings.situation(bench, bench.head)
        fits = situation.allowed(proposal.edit) and self._applies(bench, situation, proposal.edit)
        return proposal if fits else None

    def _applies(self, bench: Bench, situation: Situation, edit: Edit) -> bool:
        try:
            source = bench.source_of(edit, situation.parent)
        except EditError:
            source = None
        if source is None or source == situation.parent.source or self._surroundings.repeats(source.source_id):
            self._surroundings.does_not_apply(situation.parent, edit)
            return False
        return True


make = ScriptedResearcher

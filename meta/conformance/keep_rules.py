"""What a run expects of a keep rule: better is kept, worse is not, and a judgement buys no more than it announces."""

from __future__ import annotations

import pytest

from inner_loop import keep
from inner_loop.citations import Citations
from inner_loop.contracts import KeepRule
from meta.conformance.base import BAD, FAILING, GOOD, Conformance, open_bench
from programs.charter import Keep
from programs.program import Program
from trainer.experiment import Trainer
from trainer.planted import COST


class KeepRuleConformance(Conformance):
    """On edits whose effects are many times the noise of a training."""

    @pytest.fixture
    def rule(self, name: str) -> KeepRule:
        return keep.make(Keep(rule=name), Citations(Program.parse("# Research\n\nMake it better.\n")))

    def test_better_is_kept_and_worse_is_not(self, trainer: Trainer, rule: KeepRule, name: str) -> None:
        """Candidates stay undecided; what the rule itself buys is decided."""
        bench, _ = open_bench(trainer)
        rule.prepare(bench)
        assert rule.name == name
        for edit, kept in ((GOOD, True), (BAD, False), (FAILING, False)):
            candidate = bench.experiment(edit)
            before = bench.remaining
            verdict = rule.judge(bench, candidate, bench.baseline)
            assert verdict.keep is kept and verdict.reason
            assert (verdict.gain or 0) > 0 or not kept
            assert before - bench.remaining <= rule.extra * COST + 1e-9
            assert candidate.decision == ""
        assert all(record.decision for record in bench.history if record.replicate > 0)

    def test_a_minimum_gain_raises_the_bar(self, trainer: Trainer, rule: KeepRule) -> None:
        bench, _ = open_bench(trainer)
        rule.prepare(bench)
        assert not rule.judge(bench, bench.experiment(GOOD), bench.baseline, earn=10.0).keep

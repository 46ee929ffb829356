"""Every keep rule keeps the Protocol; what each of them is for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inner_loop import keep
from inner_loop.citations import Citations
from inner_loop.contracts import KeepRule
from inner_loop.keep.better import verdict
from inner_loop.keep.margin import card_sd
from meta.conformance import KeepRuleConformance
from programs.charter import KEEP_RULES, Keep
from tests.events import of
from tests.inner_loop.play import open_bench, program
from trainer.edits import Edit
from trainer.experiment import Trainer

GOOD = Edit({"LR": 0.3, "MOMENTUM": 0.9})
CITATIONS = Citations(program())


def make(rule: str, **more: float) -> KeepRule:
    return keep.make(Keep.model_validate({"rule": rule, **more}), CITATIONS)


@pytest.mark.parametrize("name", KEEP_RULES.built_in)
class TestEveryKeepRule(KeepRuleConformance):
    pass


def test_margin_counts_in_sd_of_the_baseline(cached: Trainer) -> None:
    bench, events = open_bench(cached, 40)
    wide = make("margin", margin=100.0)
    wide.prepare(bench)
    bought = [e for e in of(events, "experiment") if e["replicate"] > 0]
    assert len(bought) == 2
    assert {e["source_id"] for e in bought} == {bench.baseline.source.source_id}
    slightly = bench.experiment(Edit({"LR": 0.03}))
    assert (bench.gain(slightly, bench.baseline) or 0) > 0
    assert not wide.judge(bench, slightly, bench.baseline).keep
    assert make("better").judge(bench, slightly, bench.baseline).keep


def test_margin_takes_the_sd_of_the_card_where_there_is_one(trainer: Trainer) -> None:
    assert card_sd(trainer.task) is None
    assert card_sd(replace(trainer.task, card={"baseline": {"mean": 1.0, "sd": 0.02}})) == 0.02


def test_paired_uses_seeds_that_neither_was_chosen_by(cached: Trainer) -> None:
    bench, events = open_bench(cached, 40)
    candidate = bench.experiment(GOOD)
    found = make("paired", pairs=3).judge(bench, candidate, bench.baseline)
    extra = [e for e in of(events, "experiment") if e["number"] > 1]
    assert [e["replicate"] for e in extra] == [1, 1, 2, 2, 3, 3]
    metric = {(e["source_id"], e["replicate"]): e["metric"] for e in extra}
    mine, base = candidate.source.source_id, bench.baseline.source.source_id
    mean = sum(metric[base, k] - metric[mine, k] for k in (1, 2, 3)) / 3
    assert found.gain == pytest.approx(mean)


def test_paired_does_not_keep_what_it_could_not_pair(trainer: Trainer) -> None:
    bench, _ = open_bench(trainer, 3)
    candidate = bench.experiment(GOOD)
    found = make("paired").judge(bench, candidate, bench.baseline)
    assert not found.keep
    assert "no budget left" in found.reason


def test_what_is_equal_is_not_kept() -> None:
    """A change that does nothing would be credited with what follows it."""
    assert not verdict(0.0, 0.0, "nats").keep and not verdict(0.2, 0.2, "nats").keep
    assert verdict(1e-9, 0.0, "nats").keep and verdict(0.3, 0.2, "nats").keep
    assert not verdict(None, 0.0, "nats").keep

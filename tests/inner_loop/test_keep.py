"""Every keep rule keeps the Protocol; what each of them is for."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inner_loop.bench import BudgetSpent
from inner_loop.comparison import measurements
from inner_loop.contracts import KeepRule
from inner_loop.events import Proposal
from inner_loop.scripted import keep
from inner_loop.scripted.keep.better import verdict
from inner_loop.scripted.trials import prepare_rule, verdict_of
from programs.charter import KEEP_RULES, Keep
from tests.conformance import KeepRuleConformance
from tests.events import of
from tests.inner_loop.play import STREAMS_OF_TESTS, open_bench, play, program
from tests.studies import planted
from trainer.data import DataStore
from trainer.edits import Edit
from trainer.experiment import Outcome, Spec, Trainer

GOOD = Edit({"LR": 0.3, "MOMENTUM": 0.9})


def make(rule: str, **more: float) -> KeepRule:
    return keep.make(Keep.model_validate({"rule": rule, **more}))


@pytest.mark.parametrize("name", KEEP_RULES.built_in)
class TestEveryKeepRule(KeepRuleConformance):
    pass


def test_margin_counts_in_sd_of_the_baseline(cached: Trainer) -> None:
    bench, events = open_bench(cached, 40)
    wide = make("margin", margin=100.0)
    prepare_rule(wide, bench)
    bought = [e["source_id"] for e in of(events, "experiment") if e["replicate"] > 0]
    assert bought == [bench.baseline.source.source_id] * 2
    slightly = bench.experiment(Proposal(Edit({"LR": 0.03})))
    assert (bench.gain(slightly, bench.baseline) or 0) > 0
    assert not verdict_of(wide, bench, slightly, bench.baseline).keep
    assert verdict_of(make("better"), bench, slightly, bench.baseline).keep


@pytest.mark.parametrize(
    ("is_fresh", "sd", "bought"), [(True, 0.02, 0), (False, 0.02, 2), (True, float("nan"), 2), (True, None, 2)]
)
def test_margin_uses_the_sd_of_a_fresh_card(cached: Trainer, is_fresh: bool, sd: float | None, bought: int) -> None:
    bench, events = open_bench(cached, 40)
    source, task_id = bench.task.baseline().source_id, bench.task.task_id if is_fresh else "t0"
    card = {"task_id": task_id, "baseline_source": source, "baseline": {"mean": 1.0, "sd": sd}}
    bench.task = replace(bench.task, card=card)
    rule = make("margin", margin=100.0)
    prepare_rule(rule, bench)
    assert len([e for e in of(events, "experiment") if e["replicate"] > 0]) == bought
    found = verdict_of(rule, bench, bench.experiment(Proposal(Edit({"LR": 0.03}))), bench.baseline)
    assert not found.keep and ("needs more than 2 " in f"{found.reason} ") == (bought == 0)


class Changed(Trainer):
    """A trainer whose outcomes under one seed are changed."""

    def __init__(self, trainer: Trainer, replicate: int, **changes: Any) -> None:
        super().__init__(trainer.task, trainer.data, launcher=trainer.launcher, fixed_steps=True)
        self.seed, self.changes = STREAMS_OF_TESTS.seed("search", "train", 3, replicate), changes

    def run(self, spec: Spec, *, use_cache: bool = True, alone: bool = False) -> Outcome:
        outcome = super().run(spec, use_cache=use_cache, alone=alone)
        return replace(outcome, **self.changes) if spec.seed == self.seed else outcome


def test_margin_with_one_seed_of_the_baseline_is_undecided(trainer: Trainer) -> None:
    bench, _ = open_bench(Changed(trainer, 1, status="crash", metric=None), 3)
    candidate, rule = bench.experiment(Proposal(GOOD)), make("margin", margin=1.0)
    with suppress(BudgetSpent):
        prepare_rule(rule, bench)
    assert len(measurements(bench.history, bench.baseline.source.source_id)) == 1
    assert verdict_of(rule, bench, candidate, bench.baseline).decision == "undecided"


def test_paired_uses_seeds_that_neither_was_chosen_by(cached: Trainer) -> None:
    bench, events = open_bench(cached, 40)
    candidate = bench.experiment(Proposal(GOOD))
    found = verdict_of(make("paired", pairs=3), bench, candidate, bench.baseline)
    extra = [e for e in of(events, "experiment") if e["number"] > 1]
    assert [e["replicate"] for e in extra] == [1, 1, 2, 2, 3, 3]
    metric = {(e["source_id"], e["replicate"]): e["metric"] for e in extra}
    mine, base = candidate.source.source_id, bench.baseline.source.source_id
    mean = sum(metric[base, k] - metric[mine, k] for k in (1, 2, 3)) / 3
    assert found.gain == pytest.approx(mean)


def test_paired_whose_budget_ends_within_a_pair_keeps_its_pairs(trainer: Trainer) -> None:
    """The first of the second pair costs more than expected, so its partner cannot be afforded. Without one whole pair
    nothing is kept."""
    short, _ = open_bench(trainer, 3)
    found = verdict_of(make("paired"), short, short.experiment(Proposal(GOOD)), short.baseline)
    assert not found.keep and "no budget left" in found.reason
    bench, events = open_bench(Changed(trainer, 2, device_seconds_charged=100.0), 40)
    found = verdict_of(make("paired", pairs=3), bench, bench.experiment(Proposal(GOOD)), bench.baseline)
    assert [e["replicate"] for e in of(events, "experiment")][2:] == [1, 1, 2]
    assert found.keep and found.reason.endswith("over 1 fresh pairs")


def test_what_is_equal_is_not_kept() -> None:
    """A change that does nothing would be credited with what follows it."""
    assert not verdict(0.0, 0.0, "nats").keep and not verdict(0.2, 0.2, "nats").keep
    assert verdict(1e-9, 0.0, "nats").keep and verdict(0.3, 0.2, "nats").keep
    assert not verdict(None, 0.0, "nats").keep


def test_least_gain_is_needed_to_keep(tmp_path: Path) -> None:
    task = planted(tmp_path / "planted", 5)
    trainer = Trainer(task, DataStore(task, STREAMS_OF_TESTS, tmp_path), fixed_steps=True)

    def kept(charter: str) -> list[float]:
        played = play(trainer, program(charter), 40, full=task.steps * task.seconds_per_step)
        by_number = {row["number"]: row["metric"] for row in played.experiments}
        rows = [row for row in played.decided("keep") if row["number"]]
        return [task.sign * (by_number[row["parent_number"]] - row["metric"]) for row in rows]

    assert 0 < min(kept("")) < 0.05 < min(kept("keep: {least: 0.05}"))
    assert kept("keep: {least: 100}") == []

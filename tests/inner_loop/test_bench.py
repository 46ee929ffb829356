"""The bench alone: metering, refusing, recording, moving the head."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from inner_loop.bench import Bench, BudgetSpent
from inner_loop.events import Proposal
from programs.common.errors import EnvironmentProblem
from tests.events import into, of, typed
from tests.inner_loop.play import FULL, STREAMS_OF_TESTS, open_bench, play, program
from trainer.data import DataStore
from trainer.edits import Edit, EditError
from trainer.experiment import Outcome, Spec, Trainer
from trainer.jobs.job import LauncherFault
from trainer.outcome import Cache
from trainer.sandbox.local import LocalLauncher

LR = Edit({"LR": 0.1})


def test_what_cannot_be_afforded_is_refused(trainer: Trainer) -> None:
    bench, events = open_bench(trainer, 2.5)
    bench.experiment(Proposal(LR))
    with pytest.raises(BudgetSpent):
        bench.experiment(Proposal(LR))
    assert bench.experiment(Proposal(LR, fraction=0.5)).fraction == 0.5
    assert not bench.is_open
    assert len(of(events, "experiment")) == 3


def test_what_is_set_aside_is_spent_only_when_released(trainer: Trainer) -> None:
    bench, _ = open_bench(trainer, 3)
    bench.set_aside(1.5 * FULL)
    with pytest.raises(BudgetSpent):
        bench.experiment(Proposal(LR))
    bench.set_aside(0)
    assert bench.experiment(Proposal(LR)).ok


def test_a_closed_bench_takes_nothing(trainer: Trainer) -> None:
    bench, _ = open_bench(trainer)
    bench.close()
    with pytest.raises(BudgetSpent):
        bench.experiment(Proposal(LR))


def test_keep_moves_the_head_and_discard_does_not(trainer: Trainer) -> None:
    bench, events = open_bench(trainer)
    first = bench.experiment(Proposal(LR))
    bench.decide(first, "discard", "for the test")
    assert bench.head is bench.baseline
    second = bench.experiment(Proposal(LR))
    bench.decide(second, "keep", "for the test")
    assert bench.head is second
    assert [e["decision"] for e in of(events, "decision")] == ["baseline", "discard", "keep"]
    with pytest.raises(RuntimeError, match="decided already"):
        bench.decide(second, "discard", "again")


def test_replicates_are_other_training_seeds_of_the_same_source(trainer: Trainer) -> None:
    bench, _ = open_bench(trainer)
    again = bench.experiment(Proposal(Edit(), replicate=1))
    assert again.source == bench.baseline.source
    assert again.seed != bench.baseline.seed
    assert again.metric != bench.baseline.metric
    assert bench.next_replicate() == 2


def test_an_edit_that_does_not_apply_costs_nothing(trainer: Trainer) -> None:
    bench, _events = open_bench(trainer)
    bench.decide(bench.experiment(Proposal(Edit({}, ("bias",)))), "keep", "for the test")
    with pytest.raises(EditError):
        bench.experiment(Proposal(Edit({}, ("squares",))))
    assert len(bench.history) == 2
    assert bench.remaining == pytest.approx(18 * FULL)


def test_the_cache_is_charged_in_full_and_spends_nothing(trainer: Trainer, data: DataStore, tmp_path: Path) -> None:
    cached = Trainer(trainer.task, data, launcher=trainer.launcher, cache=Cache(tmp_path / "cache"), fixed_steps=True)
    first = play(cached, program(), 4)
    again = play(cached, program(), 4)
    assert again.result.charged == first.result.charged
    assert again.result.cached_seconds == pytest.approx(4 * FULL)
    assert again.result.spent == 0.0
    assert [e["metric"] for e in again.experiments] == [e["metric"] for e in first.experiments]


class _Suspicious(Trainer):
    """A trainer that notices something about every outcome."""

    def run(self, spec: Spec, *, use_cache: bool = True, alone: bool = False) -> Outcome:
        outcome = super().run(spec, use_cache=use_cache)
        return replace(outcome, findings=(f"leak: 0.1 under seed {spec.seed}", "odd"))


def test_findings_are_told_before_the_experiment_and_not_again(trainer: Trainer, data: DataStore) -> None:
    watchful = _Suspicious(trainer.task, data, launcher=trainer.launcher, fixed_steps=True)
    bench, events = open_bench(watchful, 3)
    assert [event["kind"] for event in events[:3]] == ["finding", "finding", "experiment"]
    first, second, experiment = events[:3]
    assert (first["finding"], first["text"]) == ("leak", f"0.1 under seed {bench.baseline.seed}")
    assert (second["finding"], second["text"]) == ("other", "odd")
    assert first["experiment_id"] == experiment["experiment_id"] and first["stream"] == "search"
    again, told = open_bench(watchful, 3, recorded=typed(events))
    assert told == [] and again.baseline.findings == bench.baseline.findings


class _Unplugged(LocalLauncher):
    """A launcher whose template process cannot be started."""

    def start(self, data: Path | None = None) -> None:
        raise LauncherFault("no process can be started")


def test_a_fault_of_ours_is_no_outcome_and_never_charged(trainer: Trainer, data: DataStore) -> None:
    events: list[dict[str, object]] = []
    broken = Trainer(trainer.task, data, launcher=_Unplugged(), fixed_steps=True)
    bench = Bench(
        broken,
        run_id="r0",
        run_seed=3,
        streams=STREAMS_OF_TESTS,
        budget_seconds=1,
        emit=into(events),
    )
    with pytest.raises(EnvironmentProblem, match="no process can be started"):
        bench.start()
    assert [event["kind"] for event in events] == ["fault"] and "no process" in str(events[0]["reason"])
    assert bench.meter.charged == 0.0

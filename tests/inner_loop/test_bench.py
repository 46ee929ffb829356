"""The bench alone, and its meter: metering, refusing, recording, moving the head."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from inner_loop.bench import Bench, BudgetSpent
from inner_loop.events import Experiment, Proposal
from inner_loop.meter import EPSILON, RunMeter
from programs.common.errors import EnvironmentProblem
from tests.events import example, into, of, typed
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


def test_budget_set_aside_is_spent_when_released_and_not_closed(trainer: Trainer) -> None:
    bench, _ = open_bench(trainer, 4)
    bench.set_aside(2.5 * FULL)
    with pytest.raises(BudgetSpent):
        bench.experiment(Proposal(LR))
    bench.set_aside(0)
    assert bench.experiment(Proposal(LR)).ok
    bench.close()
    with pytest.raises(BudgetSpent):
        bench.experiment(Proposal(LR))


def test_keep_moves_the_head_and_discard_does_not(trainer: Trainer) -> None:
    bench, events = open_bench(trainer)
    for decision, head in (("discard", 0), ("keep", 2)):
        record = bench.experiment(Proposal(LR))
        bench.decide(record, decision, "for the test")
        assert bench.head is bench.history[head]
    assert [e["decision"] for e in of(events, "decision")] == ["baseline", "discard", "keep"]
    with pytest.raises(RuntimeError, match="decided already"):
        bench.decide(record, "discard", "again")


def test_replicate_has_another_training_seed_of_the_source(trainer: Trainer) -> None:
    bench, _ = open_bench(trainer)
    again, base = bench.experiment(Proposal(Edit(), replicate=1)), bench.baseline
    assert again.source == base.source and again.seed != base.seed and again.metric != base.metric
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


def test_fault_of_ours_is_no_outcome_and_never_charged(trainer: Trainer, data: DataStore) -> None:
    events: list[dict[str, object]] = []
    broken = Trainer(trainer.task, data, launcher=_Unplugged(), fixed_steps=True)
    how = {"run_id": "r0", "run_seed": 3, "streams": STREAMS_OF_TESTS, "budget_seconds": 1.0, "emit": into(events)}
    bench = Bench(broken, **how)  # type: ignore[arg-type]
    with pytest.raises(EnvironmentProblem, match="no process can be started"):
        bench.start()
    assert [event["kind"] for event in events] == ["fault"] and "no process" in str(events[0]["reason"])
    assert bench.meter.charged == 0.0


# --- its meter ------------------------------------------------------------------------------------------------------


def ended(status: str, seconds: float = 2.0, fraction: float = 1.0) -> Experiment:
    return example(
        Experiment, status=status, metric=1.0 if status == "ok" else None, fraction=fraction,
        device_seconds_charged=seconds, device_seconds_spent=seconds,
    )  # fmt: skip


@pytest.mark.parametrize("status", ["ok", "crash", "invalid", "oom", "timeout", "fault"])
def test_meter_charges_whatever_came_of_an_experiment(status: str) -> None:
    meter = RunMeter(budget=10.0, prior=1.0, soft=0.5)
    meter.add(ended(status))
    assert (meter.charged, meter.spent, meter.remaining) == (2.0, 2.0, 8.0)
    meter.add(ended(status, 10.0))
    assert (meter.overshoot, meter.remaining, meter.forfeited) == (2.0, 0.0, 0.0) and not meter.affords(0.5)


def test_what_is_left_pays_the_whole_of_what_it_affords() -> None:
    meter = RunMeter(budget=10.0, prior=1.0, soft=0.5)
    meter.add(ended("ok", 6.0))
    assert meter.affords(4.0) and meter.affords(4.0 + EPSILON / 2)
    assert not meter.affords(4.0 + 1e-6) and not meter.affords(4.5)
    meter.aside = 1.0
    assert meter.remaining == 3.0 and not meter.affords(3.5)
    assert meter.forfeited == 4.0  # what is set aside is still the run's


def test_next_cost_is_expected_from_those_that_ended_well() -> None:
    """Launch and scoring do not shrink with the fraction: of 4 s, 1 s does."""
    meter = RunMeter(budget=100.0, prior=4.0, soft=1.0)
    assert (meter.expected(), meter.expected(0.25)) == (4.0, 3.25)
    meter.add(ended("crash", 0.5))
    assert meter.expected() == 4.0
    meter.add(ended("ok", 5.0))
    meter.add(ended("ok", 7.0))
    assert (meter.expected(), meter.expected(0.5)) == (6.0, 5.5)
    meter.add(ended("ok", 2.0, fraction=0.5))
    assert (meter.expected(), meter.expected(0.5)) == (6.0, 2.0)

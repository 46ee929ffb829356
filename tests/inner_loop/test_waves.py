"""A run with several devices: its waves side by side, its outcome that of a run with one."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from inner_loop.bench import Bench, BudgetSpent, RunStopped
from inner_loop.events import Proposal
from programs.common.errors import EnvironmentProblem
from tests.events import of, typed
from tests.inner_loop import play as one_device
from tests.inner_loop.play import STREAMS_OF_TESTS, Event, Played, program, told
from tests.studies import planted
from trainer.data import DataStore
from trainer.devices import Devices, busy_seconds
from trainer.edits import Edit
from trainer.experiment import Outcome, Spec, Trainer
from trainer.task import Task

Before = Callable[[Spec], None]
SCREEN = "screen: {fraction: 0.25, promote: 0.34}\nwave: 6"
PROGRAMS = {
    "stock": "",
    "screened": SCREEN,
    "side by side": "wave: 5",
    "confirmed": f"{SCREEN}\nconfirm: 0.3",
    "paired": "wave: 4\nkeep: {rule: paired, pairs: 1}",
}


class Slow(Trainer):
    """The law in a thread of its own; ``before`` each experiment something may happen."""

    instant = False

    def __init__(self, task: Task, data: DataStore, *, fixed_steps: bool = True, before: Before = lambda _: None):
        super().__init__(task, data, fixed_steps=fixed_steps)
        self.before = before

    def another(self) -> Trainer:
        return type(self)(self.task, self.data, fixed_steps=self.fixed_steps, before=self.before)

    def run(self, spec: Spec, *, use_cache: bool = True, alone: bool = False) -> Outcome:
        self.before(spec)
        return super().run(spec, use_cache=use_cache)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return planted(tmp_path_factory.mktemp("law") / "planted", 5)


MakeSlow = Callable[..., Slow]


@pytest.fixture
def slow(task: Task, tmp_path: Path) -> MakeSlow:
    return partial(Slow, task, DataStore(task, STREAMS_OF_TESTS, tmp_path))


class Reversed:
    """Lets of the experiments in flight the last one launched end first; none but the baseline ends before ``count`` of
    them have been in flight at once."""

    def __init__(self, count: int = 1) -> None:
        self.count = count
        self.launched = self.most = self.flying = 0
        self.changed = threading.Condition()

    def __call__(self, spec: Spec) -> None:
        with self.changed:
            self.launched += 1
            self.flying += 1
            place = self.flying
            self.most = max(self.most, self.flying)
            self.changed.notify_all()
            if self.launched > 1:
                self.changed.wait_for(lambda: self.most >= self.count, 100)
        time.sleep(0.03 / place)
        with self.changed:
            self.flying -= 1


def full(trainer: Trainer) -> float:
    """Charge of a full experiment, s."""
    task = trainer.task
    return task.steps * task.seconds_per_step if trainer.fixed_steps else task.cost_seconds


def play(trainer: Trainer, charter: str, devices: int, budget: float = 16, **more: Any) -> Played:
    with Devices(trainer, devices) as held:
        return one_device.play(trainer, program(charter), budget, full=full(trainer), devices=held, **more)


@pytest.mark.parametrize("name", PROGRAMS)
def test_several_devices_come_to_the_same_bits(slow: MakeSlow, name: str) -> None:
    watch = Reversed(1 if name == "stock" else 3)
    alone, several = play(slow(), PROGRAMS[name], 1), play(slow(before=watch), PROGRAMS[name], 3)
    assert told(several.events) == told(alone.events) and watch.most == watch.count
    assert several.result.charged == alone.result.charged and several.result.forfeited == alone.result.forfeited


def test_replicates_of_a_wave_are_taken_seed_by_seed(slow: MakeSlow) -> None:
    charter = "wave: 3\nreplicates: 2"
    one, several = (play(slow(before=Reversed()), charter, devices, 12).experiments[2:] for devices in (1, 2))
    assert all(a["source_id"] == b["source_id"] for a, b in itertools.pairwise(one) if b["replicate"])
    living = [row["source_id"] for row in several[:3] if row["status"] == "ok"]
    again = several[3 : 3 + len(living)]
    assert len(living) > 1 and [row["replicate"] for row in several[:3]] == [0] * 3
    assert [(row["source_id"], row["replicate"]) for row in again] == [(source, 1) for source in living]
    three = play(slow(before=Reversed()), charter, 3, 12).experiments[2:]
    assert told(three) == told(several)  # however many they are


def open_bench(trainer: Trainer, devices: int, budget: float, **more: Any) -> tuple[Bench, list[Event]]:
    return one_device.open_bench(trainer, budget, full=full(trainer), devices=Devices(trainer, devices), **more)


def asks(count: int) -> list[Proposal]:
    return [Proposal(Edit(), replicate=number) for number in range(1, count + 1)]


@pytest.mark.parametrize("devices", [1, 2, 4])
def test_a_wave_is_launched_as_far_as_the_budget_carries(slow: MakeSlow, devices: int) -> None:
    bench, events = open_bench(slow(before=Reversed()), devices, 4.5)
    records = bench.experiments(asks(6))
    assert [record.number for record in records] == [1, 2, 3]
    assert [event["number"] for event in of(events, "experiment")] == [0, 1, 2, 3]
    assert bench.experiments(asks(2)) == []
    with pytest.raises(BudgetSpent):
        bench.experiment(Proposal(Edit(), replicate=1))


def test_what_is_in_flight_counts_at_what_it_is_expected_to_cost(slow: MakeSlow) -> None:
    """Crashes are cheap: known one by one they leave room for more, in a wave nobody knows them beforehand."""
    started: list[Spec] = []
    trainer = slow(fixed_steps=False, before=started.append)
    broken = trainer.task.baseline().text()
    source = trainer.task.baseline().with_text("train.py", "pass\n# " + broken[:1])
    wave = [Proposal(Edit(), source=source, replicate=number) for number in range(1, 7)]
    alone, _ = open_bench(trainer, 1, 4.1)
    assert len(alone.experiments(wave)) > 3
    several, _ = open_bench(trainer, 3, 4.1)
    started.clear()
    assert len(several.experiments(wave)) == 3 == len(started)


def test_end_within_a_wave_lets_what_flies_land(slow: MakeSlow) -> None:
    launched: list[int] = []

    def before(spec: Spec) -> None:
        launched.append(spec.seed)
        time.sleep(0.01)

    # the baseline, and the third of the wave
    bench, events = open_bench(slow(before=before), 2, 20, should_stop=lambda: len(launched) >= 4)
    with pytest.raises(RunStopped):
        bench.experiments(asks(8))
    written = of(events, "experiment")
    assert [event["number"] for event in written] == list(range(len(launched))) and 4 <= len(launched) <= 5
    assert bench.meter.charged == pytest.approx(len(launched) * bench.cost())


def test_wave_cut_by_a_stop_or_kill_is_gone_on_with(slow: MakeSlow) -> None:
    looks: Iterator[int] = iter(range(1000))
    whole = play(slow(), SCREEN, 1, 10)
    stopped = play(slow(before=Reversed()), SCREEN, 2, 10, should_stop=lambda: next(looks) >= 5)
    assert stopped.result.state == "stopped" and 3 < len(stopped.experiments) < 8
    for before in (stopped.events, *(whole.events[:cut] for cut in (1, 6, 9, 16))):
        after = play(slow(before=Reversed()), SCREEN, 2, 10, recorded=before)
        assert told([*before, *after.events]) == told(whole.events), len(before)
        assert after.result.charged == whole.result.charged


def test_fault_within_a_wave_keeps_what_came_before_it(slow: MakeSlow, monkeypatch: pytest.MonkeyPatch) -> None:
    tried, faulty, landed = list[int](), [STREAMS_OF_TESTS.seed("search", "train", 3, 2)], threading.Event()

    def noticed(futures: Any, **how: Any) -> Any:
        waited = wait(futures, **how)
        if any(future.result().status == "fault" for future in waited.done):
            landed.set()
        return waited

    class Faulty(Slow):
        def run(self, spec: Spec, *, use_cache: bool = True, alone: bool = False) -> Outcome:
            tried.append(spec.seed)
            if len(tried) > 1 and spec.seed not in faulty:
                assert landed.wait(100)
            outcome = super().run(spec, use_cache=use_cache)
            return replace(outcome, status="fault", reason="no disk") if spec.seed in faulty else outcome

    monkeypatch.setattr("trainer.devices.wait", noticed)
    trainer = Faulty(slow().task, slow().data)
    bench, events = open_bench(trainer, 2, 20)
    with pytest.raises(EnvironmentProblem, match="experiment 2 could not be run: no disk"):
        bench.experiments(asks(8))
    told_of = [(event["kind"], event["number"]) for event in events if "number" in event]
    assert told_of == [("experiment", 0), ("experiment", 1), ("fault", 2)]
    assert len(tried) == 3  # it is known before the others have ended, and nothing is launched any more
    assert bench.meter.charged == pytest.approx(2 * bench.cost())
    faulty.clear()
    again, more = open_bench(trainer, 2, 20, recorded=typed(events))
    again.experiments(asks(8))
    assert [event["number"] for event in more] == list(range(2, 9))


def test_what_a_trainer_raises_reaches_the_bench(slow: MakeSlow) -> None:
    def before(spec: Spec) -> None:
        if spec.seed == STREAMS_OF_TESTS.seed("search", "train", 3, 3):
            raise MemoryError("no room")

    bench, events = open_bench(slow(before=before), 2, 20)
    with pytest.raises(MemoryError):
        bench.experiments(asks(8))
    assert {event["number"] for event in of(events, "experiment")} >= {0, 1, 2}


@pytest.mark.parametrize(
    "spans, busy",
    [([], 0.0), ([(5, 8)], 3.0), ([(0, 3), (0, 1)], 3.0), ([(0, 4), (0, 1), (1, 3)], 4.0), ([(0, 1), (2, 3)], 2.0)],
)
def test_busy_seconds_count_each_second_once(spans: list[Any], busy: float) -> None:
    outcome = Outcome("ok", 1.0, 1.0, 1.0, 1.0)
    assert busy_seconds([replace(outcome, began=begun, ended=end) for begun, end in spans]) == pytest.approx(busy)


def test_experiment_of_a_wave_is_charged_its_own_use(slow: MakeSlow) -> None:
    bench, events = open_bench(slow(fixed_steps=False, before=Reversed(2)), 2, 200)
    records = (bench.baseline, *bench.experiments(asks(3)))
    assert bench.meter.charged == pytest.approx(sum(record.device_seconds_charged for record in records))
    assert {event["kind"] for event in events} == {"experiment", "decision"}

"""Several devices of one process, with real experiments (metered ones on strokes): processes, meters, outcomes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from inner_loop.events import RunEndedEvent
from inner_loop.run import run
from programs.shelf import starter
from tests.events import into
from tests.inner_loop.play import BLOBS
from trainer.data import DataStore
from trainer.devices import Devices
from trainer.experiment import Spec, Trainer
from trainer.outcome import Cache, Outcome
from trainer.sandbox.local import LocalLauncher
from trainer.streams import Streams
from trainer.task import Task

pytestmark = pytest.mark.slow
STROKES = Task.load("strokes")

WHAT_A_MACHINE_MEASURES = (
    "device_seconds_spent", "wall_seconds", "peak_memory_mb", "started_at", "cached", "training_seconds",
    "prediction_seconds",
)  # fmt: skip


@pytest.fixture(scope="module")
def task() -> Task:
    return Task.load(BLOBS)


@pytest.fixture(scope="module")
def data(task: Task, tmp_path_factory: pytest.TempPathFactory) -> DataStore:
    return DataStore(task, Streams.from_seed(5), tmp_path_factory.mktemp("splits"))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devices]:
    """Two devices that are charged by what is measured."""
    data = DataStore(STROKES, Streams.from_seed(5), tmp_path_factory.mktemp("splits"))
    with Trainer(replace(STROKES, hard_extra=5.0), data) as trainer, Devices(trainer, 2) as devices:
        yield devices


def specs(task: Task, *fractions: float, first: int = 1) -> list[Spec]:
    return [Spec(task.baseline(), first + n, "search", fraction) for n, fraction in enumerate(fractions)]


def fly(devices: Devices, wanted: list[Spec]) -> list[Outcome]:
    """Landings in the order of the specs."""
    landed = dict(devices.run(wanted, lambda: True))
    return [landed[place] for place in range(len(wanted))]


def templates(devices: Devices) -> list[int]:
    launchers = [trainer.launcher for trainer, _ in devices._open]
    pids = [each.template_pid for each in launchers if isinstance(each, LocalLauncher)]
    return [pid for pid in pids if pid is not None]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_two_at_once_are_metered_apart(pair: Devices) -> None:
    """One small and one full experiment again and again, at the same time: the small one is not charged the other's.

    The full one takes three times as much, which a busy machine does not hide.
    """
    fly(pair, specs(STROKES, 1.0, 1.0))  # both templates are up
    alone = [fly(pair, specs(STROKES, fraction))[0] for fraction in (1.0, 0.1) for _ in range(3)]
    full, small = (sorted(o.device_seconds_spent for o in alone[at : at + 3])[1] for at in (0, 3))
    together = fly(pair, specs(STROKES, 1.0, 0.1, 1.0, 0.1, 1.0, 0.1, first=20))
    for place, outcome in enumerate(together):
        assert outcome.status == "ok", outcome.reason
        assert outcome.findings == ()  # the cgroup of its template, where there is one, says the same as wait4
        if place % 2:  # nearer to what it takes alone than to what both take
            assert abs(outcome.device_seconds_spent - small) < abs(outcome.device_seconds_spent - small - full)
        assert outcome.device_seconds_charged < 2 * STROKES.hard_line(0.1 if place % 2 else 1.0)
    assert any(a.began < b.ended and b.began < a.ended for a in together for b in together if a is not b)


def test_templates_outlive_the_waves_and_end_with_the_devices(task: Task, data: DataStore) -> None:
    with Trainer(task, data, fixed_steps=True) as trainer:
        with Devices(trainer, 2) as devices:
            first = fly(devices, specs(task, 0.1, 0.1))
            pids = templates(devices)
            assert len(pids) == 2 and all(map(alive, pids))
            time.sleep(0.3)
            again = fly(devices, specs(task, 0.1, 0.1))
            assert templates(devices) == pids  # none had to be started anew
            assert [one.metric for one in again] == [one.metric for one in first]
            os.kill(pids[0], signal.SIGKILL)
            os.kill(pids[1], signal.SIGKILL)
            after = fly(devices, specs(task, 0.1, 0.1))
            assert [one.metric for one in after] == [one.metric for one in first]
            started = templates(devices)
            assert not set(started) & set(pids)
            alone = trainer.run(specs(task, 0.1)[0])  # by the caller, on a template that a device's thread started
            assert alone.metric == first[0].metric and templates(devices) == started
        assert not alive(started[1])
    assert not alive(started[0])


def play(task: Task, data: DataStore, devices: int, cache: Cache) -> tuple[RunEndedEvent, list[dict[str, object]]]:
    events: list[dict[str, object]] = []
    with Trainer(task, data, fixed_steps=True, cache=cache) as trainer, Devices(trainer, devices) as held:
        result = run(
            starter("screen-waves"), trainer, run_id="r1", run_seed=2, streams=data.streams,
            budget_seconds=8 * task.steps * task.seconds_per_step, emit=into(events), folder=None, devices=held,
        )  # fmt: skip
    return result, events


def test_a_run_with_two_devices_ends_with_the_same_bits(task: Task, data: DataStore, tmp_path: Path) -> None:
    one, alone = play(task, data, 1, Cache(tmp_path / "one"))
    two, events = play(task, data, 2, Cache(tmp_path / "two"))
    assert len(alone) > 10
    for mine, theirs in zip(events, alone, strict=True):
        for name in WHAT_A_MACHINE_MEASURES:
            mine.pop(name, None), theirs.pop(name, None)
        assert mine == theirs
    assert (two.final, two.final_metric, two.charged, two.forfeited) == (
        one.final, one.final_metric, one.charged, one.forfeited,
    )  # fmt: skip

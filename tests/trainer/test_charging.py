"""A device that is held: charged by the clock, one experiment at a time, watched from outside. Tried on the CPU, with
real experiments under a real lease; a script stands in for nvidia-smi."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from programs.errors import Busy, EnvironmentProblem
from trainer import charging
from trainer.charging import CpuSeconds, HeldSeconds, charge_for
from trainer.data import DataStore
from trainer.device_profile import DeviceProfile
from trainer.experiment import Spec, Trainer
from trainer.gpu import Lease
from trainer.gpus import Gpu, GpuSeat
from trainer.launcher import Ended, ProcessLimits
from trainer.local import LocalLauncher
from trainer.outcome import Outcome
from trainer.referee import ExperimentTally, Failed, judge
from trainer.sampler import Sampler
from trainer.source import Source
from trainer.task import Task

H200 = Gpu(0, "GPU-aa", "NVIDIA H200", 143771, "580.1")


@pytest.fixture
def held(task: Task, data: DataStore, bare_launcher: LocalLauncher, tmp_path: Path) -> Trainer:
    """The small task as on a device that is held; its hard line is one of the clock."""
    slow = replace(task, hard_extra=30.0)
    charge = HeldSeconds(DeviceProfile(), folder=tmp_path / "leases")
    return Trainer(slow, data, launcher=bare_launcher, charge=charge)


def test_time_that_nobody_computes_is_charged(held: Trainer, with_main: Callable[[str], Source]) -> None:
    """A second of sleep costs a second; on a CPU it is a twentieth."""
    outcome = held.run(Spec(with_main("import time; time.sleep(1.0)"), seed=1))
    assert outcome.status == "ok"
    assert outcome.device_seconds == outcome.spent_seconds == outcome.wall_seconds >= 1.0
    assert not [finding for finding in outcome.findings if finding.startswith("metering")]


def test_a_crash_pays_what_it_held(held: Trainer, with_main: Callable[[str], Source]) -> None:
    outcome = held.run(Spec(with_main("import time; time.sleep(0.5); raise ValueError('x')"), seed=1))
    assert outcome.status == "crash" and outcome.device_seconds >= 0.5


def test_the_hard_line_is_one_of_the_clock(held: Trainer, with_main: Callable[[str], Source]) -> None:
    held.task = replace(held.task, budget_seconds=0.4, hard_factor=1.25, hard_extra=0.1)
    outcome = held.run(Spec(with_main("import time; time.sleep(3600)"), seed=1))
    assert outcome.status == "timeout" and "of wall time" in outcome.reason
    assert outcome.device_seconds == outcome.wall_seconds


def test_the_wait_for_the_device_is_nobodys_charge(
    held: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, waiting = Lease(0, tmp_path / "leases"), threading.Timer(0.7, lambda: before.release())

    def ask(*which: Any) -> Lease:
        try:
            return Lease(*which)
        except Busy:
            if not waiting.ident:
                waiting.start()  # from the first time that it was refused, whenever this machine comes to that
            raise

    monkeypatch.setattr(charging.gpu, "Lease", ask)
    outcome = held.run(Spec(held.task.baseline(), seed=1))
    assert outcome.status == "ok" and held.waited >= 0.6
    with Lease(0, tmp_path / "leases"):
        pass  # given back


def test_nobody_else_has_it_meanwhile(held: Trainer, tmp_path: Path) -> None:
    with held.charge.hold(), pytest.raises(Busy):
        Lease(0, tmp_path / "leases")


def test_leased_devices_are_charged_for_waiting(held: Trainer, trainer: Trainer) -> None:
    assert held.leased and not trainer.leased
    assert isinstance(trainer.charge, CpuSeconds)


def test_a_task_for_a_gpu_has_none_on_any_launcher(task: Task) -> None:
    with pytest.raises(EnvironmentProblem, match="its launcher has none"):
        charge_for(replace(task, device="gpu"), None)
    charge = charge_for(replace(task, device="gpu", per_device=2), DeviceProfile(H200))
    assert isinstance(charge, HeldSeconds) and charge.sharing == 2
    assert charge.environment == {"METALOOP_TRAIN_DEVICE": "cuda"}


# --- who may hold it -------------------------------------------------------------------------------------------------


def test_those_who_share_are_so_many(tmp_path: Path) -> None:
    with Lease(0, tmp_path / "leases", 2), Lease(0, tmp_path / "leases", 2):
        with pytest.raises(Busy):
            Lease(0, tmp_path / "leases", 2)
        with pytest.raises(Busy):
            Lease(0, tmp_path / "leases")  # alone
    with Lease(0, tmp_path / "leases"), pytest.raises(Busy):
        Lease(0, tmp_path / "leases", 2)


def test_launchers_take_different_gpus(tmp_path: Path) -> None:
    two = (H200, replace(H200, index=1))
    seats = [GpuSeat(two, tmp_path / "seats") for _ in range(4)]
    assert [seat.gpu.index for seat in seats] == [0, 1, 0, 1]
    seats[1].close()
    assert GpuSeat(two, tmp_path / "seats").gpu.index == 1
    with pytest.raises(EnvironmentProblem, match="needs a GPU, and there is none"):
        GpuSeat((), tmp_path / "seats")


# --- what is seen from outside ---------------------------------------------------------------------------------------


@pytest.fixture
def smi(tmp_path: Path) -> Callable[..., Path]:
    """Answers as nvidia-smi does; of memory and load one line after the other, the last for good."""

    def make(loads: list[str], apps: str = "", status: int = 0) -> Path:
        (tmp_path / "loads").write_text("".join(f"{line}\n" for line in loads))
        tool = tmp_path / "nvidia-smi"
        tool.write_text(f"""#!/bin/sh
cd {tmp_path}
case $1 in
  *apps*) printf '{apps}';;
  *utilization*) head -1 loads; [ "$(wc -l < loads)" = 1 ] || sed -i 1d loads;;
  *) echo 100;;
esac
exit {status}
""")
        tool.chmod(0o755)
        return tool

    return make


def test_load_and_memory_are_sampled(smi: Callable[..., Path]) -> None:
    sampler = Sampler(0, smi(["100, 0", "9100, 90", "5100, 60", "100, [N/A]"]), every=0.01)
    sampler.start()
    while sampler.looks < 6:
        assert sampler.is_alive()
    sampler.stop()
    assert sampler.utilization == pytest.approx(0.5)
    assert sampler.peak_above(100) == 9000.0 and sampler.peak_above(None) == 9100.0


@pytest.mark.parametrize("line", ["", "1", "1, 2, 3", "x, 2", "1, -2"])
def test_an_odd_answer_ends_the_looking(smi: Callable[..., Path], line: str) -> None:
    sampler = Sampler(0, smi([line]), every=0.01)
    sampler.start()
    sampler.join()
    assert "cannot read its line" in sampler.problem and sampler.utilization is None


def _on_gpu(trainer: Trainer, tool: Path, folder: Path) -> Outcome:
    trainer.charge = HeldSeconds(DeviceProfile(H200), folder=folder, tool=tool)
    trainer.charge.environment = {"METALOOP_TRAIN_DEVICE": "cpu"}  # there is none, but the driver's word
    return trainer.run(Spec(trainer.task.baseline(), seed=1))


def test_an_outcome_says_what_the_driver_saw(held: Trainer, smi: Callable[..., Path], tmp_path: Path) -> None:
    outcome = _on_gpu(held, smi(["4100, 80"]), tmp_path / "leases")
    assert (outcome.status, outcome.utilization, outcome.peak_memory_mb) == ("ok", 0.8, 4000.0)
    assert outcome.findings == ()
    assert Outcome.from_json(outcome.to_json()) == outcome


def test_a_driver_that_fails_is_a_finding(held: Trainer, smi: Callable[..., Path], tmp_path: Path) -> None:
    outcome = _on_gpu(held, smi(["4100, 80"], status=9), tmp_path / "leases")
    assert outcome.status == "ok" and outcome.utilization is None
    assert len(outcome.findings) == 3 and all(finding.startswith("gpu: ") for finding in outcome.findings)


def test_what_others_compute_is_a_finding(held: Trainer, smi: Callable[..., Path], tmp_path: Path) -> None:
    outcome = _on_gpu(held, smi(["4100, 80"], apps="77, 60, miner\\n"), tmp_path / "leases")
    assert outcome.findings[0] == "gpu: 60 MB in use before the experiment (pid 77)"


# --- memory that runs out --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has …", "oom"),
        ("torch._inductor.exc.InductorError: OutOfMemoryError: CUDA out of memory.", "oom"),
        ("RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", "oom"),
        ("RuntimeError: CUDA error: out of memory", "oom"),
        ("RuntimeError: CUDA error: an illegal memory access was encountered", "crash"),
        ("RuntimeError: CUDA error: device-side assert triggered", "crash"),
    ],
)
def test_out_of_memory_is_told_from_a_crash(error: str, status: str) -> None:
    ended = Ended(1, "", 1.0, 2.0, 100.0, error=error, error_kind=error.partition(":")[0])
    with pytest.raises(Failed) as failed:
        judge(ended, ProcessLimits(10.0, 10.0), failure="crash")
    assert failed.value.status == status


def test_an_error_behind_a_compilers_words_is_seen(held: Trainer, with_main: Callable[[str], Source]) -> None:
    code = "raise RuntimeError('InductorError: CUDA out of memory. Tried\\n\\nSet TORCHDYNAMO_VERBOSE=1 for')"
    outcome = held.run(Spec(with_main(code), seed=1))
    assert outcome.status == "oom" and "CUDA out of memory" in outcome.reason


def test_a_tally_tells_the_devices_memory_where_it_is_known() -> None:
    assert ExperimentTally(peak_memory_mb=300.0).memory_mb == 300.0
    assert ExperimentTally(peak_memory_mb=300.0, device_memory_mb=4000.0).memory_mb == 4000.0


def test_on_a_cpu_a_sleeper_pays_for_its_time_too(task: Task) -> None:
    """The larger of its CPU-seconds and a twentieth of the wall time; what was truly spent is the CPU alone."""
    slow = replace(task, wall_factor=20.0)
    assert CpuSeconds().seconds(slow, ExperimentTally(cpu=0.1, wall=40.0), 41.0) == (2.0, 0.1)
    assert CpuSeconds().seconds(slow, ExperimentTally(cpu=3.0, wall=40.0), 41.0) == (3.0, 3.0)

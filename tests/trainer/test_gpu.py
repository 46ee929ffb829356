"""Which GPUs are found, who has one, what it costs and what a command sees of it. Files stand in for device nodes, a
script for nvidia-smi; the commands are real ones, in the sandbox."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from programs.common.errors import EnvironmentProblem
from tests.trainer.foreign_repos import changed, command_task, trainer_of
from trainer import gpu
from trainer.charging import CpuSeconds, charge_for
from trainer.commands.compile_cache import CompileCache
from trainer.experiment import Spec
from trainer.gpu import Load, Watch, held, survey
from trainer.outcome import Outcome
from trainer.scoring.referee import ExperimentTally
from trainer.task import Task

ROWS = """0, GPU-aa-11, NVIDIA H200, 143771, 580.159.04, 00000000:3B:00.0
1, GPU-bb-22, NVIDIA H200, 143771, 580.159.04, 00000000:5E:00.0
"""
Driver = Callable[..., None]


@pytest.fixture
def dev() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # the sandbox of root runs as another user
        yield Path(folder)


@pytest.fixture
def driver(dev: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Driver:
    """A machine with two GPUs. Their load is one line after the other, the last for good."""
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (dev / name).touch()
    monkeypatch.setattr(gpu, "DEV", dev)
    monkeypatch.setattr(gpu, "PROC", tmp_path / "proc")
    monkeypatch.setattr(gpu, "TOOL", str(tmp_path / "smi"))
    monkeypatch.setenv("METALOOP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(gpu.VARIABLE, raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def make(rows: str = ROWS, loads: Sequence[str] = ("100, 80",), status: int = 0) -> None:
        (tmp_path / "rows").write_text(rows)
        (tmp_path / "loads").write_text("".join(f"{line}\n" for line in loads))
        (tmp_path / "smi").write_text(f"""#!/bin/sh
cd {tmp_path}; echo "$@" >> asked
case $1 in
  *uuid*) cat rows; exit {status if not loads else 0};;
  *) head -1 loads; [ "$(wc -l < loads)" = 1 ] || sed -i 1d loads; exit {status};;
esac
""")
        (tmp_path / "smi").chmod(0o755)
        gpu._usable.cache_clear()

    make()
    return make


def test_gpus_are_found(driver: Driver, tmp_path: Path) -> None:
    first, second = survey().gpus
    assert (first.index, second.uuid, second.memory_mb) == (0, "GPU-bb-22", 143771)
    assert first.hardware == "gpu:NVIDIA H200/140 GB/driver 580.159.04"
    asked = (tmp_path / "asked").read_text()
    assert asked == "--query-gpu=index,uuid,name,memory.total,driver_version,pci.bus_id --format=csv,noheader,nounits\n"


@pytest.mark.parametrize(
    ("told", "visible", "found"),
    [("", None, [0, 1]), ("1", None, [1]), ("0,1", "1", [1]), ("all", "GPU-bb", [1]), ("", "", []), ("7", None, []),
     ("cpu", None, [])],
)  # fmt: skip
def test_the_environment_narrows_them(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, told: str, visible: str | None, found: list[int]
) -> None:
    monkeypatch.setenv(gpu.VARIABLE, told)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    seen = survey()
    assert [one.index for one in seen.gpus] == found
    assert bool(seen.reason) == (not found) and not seen.none


def test_what_is_in_the_way_is_told(driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver("0, GPU-aa, half a row\n")
    assert "cannot read its line" in survey().reason
    driver("", (), status=9)
    assert "exit status 9" in survey().reason
    monkeypatch.setattr(gpu, "TOOL", str(tmp_path / "missing"))
    assert "No such file" in survey().reason and "driver's tools" in survey().cure
    monkeypatch.setattr(gpu, "DEV", tmp_path / "none")
    assert survey().none


def test_a_command_is_shown_the_nodes_of_its_gpu_alone(driver: Driver, dev: Path) -> None:
    shown = [Path(word).name for word in survey().gpus[1].binds if word.startswith(str(dev))][::2]
    assert shown == ["nvidia1", "nvidiactl", "nvidia-uvm"]
    (dev / "nvidia0").unlink()
    assert f"{dev}/nvidia1" in survey().gpus[0].binds, "a container with one node of any number"
    (dev / "nvidia2").touch()
    with pytest.raises(EnvironmentProblem, match="has no device node"):
        _ = survey().gpus[0].binds


def test_gpu_node_with_another_minor_number_is_shown(driver: Driver, dev: Path, tmp_path: Path) -> None:
    """The driver numbers the nodes by minor number, nvidia-smi by place on the bus."""
    for bus, minor in (("0000:3b:00.0", 1), ("0000:5e:00.0", 0)):
        folder = tmp_path / "proc" / bus
        folder.mkdir(parents=True)
        text = f"Model: \t\t NVIDIA H200\nBus Location: \t {bus}\nDevice Minor: \t {minor}\n"
        (folder / "information").write_text(text)
    first, second = survey().gpus
    assert (first.minor, second.minor) == (1, 0)
    assert f"{dev}/nvidia1" in first.binds and f"{dev}/nvidia0" not in first.binds


@pytest.mark.parametrize("row", ["half a row", "NVIDIA H200, [GPU requires reset], 580, 00000000:5E:00.0"])
def test_gpu_with_an_odd_row_leaves_the_others(driver: Driver, row: str) -> None:
    driver(f"{ROWS.splitlines()[0]}\n1, GPU-cc, {row}\n")
    found = survey()
    assert [one.index for one in found.gpus] == [0] and "cannot read its line '1, GPU-cc" in found.reason
    driver("0, GPU-aa, Orin, [Not Supported], 580, 00000000:3B:00.0\n")  # used without a known memory
    assert [(one.memory_mb, one.minor) for one in survey().gpus] == [(0, None)]


def one_gpu() -> gpu.Gpu:
    return gpu.Gpu(0, "GPU-aa-11", "NVIDIA H200", 143771, "580")


def test_each_experiment_has_a_gpu_of_its_own(driver: Driver) -> None:
    gpus, taken = gpu.usable(), threading.Event()

    def wait() -> None:
        with held(gpus) as one:
            assert one in gpus
            taken.set()

    third = threading.Thread(target=wait)
    with held(gpus) as first, held(gpus) as second:
        assert (first, second) == gpus
        third.start()
        assert not taken.wait(0.3)
    third.join(5)
    assert taken.is_set()


def test_load_and_memory_are_watched(driver: Driver) -> None:
    driver(loads=["100, 0", "9100, 90", "5100, 60", "100, [N/A]"])
    watch = Watch(one_gpu(), every=0.01)
    watch.start()
    while len(watch.looks) < 6:
        assert watch.is_alive()
    watch.stop()
    assert watch.utilization == pytest.approx(0.5) and watch.looks[-1] == Load(100, None)
    assert watch.peak_above(100) == 9000.0 and watch.peak_above(None) == 9100.0


@pytest.mark.parametrize("line", ["", "1", "1, 2, 3", "x, 2", "1, -2"])
def test_an_odd_answer_ends_the_watch(driver: Driver, line: str) -> None:
    driver(loads=[line])
    watch = Watch(one_gpu(), every=0.01)
    watch.start()
    watch.join()
    assert "cannot read its line" in watch.problem and watch.utilization is None


# --- a task whose command wants a GPU ---------------------------------------------------------------------------------

SCRIPT = """import os, time
LR = 0.1
SLEEP = 0.3
time.sleep(SLEEP)
print(sorted(name for name in os.listdir("/dev") if name.startswith("nvidia")), os.environ.get("CUDA_VISIBLE_DEVICES"))
print(f"loss: {LR:.4f}")
"""


def gpu_task(folder: Path, script: str = SCRIPT) -> Task:
    return command_task(folder, {"train.py": script}, budget='device = "gpu"')


def test_wall_time_is_charged_and_the_driver_s_word_is_kept(driver: Driver, tmp_path: Path) -> None:
    task = gpu_task(tmp_path / "repo")
    driver(loads=["100, 0"] * 2 + ["4100, 80"])
    with trainer_of(task) as trainer:
        trainer.command.compiled = None
        outcome = trainer.run(Spec(task.baseline(), seed=1))
        assert trainer.charge.gpu is not None and trainer.charge.gpu.index == 0
    assert (outcome.status, outcome.metric) == ("ok", 0.1)
    assert outcome.device_seconds_charged == outcome.device_seconds_spent == outcome.wall_seconds >= 0.3
    assert "GPU-aa-11" in outcome.log
    assert Outcome.from_json(outcome.to_json()) == outcome


def test_others_on_the_gpu_and_a_driver_that_fails_are_findings(driver: Driver, tmp_path: Path) -> None:
    task = gpu_task(tmp_path / "repo")
    driver(loads=["4100, 80"])
    with trainer_of(task) as trainer:
        trainer.command.compiled = None
        busy = trainer.run(Spec(task.baseline(), 1))
        assert busy.findings == ("gpu: 4100 MB in use by others before the experiment",)
        driver(loads=["4100, 80"], status=9)
        silent = trainer.run(Spec(task.baseline(), 1))
    assert silent.status == "ok" and silent.utilization is None
    assert len(silent.findings) == 2 and all(finding.startswith("gpu: ") for finding in silent.findings)


def test_unknown_limit_of_memory_stops_before_the_training(driver: Driver, tmp_path: Path) -> None:
    task = gpu_task(tmp_path / "repo")
    task = changed(task.folder, "[run]\n", '[constraints.vram]\nkind = "memory_mb"\nat_most = 1000\n\n[run]\n')
    driver(loads=["[N/A], 80"])
    with trainer_of(task) as trainer:
        outcome = trainer.run(Spec(task.baseline(), 1))
    assert outcome.status == "fault" and "does not report the memory" in outcome.reason


def test_crash_pays_what_it_held_and_the_hard_line_is_the_clocks(driver: Driver, tmp_path: Path) -> None:
    task = gpu_task(tmp_path / "repo")
    with trainer_of(task) as trainer:
        trainer.command.compiled = None
        crashes = task.baseline().with_text("train.py", SCRIPT.replace("print(f", "raise ValueError('x')\nprint(f"))
        crashed = trainer.run(Spec(crashes, seed=1))
        assert crashed.status == "crash" and crashed.device_seconds_charged >= 0.3
        sleeps = task.baseline().with_text("train.py", SCRIPT.replace("SLEEP = 0.3", "SLEEP = 3600"))
    with trainer_of(replace(task, budget_seconds=0.4, hard_factor=1.25, hard_extra=0.1)) as trainer:
        trainer.command.compiled = None
        late = trainer.run(Spec(sleeps, seed=1))
    assert late.status == "timeout" and "of wall time" in late.reason
    assert late.device_seconds_charged == late.wall_seconds < 30


def test_the_wait_for_the_gpu_is_nobodys_charge(driver: Driver, tmp_path: Path) -> None:
    task = gpu_task(tmp_path / "repo")
    with trainer_of(task) as trainer:
        trainer.command.compiled, trainer.command.constant = None, 0.01
        with held(gpu.usable()[:1]), held(gpu.usable()[1:]):
            outcomes: list[Outcome] = []
            run = threading.Thread(target=lambda: outcomes.append(trainer.run(Spec(task.baseline(), seed=1))))
            run.start()
            run.join(1.0)
            assert not outcomes
        run.join()
    assert trainer.waited >= 0.9 and outcomes[0].status == "ok"
    assert outcomes[0].device_seconds_charged == outcomes[0].wall_seconds


def test_a_compile_cache_is_filled_once_and_not_by_a_failure(tmp_path: Path) -> None:
    def fail() -> None:
        raise RuntimeError("the baseline does not run")

    path = tmp_path / "compiled" / "task.pack"
    with pytest.raises(RuntimeError):
        CompileCache(path).ensure(fail)
    assert not path.exists()
    calls: list[int] = []
    CompileCache(path).ensure(lambda: calls.append(1))  # nothing came of it
    again = CompileCache(path)
    again.ensure(lambda: calls.append(2))
    again.ensure(lambda: calls.append(3))
    assert calls == [1, 2]


def test_a_link_out_of_the_compile_cache_is_not_taken(driver: Driver, tmp_path: Path) -> None:
    fills = """import os
LR = 0.1
folder = os.environ.get("TRITON_CACHE_DIR", "/tmp/none")
print("there:", sorted(os.listdir(folder)) if os.path.isdir(folder) else "nothing")
os.makedirs(folder, exist_ok=True)
open(folder + "/kernel.so", "w").write("trusted")
if not os.path.lexists(folder + "/link"):
    os.symlink("/etc/ld.so.cache", folder + "/link")
print("loss:", LR)
"""
    task = gpu_task(tmp_path / "repo", fills)
    with trainer_of(task) as trainer:
        outcome = trainer.run(Spec(task.baseline(), seed=1))
    assert "there: ['kernel.so']" in outcome.log, outcome


def test_no_gpu_no_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gpu.VARIABLE, "cpu")
    task = gpu_task(tmp_path / "repo")
    assert task.device == "gpu"
    with pytest.raises(EnvironmentProblem, match="needs a GPU") as refused:
        trainer_of(task)
    assert "unset METALOOP_DEVICES" in (refused.value.hint or "")


# --- memory that runs out ---------------------------------------------------------------------------------------------


def test_a_tally_tells_the_devices_memory_where_it_is_known() -> None:
    assert ExperimentTally(peak_memory_mb=300.0).memory_mb == 300.0
    assert ExperimentTally(peak_memory_mb=300.0, device_memory_mb=4000.0).memory_mb == 4000.0


def test_on_a_cpu_a_sleeper_pays_for_its_time_too(task: Task) -> None:
    """The larger of its CPU-seconds and a twentieth of the wall time; what was truly spent is the CPU alone."""
    slow = replace(task, wall_factor=20.0)
    assert isinstance(charge_for(task), CpuSeconds)
    assert CpuSeconds().seconds(slow, ExperimentTally(cpu=0.1, wall=40.0), 41.0) == (2.0, 0.1)
    assert CpuSeconds().seconds(slow, ExperimentTally(cpu=3.0, wall=40.0), 41.0) == (3.0, 3.0)

"""Which GPUs are found, without one: files stand in for device nodes, a script for nvidia-smi, a folder for torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from programs.errors import EnvironmentProblem, TaskError
from tests.trainer.foreign_repos import made, write_files
from trainer import gpus, scaffold
from trainer.commands.init import Wanted
from trainer.commands.trainer import CommandTrainer
from trainer.data import DataStore
from trainer.gpus import Survey, survey
from trainer.launchers import launcher_for
from trainer.streams import Streams
from trainer.task import Task

ROWS = "0, GPU-aa-11, NVIDIA H200, 143771, 580.159.04\n1, GPU-bb-22, NVIDIA H200, 143771, 580.159.04\n"
Machine = Callable[..., Survey]


@pytest.fixture
def dev(tmp_path: Path) -> Path:
    (tmp_path / "dev").mkdir()
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / "dev" / name).touch()
    return tmp_path / "dev"


@pytest.fixture
def cuda_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a build for CUDA says of itself, before the one that is installed."""
    (tmp_path / "site" / "torch").mkdir(parents=True)
    (tmp_path / "site" / "torch" / "__init__.py").touch()
    text = "__version__ = '2.11.0+cu130'\ncuda: Optional[str] = '13.0'\n"
    (tmp_path / "site" / "torch" / "version.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.delenv(gpus.VARIABLE, raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.fixture
def machine(dev: Path, tmp_path: Path) -> Machine:
    def look(rows: str = ROWS, status: int = 0) -> Survey:
        (tmp_path / "rows").write_text(rows)
        tool = tmp_path / "smi"
        tool.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\ncat {tmp_path}/rows\nexit {status}\n')
        tool.chmod(0o755)
        return survey(dev, tool)

    return look


def test_gpus_are_found(machine: Machine, cuda_torch: None, tmp_path: Path) -> None:
    first, second = machine().gpus
    assert (first.index, second.uuid, second.memory_mb) == (0, "GPU-bb-22", 143771)
    assert first.hardware == "gpu:NVIDIA H200/140 GB/torch 2.11.0 CUDA 13.0/driver 580.159.04"
    asked = (tmp_path / "asked").read_text()
    assert asked == "--query-gpu=index,uuid,name,memory.total,driver_version --format=csv,noheader,nounits\n"


@pytest.mark.parametrize(
    ("told", "visible", "found"),
    [("", None, [0, 1]), ("1", None, [1]), ("0,1", "1", [1]), ("all", "GPU-bb", [1]), ("", "", []), ("7", None, []),
     ("cpu", None, [])],
)  # fmt: skip
def test_the_environment_narrows_them(
    machine: Machine,
    cuda_torch: None,
    monkeypatch: pytest.MonkeyPatch,
    told: str,
    visible: str | None,
    found: list[int],
) -> None:  # fmt: skip
    monkeypatch.setenv(gpus.VARIABLE, told)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    seen = machine()
    assert [one.index for one in seen.gpus] == found
    assert bool(seen.reason) == (not found)


def test_what_is_in_the_way_is_told(machine: Machine, cuda_torch: None, tmp_path: Path) -> None:
    assert "cannot read its line" in machine("0, GPU-aa, half a row\n").reason
    assert "exit status 9" in machine("", 9).reason
    assert survey(tmp_path / "none").reason == "no NVIDIA device node"


def test_a_torch_without_cuda_is_no_gpu(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is installed here."""
    if gpus.torch_cuda():
        pytest.skip("torch is built for CUDA here")
    monkeypatch.delenv(gpus.VARIABLE, raising=False)
    found = machine()
    assert (found.gpus, found.reason) == ((), "the machine has GPUs, but torch is built without CUDA")
    assert "pip install" in found.cure


def _task(folder: Path, budget: str) -> Path:
    path = scaffold.init(folder / "task")
    text = (path / "task.toml").read_text()
    head, _, rest = text.partition("[budget]\n")
    (path / "task.toml").write_text(f"{head}[budget]\n{budget}{rest}")
    return path


GPU_BUDGET = 'device = "gpu"\nper_device = 2\ntoy_seconds = 0.05\ntoy_cost = 0.07\n'


def test_a_task_for_a_gpu_is_a_toy_without_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gpus.VARIABLE, "cpu")
    path = _task(tmp_path, GPU_BUDGET)
    task = Task.load(path)
    full = Task.load(scaffold.init(tmp_path / "plain"))
    assert (task.device, task.budget_seconds, task.cost_seconds, task.per_device) == ("cpu", 0.05, 0.07, 1)
    assert task.run_budget / task.cost_seconds == pytest.approx(full.run_budget / full.cost_seconds)


def test_it_has_its_budget_where_there_is_one(
    tmp_path: Path, dev: Path, machine: Machine, cuda_torch: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine()
    monkeypatch.setattr(gpus, "DEV", dev)
    monkeypatch.setattr(gpus, "TOOL", str(tmp_path / "smi"))
    path = _task(tmp_path, GPU_BUDGET)
    task = Task.load(path)
    assert (task.device, task.per_device) == ("gpu", 2)
    assert task.budget_seconds == Task.load(scaffold.init(tmp_path / "plain")).budget_seconds
    assert task.task_id == _id_without(path, monkeypatch)
    (path / "card.json").write_text('{"hardware_class": "cpu:x/1 thread", "cost_seconds": 3.0}')
    monkeypatch.delenv(gpus.VARIABLE, raising=False)
    assert Task.load(path).card is None, "a card of the toy says nothing of the GPU"


def _id_without(path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(gpus.VARIABLE, "cpu")
    task = Task.load(path)
    assert task.device == "cpu"
    return task.task_id


@pytest.mark.parametrize(
    ("budget", "said"),
    [('device = "gpu"\n', "device gpu needs toy_seconds"), ("toy_seconds = 1.0\n", 'need device = "gpu"'),
     ("per_device = 2\n", 'need device = "gpu"'), ('device = "tpu"\n', "budget.device")],
)  # fmt: skip
def test_a_budget_that_makes_no_sense_is_told(tmp_path: Path, budget: str, said: str) -> None:
    with pytest.raises(TaskError, match=said):
        Task.load(_task(tmp_path, budget))


def gpu_task(folder: Path) -> Task:
    """A repository whose command wants a GPU."""
    task = made(write_files(folder, {"train.py": "LR = 0.1\nprint(f'loss: {LR:.4f}')\n"}), Wanted())
    path = task.folder / "task.toml"
    path.write_text(path.read_text().replace("[budget]\n", '[budget]\ndevice = "gpu"\n'))
    return Task.load(task.folder)


def test_a_command_needs_no_torch_of_ours(
    machine: Machine, dev: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repository brings its own libraries: device nodes and nvidia-smi are enough for it."""
    monkeypatch.setenv(gpus.VARIABLE, "cpu")
    place = gpu_task(tmp_path / "repo").folder
    monkeypatch.delenv(gpus.VARIABLE, raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    machine()  # writes the script
    found = survey(dev, tmp_path / "smi", torch=False)
    assert [one.index for one in found.gpus] == [0, 1]
    monkeypatch.setattr(gpus, "DEV", dev)
    monkeypatch.setattr(gpus, "TOOL", str(tmp_path / "smi"))
    task = Task.load(place)
    assert task.device == "gpu" and task.memory_mb >= 4096
    launcher = launcher_for(task)  # `task check` makes one beside the trainer's own
    assert launcher.profile is None
    launcher.close()
    with CommandTrainer(task, DataStore(task, Streams.from_seed(1), tmp_path / "data")) as trainer:
        assert trainer.device.profile is not None and trainer.device.compiled is not None
    assert gpus.device_for("gpu", torch=False) == "gpu"


def test_a_command_for_a_gpu_never_becomes_a_toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gpus.VARIABLE, "cpu")
    task = gpu_task(tmp_path / "repo")
    assert task.device == "gpu"
    with pytest.raises(EnvironmentProblem, match="needs a GPU") as refused:
        CommandTrainer(task, DataStore(task, Streams.from_seed(1), tmp_path / "data"))
    assert "turns them off" in (refused.value.hint or "")

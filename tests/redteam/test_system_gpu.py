"""A helper left on the GPU (41), and what else a profile with one lets a candidate try.

Without a GPU three things can be tried: that a candidate of the plain sandbox reaches no such device at all, that what
stays on a card is told, whatever the leftover calls itself, and that nothing of a compile cache passes from one
experiment to the next. The tests that need a GPU were never run on one: `bench/gpu.sh redteam` does it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from programs.errors import EnvironmentProblem
from tests.redteam.attempts import assert_all, trying
from tests.redteam.conftest import Attack
from tests.trainer.foreign_repos import made
from trainer import gpu
from trainer.commands.init import Wanted
from trainer.commands.trainer import CommandTrainer
from trainer.compile_cache import CompileCache
from trainer.data import DataStore
from trainer.device_profile import DeviceProfile, train_environment
from trainer.experiment import Spec
from trainer.gpus import usable
from trainer.launcher import Ended, ProcessLimits, ProcessRequest
from trainer.local import LocalLauncher
from trainer.referee import Failed, judge
from trainer.streams import Streams

Smi = Callable[[str, str], Path]


@pytest.fixture
def smi(tmp_path: Path) -> Smi:
    """Stands in for nvidia-smi: what it says of processes, and of memory in use."""

    def make(apps: str, used: str) -> Path:
        (tmp_path / "apps").write_text(apps)
        (tmp_path / "used").write_text(used)
        tool = tmp_path / "nvidia-smi"
        tool.write_text(f"#!/bin/sh\ncase $1 in *apps*) cat {tmp_path}/apps;; *) cat {tmp_path}/used;; esac\n")
        tool.chmod(0o755)
        return tool

    return make


@pytest.mark.exploit(41)
def test_no_device_is_there(attack: Attack) -> None:
    """41 no node, no driver's ioctl, no process that could stay: nothing to leave a helper with."""
    attempts = {
        "nodes": "[_os.open('/dev/' + name, 2) for name in ('nvidiactl', 'nvidia0', 'nvidia-uvm', 'dri/card0')]",
        "kfd": "_os.open('/dev/kfd', 2)",
        "a node of one's own": "CALL(133, b'nvidia0', 0o20666, 195 << 8)",
        "its ioctl": "CALL(16, 0, 0xC00846D6, 0)",
        "sys": "_os.listdir('/sys/class/drm')",
        "driver": "open('/proc/driver/nvidia/version').read()",
        "a daemon": "_os.fork()",
        "the control daemon": "CALL(41, 1, 1, 0)",
    }
    errors = "ENOENT", "EPERM", "EACCES"
    case = attack("points", top=trying(attempts, *errors))
    assert_all(case, attempts, *errors)
    case.assert_same()


@pytest.mark.exploit(41)
@pytest.mark.parametrize(
    "row",
    [
        "4242, 900, python",
        "4242, [N/A], [Not Found]",
        "4242, 900, \x1b[2J\u202ea\u202c",
        "1, 900, a, b, c",
        "4242, 0, -",
    ],
)
def test_a_helper_that_stays_is_told(smi: Smi, row: str) -> None:
    """41 a process on the card after the experiment: a finding with its id, in words that can be shown."""
    before, _ = gpu.clean_before(0, smi("", "3\n"))
    findings = gpu.clean_after(0, before, smi(f"{row}\n", "903\n"), patience=0.0)
    unnamed = row == "4242, 0, -"  # the 900 MB are nobody's then, and told beside it
    assert len(findings) == 1 + unnamed and f"pid {row.split(',')[0]}" in findings[0]
    assert all(finding.isprintable() for finding in findings)


@pytest.mark.exploit(41)
def test_memory_without_a_name_is_told(smi: Smi) -> None:
    """41 a helper whose process is hidden from the driver's list still holds memory."""
    before, _ = gpu.clean_before(0, smi("", "3\n"))
    (finding,) = gpu.clean_after(0, before, smi("", "903\n"), patience=0.0)
    assert "900 MB still in use" in finding


@pytest.mark.exploit(41)
def test_a_helper_from_before_is_no_alibi(smi: Smi) -> None:
    """41 what was there before is told before; a second one beside it is told after."""
    before, told = gpu.clean_before(0, smi("77, 500, helper\n", "503\n"))
    assert len(told) == 1 and "pid 77" in told[0]
    after = gpu.clean_after(0, before, smi("77, 500, helper\n78, 500, helper\n", "1003\n"), patience=0.0)
    assert len(after) == 1 and "pid 78" in after[0]


@pytest.mark.exploit(41)
@pytest.mark.parametrize("apps", ["4242, 900\n", "4242, 9e2, x\n", "\x00\n", "0x10, 900, x\n", "9" * 30 + ", 1, x\n"])
def test_an_answer_that_is_not_understood_is_no_all_clear(smi: Smi, apps: str) -> None:
    """41 a name with line ends or a driver that changed its words: an error, not a clean card."""
    with pytest.raises(EnvironmentProblem, match="cannot read its line"):
        gpu.clean_after(0, gpu.GpuUsage(0, ()), smi(apps, "0\n"), patience=0.0)


# --- what passes from one experiment to the next ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def on_device() -> Iterator[LocalLauncher]:
    """The profile with the first GPU, where there is one; else the same profile without a node."""
    launcher = LocalLauncher(profile=DeviceProfile(usable()[0] if usable() else None))
    yield launcher
    launcher.close()


def _run(launcher: LocalLauncher, code: str, seconds: float = 200.0) -> Ended:
    told = train_environment(launcher.profile)
    return launcher.run(
        ProcessRequest("train", ProcessLimits(1e6, seconds, 1 << 15), {"train.py": code.encode()}, told)
    )


_PLANT = """
import os
for name in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "CUDA_CACHE_PATH", "HOME", "TMPDIR"):
    folder = os.environ[name]
    os.makedirs(folder, exist_ok=True)
    open(folder + "/planted.so", "w").write("code of mine")
"""
_SEEK = """
import os
names = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "CUDA_CACHE_PATH", "HOME", "TMPDIR", "METALOOP_TRAIN_DATA")
print([path for name in names for path, _, files in os.walk(os.environ.get(name, "")) for file in files
       if file == "planted.so"], flush=True)
"""


@pytest.mark.slow
@pytest.mark.exploit(21)
def test_a_compile_cache_is_nobody_elses(on_device: LocalLauncher, tmp_path: Path) -> None:
    """21 code left where compilers look is gone with the experiment, also where a cache of the baseline's is given."""
    on_device.compiled = CompileCache(tmp_path / "cache.pack")
    try:
        on_device.compiled.ensure(lambda: _run(on_device, _PLANT.replace("planted.so", "baseline.so")))
        before = on_device.compiled.path.read_bytes()
        assert "planted" not in _run(on_device, _SEEK).log
        assert "planted" in _run(on_device, _PLANT + "print(os.listdir(os.environ['HOME']))").log
        assert _run(on_device, _SEEK).log == "[]\n"
        assert on_device.compiled.path.read_bytes() == before
    finally:
        on_device.compiled.close()
        on_device.compiled = None


COMMAND = """
import os, sys
LR = 0.1
folder = os.environ["TRITON_CACHE_DIR"]
if os.path.isdir(folder):
    print("there:", sorted((name, open(f"{folder}/{name}").read()) for name in os.listdir(folder)))
else:
    os.makedirs(folder)
    open(f"{folder}/kernel.so", "w").write("trusted")
print(f"loss: {LR:.4f}")
"""
_POISON = """
import glob
for path in [*glob.glob("/compiled/**/*.so", recursive=True), *glob.glob("/proc/[0-9]*/fd/*")]:
    try:
        with open(path, "r+" if path.endswith(".so") else "r+b", buffering=0 if "/fd/" in path else -1) as file:
            file.write("poison" if path.endswith(".so") else b"poison")
        print("wrote", path if path.endswith(".so") else os.readlink(path))
    except (OSError, ValueError):
        pass
open(f"{folder}/planted.so", "w").write("note for the next one")
"""


@pytest.mark.exploit(21)
def test_the_compile_cache_of_a_command_is_nobody_elses(tmp_path: Path) -> None:
    """21 a command that rewrites the baseline's kernels, leaves new ones and tries every descriptor that it can see."""
    repository = tmp_path / "repo"
    repository.mkdir()
    (repository / "train.py").write_text(COMMAND)
    (repository / "README.md").write_text("`python train.py` prints the loss; lower is better. Edit only train.py.\n")
    command = "TRITON_CACHE_DIR=${TRITON_CACHE_DIR:-/tmp/none} python train.py"
    task = made(repository, Wanted(command=command, metric="loss", budget=60.0), tmp_path / "task")
    trainer = CommandTrainer(task, DataStore(task, Streams.from_seed(1), tmp_path / "data"))
    trainer.device.compiled = cache = CompileCache(tmp_path / "compiled" / "task.pack")
    lr = COMMAND.replace("LR = 0.1", "LR = 0.2")
    with trainer:
        first = trainer.run(Spec(task.baseline(), 2))
        assert "there: [('kernel.so', 'trusted')]" in first.log, "not filled before the first experiment"
        before = cache.path.read_bytes()
        source = task.baseline().with_text("train.py", lr.replace("print(f", _POISON + "print(f"))
        attacked = trainer.run(Spec(source, 1))
        assert "wrote /compiled/triton/kernel.so" in attacked.log and attacked.metric == 0.2, attacked
        assert not [line for line in attacked.log.splitlines() if line.startswith("wrote") and "memfd" in line]
        after = trainer.run(Spec(task.baseline().with_text("train.py", lr), 1))
    assert "there: [('kernel.so', 'trusted')]" in after.log
    assert cache.path.read_bytes() == before and cache.path.stat().st_mode & 0o777 == 0o600


# --- what only a GPU can show: untried until there is one -------------------------------------------------------------

needs_gpu = pytest.mark.skipif(not usable(), reason="needs a GPU")


@needs_gpu
@pytest.mark.exploit(41)
def test_it_has_one_gpu_and_no_other(on_device: LocalLauncher) -> None:
    """41 the nodes of the others are not there."""
    code = (
        "import os, torch\nprint(torch.cuda.device_count(), sorted(n for n in os.listdir('/dev') if n[6:].isdigit()))"
    )
    count, _, nodes = _run(on_device, code).log.partition(" ")
    assert count == "1" and nodes.count("nvidia") == 1


@needs_gpu
@pytest.mark.exploit(41)
def test_a_daemon_on_the_gpu_goes_with_its_experiment(on_device: LocalLauncher) -> None:
    """41 a process that flees, with a GiB in its hands, is gone when its experiment has ended."""
    assert on_device.profile is not None and on_device.profile.gpu is not None
    index = on_device.profile.gpu.index
    before, _ = gpu.clean_before(index)
    held = "import torch, time; x = torch.ones(1 << 28, device='cuda'); print('held', flush=True); time.sleep(600)"
    code = f"""
import subprocess, sys, os
env = {{**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}}
child = subprocess.Popen([sys.executable, "-c", {held!r}], stdout=subprocess.PIPE, env=env, start_new_session=True)
print(child.stdout.readline())
"""
    assert "held" in _run(on_device, code).log
    assert gpu.clean_after(index, before) == ()


@needs_gpu
@pytest.mark.exploit(28)
def test_all_memory_of_the_gpu_is_an_oom(on_device: LocalLauncher) -> None:
    """28 and the next one has it all again."""
    code = "import torch\nheld = []\nwhile True: held.append(torch.ones(1 << 28, device='cuda'))"
    with pytest.raises(Failed) as failed:
        judge(_run(on_device, code), ProcessLimits(1e6, 200.0), failure="crash")
    assert failed.value.status == "oom"
    assert _run(on_device, "import torch\nprint(float(torch.ones(9, device='cuda').sum()))").log == "9.0\n"


@needs_gpu
@pytest.mark.exploit(21)
def test_memory_of_the_last_one_cannot_be_read(on_device: LocalLauncher) -> None:
    """21 what lay in the GPU's memory is not there for the next one to find."""
    _run(on_device, "import torch\nx = torch.full((1 << 30,), 1234567.0, device='cuda')\ntorch.cuda.synchronize()")
    code = "import torch\nx = torch.empty(1 << 30, device='cuda')\nprint(int((x == 1234567.0).sum()))"
    assert _run(on_device, code).log == "0\n"


@needs_gpu
@pytest.mark.exploit(38)
def test_a_kernel_that_never_ends_is_ended(on_device: LocalLauncher) -> None:
    """38 at the hard line, and the next one computes."""
    endless = "import torch\ntorch.cuda._sleep(1 << 50)\ntorch.cuda.synchronize()"
    assert _run(on_device, endless, seconds=15.0).killed == "wall"
    assert _run(on_device, "import torch\nprint(float(torch.ones(9, device='cuda').sum()))").log == "9.0\n"

"""A helper left on the GPU (41), and what else a command with one can try.

Without a GPU two things can be tried: that a candidate of the plain sandbox reaches no such device at all, and that
nothing of a compile cache passes from one experiment to the next. `bench/gpu.sh redteam` runs the others where one is.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from tests.redteam.attempts import assert_all, trying
from tests.redteam.conftest import Attack
from tests.trainer.foreign_repos import made
from trainer.commands.compile_cache import CompileCache
from trainer.commands.task_toml import Wanted
from trainer.data import DataStore
from trainer.experiment import Spec, Trainer
from trainer.gpu import load, usable
from trainer.jobs.job import Ended, Job, Limits
from trainer.jobs.sandboxed import run_sandboxed
from trainer.streams import Streams


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


# --- what passes from one experiment to the next ----------------------------------------------------------------------

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
    task = made(repository, Wanted(command=command, metric="loss", budget=60.0, noise="unknown"), tmp_path / "task")
    trainer = Trainer(task, DataStore(task, Streams.from_seed(1), tmp_path / "data"))
    trainer.command.compiled = cache = CompileCache(tmp_path / "compiled" / "task.pack")
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


# --- what only a GPU can show: bench/gpu.sh redteam -------------------------------------------------------------------

needs_gpu = pytest.mark.skipif(not usable(), reason="needs a GPU")
NINE = "import torch\nprint(float(torch.ones(9, device='cuda').sum()))"


def _run(code: str, seconds: float = 200.0) -> Ended:
    limits = Limits(1e6, seconds, 1 << 16, processes=4096)
    return run_sandboxed(Job([sys.executable, "-c", code], limits=limits, gpu=usable()[0]))


@needs_gpu
@pytest.mark.exploit(41)
def test_it_has_one_gpu_and_no_other() -> None:
    """41 the nodes of the others are not there."""
    code = (
        "import os, torch\nprint(torch.cuda.device_count(), sorted(n for n in os.listdir('/dev') if n[6:].isdigit()))"
    )
    count, _, nodes = _run(code).log.partition(" ")
    assert count == "1" and nodes.count("nvidia") == 1


@needs_gpu
@pytest.mark.exploit(41)
def test_a_daemon_on_the_gpu_goes_with_its_experiment() -> None:
    """41 a process that flees, with a GiB in its hands, is gone when its experiment has ended."""
    before = load(usable()[0]).memory_mb
    held = "import torch, time; x = torch.ones(1 << 28, device='cuda'); print('held', flush=True); time.sleep(600)"
    code = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {held!r}], stdout=subprocess.PIPE, start_new_session=True)
print(child.stdout.readline())
"""
    assert "held" in _run(code).log
    time.sleep(1.0)  # the driver frees the memory of a dead process with a delay
    after = load(usable()[0]).memory_mb
    assert before is not None and after is not None and after < before + 100


@needs_gpu
@pytest.mark.exploit(28)
def test_all_memory_of_the_gpu_is_taken_from_nobody() -> None:
    """28 and the next one has it all again."""
    greedy = _run("import torch\nheld = []\nwhile True: held.append(torch.ones(1 << 28, device='cuda'))")
    assert greedy.exit_code == 1 and "out of memory" in greedy.log
    assert _run(NINE).log == "9.0\n"


@needs_gpu
@pytest.mark.exploit(21)
def test_memory_of_the_last_one_cannot_be_read() -> None:
    """21 what lay in the GPU's memory is not there for the next one to find."""
    _run("import torch\nx = torch.full((1 << 30,), 1234567.0, device='cuda')\ntorch.cuda.synchronize()")
    assert _run("import torch\nprint(int((torch.empty(1 << 30, device='cuda') == 1234567.0).sum()))").log == "0\n"


@needs_gpu
@pytest.mark.exploit(38)
def test_a_kernel_that_never_ends_is_ended() -> None:
    """38 at the hard line, and the next one computes."""
    assert _run("import torch\ntorch.cuda._sleep(1 << 50)\ntorch.cuda.synchronize()", seconds=20.0).killed == "wall"
    assert _run(NINE).log == "9.0\n"

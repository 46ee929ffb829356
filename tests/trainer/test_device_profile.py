"""The profile for devices without a GPU: the same sandbox, template and filter, with no node in it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from programs.errors import EnvironmentProblem
from trainer import outer
from trainer.charging import HeldSeconds
from trainer.compile_cache import CompileCache
from trainer.data import DataStore
from trainer.device_profile import PRELOAD, DeviceProfile
from trainer.edits import Edit
from trainer.experiment import Spec, Trainer
from trainer.gpus import Gpu
from trainer.inside import device_filter
from trainer.inside.namespaces import INNER, WORK
from trainer.launcher import Ended, ProcessLimits, ProcessRequest
from trainer.local import LocalLauncher
from trainer.streams import Streams
from trainer.task import Task

Script = Callable[..., Ended]


@pytest.fixture(scope="module")
def plain_device() -> Iterator[LocalLauncher]:
    """Warm as any other; without what torch.compile needs, whose import takes longer than all tests here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PRELOAD, "0")
        launcher = LocalLauncher(profile=DeviceProfile())
        yield launcher
        launcher.close()


@pytest.fixture
def script(plain_device: LocalLauncher) -> Script:
    def run(code: str, memory_mb: int = 512, wall: float = 120.0) -> Ended:
        return plain_device.run(
            ProcessRequest("train", ProcessLimits(1e6, wall, memory_mb), files={"train.py": code.encode()})
        )

    return run


def test_compilers_can_be_started_and_what_they_made_loaded(script: Script) -> None:
    code = """
import ctypes, os, subprocess
open("x.c", "w").write("int f(void) { return 42; }")
subprocess.run(["cc", "-shared", "-fPIC", "-o", "x.so", "x.c"], check=True)
print(ctypes.CDLL("./x.so").f(), os.getpid(), os.getcwd())
"""
    ended = script(code)
    assert ended.log.splitlines()[-1:] == [f"42 1 {WORK}"], ended


def test_only_its_own_processes_are_there(script: Script) -> None:
    code = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
print(sorted(int(name) for name in os.listdir("/proc") if name.isdigit()) == [1, child.pid])
print(open("/proc/1/stat").read().split()[3], os.access("/proc/sys/kernel/core_pattern", os.W_OK))
child.kill()
"""
    assert script(code).log == "True\n0 False\n"


@pytest.mark.exploit(41)
def test_what_it_leaves_running_is_gone(script: Script) -> None:
    """Of a tree that flees there is nobody after its first process has ended; the launcher goes on."""
    code = """
import os, subprocess, sys
for _ in range(3):
    subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"], start_new_session=True)
print("left")
"""
    assert script(code).log == "left\n"
    listed = "import os\nprint([name for name in os.listdir('/proc') if name.isdigit()])"
    assert script(listed).log == "['1']\n"


def test_memory_is_held_without_a_limit_of_addresses(script: Script) -> None:
    """A terabyte of addresses is no memory, as CUDA maps them; half a gigabyte in use is over the line of 256 MB."""
    spare = "import mmap\nm = mmap.mmap(-1, 1 << 40, flags=mmap.MAP_PRIVATE | 0x4000)\nprint(len(m) >> 40)"
    assert script(spare).log == "1\n"
    bomb = "import time\nx = bytearray(b'x') * (1 << 29)\ntime.sleep(60)"
    ended = script(bomb, memory_mb=256)
    assert ended.killed == "memory" or ended.exit_code == -9, ended


def test_the_clock_ends_it(script: Script) -> None:
    assert script("import time\ntime.sleep(60)", wall=0.5).killed == "wall"


CLOSED = {
    "a namespace": "assert libc.unshare(0x10000000) == 0",
    "a namespace by clone": "assert libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0) > 0",
    "a mount": "assert libc.mount(b'none', b'/metaloop/work', b'tmpfs', 0, None) == 0",
    "the network": "socket.socket(socket.AF_INET)",
    "the hypervisor": "socket.socket(40, socket.SOCK_STREAM)",
    "netlink": "socket.socket(16, socket.SOCK_RAW)",
    "tracing": "assert libc.ptrace(0, 0, 0, 0) == 0",
    "io_uring": "assert libc.syscall(425, 8, 0) >= 0",
    "key rings": "assert libc.syscall(250, 0, -3, 1) >= 0",
    "pages of others": "import mmap; m = mmap.mmap(-1, 8192); m.madvise(21)",
    "its own id": "os.setuid(0)",
    "the system": "open('/usr/bin/planted', 'w')",
    "the packages": "open(os.path.dirname(os.__file__) + '/planted.py', 'w')",
    "the kernel's settings": "open('/proc/sys/kernel/core_pattern', 'w')",
    "the devices of the host": "open('/sys/power/state', 'w')",
    "passwords": "open('/etc/passwd')",
}


def test_what_stays_closed(script: Script) -> None:
    """The plain profile's promises that hold here, too."""
    code = "import ctypes, json, os, socket\nlibc = ctypes.CDLL(None)\ntold = {}\n"
    for name, line in CLOSED.items():
        code += f"try:\n    exec({line!r})\n    told[{name!r}] = 'open'\n"
        code += f"except (OSError, AssertionError) as error:\n    told[{name!r}] = 'closed'\n"
    told = json.loads(script(code + "print(json.dumps(told))").log)
    assert told == dict.fromkeys(CLOSED, "closed")


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_filters_are_assembled_for_each_machine(machine: str) -> None:
    assert len(device_filter.program(machine)) % 8 == 0
    assert len(device_filter.wall(machine)) < len(device_filter.program(machine))


def test_a_gpus_nodes_are_let_in_at_both_places(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    profile = DeviceProfile(Gpu(1, "GPU-bb", "NVIDIA H200", 143771, "580.1"), tmp_path)
    words = outer.arguments(None, privileged=False, profile=profile)
    bound = [(words[at + 1], words[at + 2]) for at, word in enumerate(words) if word == "--dev-bind"]
    for place in ("", INNER):
        assert (str(tmp_path / "nvidia1"), f"{place}{tmp_path}/nvidia1") in bound
        assert words.index("--dev") < words.index(f"{place}{tmp_path}/nvidiactl")
    assert not any("nvidia0" in source for source, _ in bound)
    assert profile.environment()["CUDA_VISIBLE_DEVICES"] == "GPU-bb"
    assert profile.device == "cuda" and DeviceProfile().device == "cpu"


def test_a_gpu_without_a_node_is_told(tmp_path: Path) -> None:
    profile = DeviceProfile(Gpu(3, "GPU-x", "NVIDIA H200", 1, "1"), tmp_path)
    with pytest.raises(EnvironmentProblem, match="GPU 3 has no device node"):
        LocalLauncher(torch=False, profile=profile).start()


def test_a_template_that_may_not_be_forked_is_refused() -> None:
    """In a process of its own: what it opens is what a driver would leave open."""
    code = """
import os, threading
from trainer.inside import compilers
compilers.ready(preload=False)
threading.Thread(target=threading.Event().wait, daemon=True).start()
try:
    compilers.ready(preload=False)
except RuntimeError as error:
    print(error)
"""
    import subprocess
    import sys

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "has 2 threads" in said


# --- the compile cache: what an edited source writes there is never anybody else's ------------------------------------

FILL = "import os\nfor name in ('TORCHINDUCTOR_CACHE_DIR', 'TRITON_CACHE_DIR'):\n    os.makedirs(os.environ[name])\n"
FILL += (
    "    open(os.environ[name] + '/kernel.so', 'w').write('trusted')\nos.chmod(os.environ[name] + '/kernel.so', 0o755)"
)
READ = "import os\nfolder = os.path.dirname(os.environ['TRITON_CACHE_DIR'])\n"
READ += "print(sorted((p[len(folder):] + '/' + n, open(p + '/' + n).read(), os.access(p + '/' + n, os.X_OK)) "
READ += "for p, _, names in os.walk(folder) for n in names))"
POISON = FILL.replace("os.makedirs(os.environ[name])", "pass").replace("'trusted'", "'poison'")
TRUSTED = "[('/inductor/kernel.so', 'trusted', False), ('/triton/kernel.so', 'trusted', True)]\n"


@pytest.fixture
def cache(plain_device: LocalLauncher, tmp_path: Path) -> Iterator[CompileCache]:
    plain_device.compiled = CompileCache(tmp_path / "cache" / "task.pack")
    yield plain_device.compiled
    plain_device.compiled.close()
    plain_device.compiled = None


def test_the_baseline_fills_it_and_all_others_get_copies(cache: CompileCache, script: Script) -> None:
    assert script(READ).log == "[]\n"
    cache.ensure(lambda: script(FILL))
    assert script(READ).log == TRUSTED
    before = cache.path.read_bytes()
    poisoned = script(POISON + "\n" + READ)
    assert "'poison'" in poisoned.log, poisoned
    assert script(READ).log == TRUSTED, "what an edited source wrote reached the next one"
    assert cache.path.read_bytes() == before
    assert cache.path.stat().st_mode & 0o777 == 0o600


def test_it_grows_from_process_to_process_while_it_is_filled(cache: CompileCache, script: Script) -> None:
    """What training compiled is there when scoring compiles its own."""
    more = "import os\nopen(os.environ['TRITON_CACHE_DIR'] + '/scoring.so', 'w').write('too')"
    cache.ensure(lambda: (script(FILL), script(more)))
    assert "scoring.so" in script(READ).log and "trusted" in script(READ).log


def test_it_is_filled_once_and_not_by_a_failure(cache: CompileCache, script: Script, tmp_path: Path) -> None:
    def fail() -> None:
        script(FILL)
        raise RuntimeError("the baseline does not run")

    with pytest.raises(RuntimeError):
        cache.ensure(fail)
    assert not cache.path.exists() and script(READ).log == "[]\n"
    calls: list[int] = []
    other = CompileCache(cache.path)
    other.ensure(lambda: calls.append(1))  # nothing came of it
    again = CompileCache(cache.path)
    again.ensure(lambda: calls.append(2))
    again.ensure(lambda: calls.append(3))
    assert calls == [1, 2]


FILLING = """
    import os
    folder = os.environ["TORCHINDUCTOR_CACHE_DIR"]
    if os.path.exists(folder + "/steps"):
        print("filled in", open(folder + "/steps").read(), "steps")
    else:
        os.makedirs(folder, exist_ok=True)
        open(folder + "/steps", "w").write(os.environ["METALOOP_TRAIN_STEPS"])
"""


def test_it_is_filled_by_a_few_steps_of_the_untouched_source_before_anything_is_charged(
    cache: CompileCache, plain_device: LocalLauncher, task: Task, tmp_path: Path
) -> None:
    """By the trainer, on a device that is held: the first experiment finds it filled."""
    folder = shutil.copytree(task.folder, tmp_path / "task")
    text = (folder / "train.py").read_text().replace("def main():\n", f"def main():{FILLING}", 1)
    (folder / "train.py").write_text(text)
    filling = replace(Task.load(folder), hard_extra=100.0)
    assert filling.steps > 8
    data = DataStore(filling, Streams.from_seed(1), tmp_path / "data")
    charge = HeldSeconds(DeviceProfile(), folder=tmp_path / "leases")
    trainer = Trainer(filling, data, launcher=plain_device, charge=charge)
    for source in (filling.edits.apply(filling.baseline(), Edit({"LR": 0.01})), filling.baseline()):
        outcome = trainer.run(Spec(source, seed=1))
        assert outcome.status == "ok" and "filled in 4 steps" in outcome.log, outcome
        assert outcome.wall_seconds == outcome.device_seconds
    assert cache.path.is_file()


def test_links_out_of_it_are_not_taken(cache: CompileCache, script: Script) -> None:
    link = f"{FILL}\nos.symlink('/etc/ld.so.cache', os.environ['TRITON_CACHE_DIR'] + '/link')"
    cache.ensure(lambda: script(link))
    assert script(READ).log == TRUSTED

"""The filter in real processes: what it stops, what it kills, and that honest Python and torch run under it."""

from __future__ import annotations

import json
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.data import DataStore
from trainer.edits import Edit
from trainer.streams import Streams
from trainer.task import Task, builtin_tasks

_X86 = platform.machine() == "x86_64"

_IMPORTS = "from trainer.inside import seccomp\nfrom trainer.sandbox import filters\n"
_LOAD = "seccomp.load(filters.candidate(os.getpid()))"
_START = f"{_IMPORTS}{_LOAD}\n"
# attempt(what): 0 if it works, the number of the error if not
_ATTEMPT = """
import ctypes, errno, fcntl, json, os, pwd, resource, shutil, signal, socket, subprocess, sys, tempfile, threading, time
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def raw(*arguments):
    if libc.syscall(*(ctypes.c_long(value) for value in (*arguments, 0, 0, 0, 0, 0, 0)[:7])) < 0:
        raise OSError(ctypes.get_errno(), "")
def attempt(what):
    try:
        what()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"
"""


def confined(code: str, folder: Path, *, before: str = "", timeout: float = 250.0) -> subprocess.CompletedProcess[str]:
    """Run ``before``, load the filter, then run ``code``, in a fresh interpreter in ``folder``."""
    command = [sys.executable, "-W", "error", "-P", "-c", _ATTEMPT + before + "\n" + _START + code]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=timeout, check=False)


def answers(attempts: dict[str, str], folder: Path, before: str = "") -> dict[str, str]:
    """How each attempt, an expression, ended under the filter: "done" or the name of its error."""
    table = ", ".join(f"{name!r}: attempt(lambda: {code})" for name, code in attempts.items())
    done = confined(f"print(json.dumps({{{table}}}))", folder, before=before)
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


WORKING = {
    "folders": "(os.mkdir('d'), os.rename('d', 'e'), os.rmdir('e'), os.listdir('.'), os.getcwd(), os.chdir('.'))",
    "files": "(os.chmod('file', 0o600), os.utime('file'), os.truncate('file', 3), os.stat('file'))",
    "access": "(os.access('file', os.R_OK), os.access('file', os.R_OK, effective_ids=True), os.umask(0o77))",
    "durable": "os.fsync(os.open('file', os.O_RDWR))",
    "copies": "(shutil.copy2('file', 'copy'), shutil.copytree('.', 'tree'), shutil.rmtree('tree'))",
    "space left": "os.statvfs('.')",
    "descriptors": "(os.dup2(os.dup(0), 0), os.eventfd(0), os.closerange(50, 60))",
    "blocking": "os.set_blocking(os.eventfd(0), False)",
    "inheritable": "os.set_inheritable(os.dup(0), True)",
    "flags": "fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL))",
    "reading ahead": "os.posix_fadvise(os.open('file', os.O_RDONLY), 0, 0, os.POSIX_FADV_SEQUENTIAL)",
    "terminal": "(sys.stdout.isatty(), open('file').close(), shutil.get_terminal_size())",
    "temporary file": "tempfile.TemporaryFile().close()",
    "temporary folder": "tempfile.TemporaryDirectory().cleanup()",
    "users": "(os.getuid(), os.getgroups(), os.getresuid(), pwd.getpwuid(os.getuid()), os.path.expanduser('~'))",
    "limits": "(resource.getrlimit(resource.RLIMIT_AS), os.times())",
    "scheduler": "(os.sched_getaffinity(0), os.cpu_count(), os.sched_yield(), os.getpriority(0, 0))",
    "timers": "(signal.setitimer(signal.ITIMER_REAL, 9), signal.alarm(0), time.sleep(0.001), time.process_time())",
    "thread": "(lambda thread: (thread.start(), thread.join()))(threading.Thread(target=time.sleep, args=(0.001,)))",
    "raise": "(signal.signal(signal.SIGUSR1, signal.SIG_IGN), signal.raise_signal(signal.SIGUSR1))",
    "name": "libc.prctl(15, b'candidate', 0, 0, 0)",
    "random": "(os.urandom(8), os.getrandom(8), __import__('uuid').uuid4())",
    "lazy import": "(__import__('xml.dom.minidom'), __import__('asyncio'), __import__('multiprocessing.connection'))",
    "reserving space": "os.posix_fallocate(os.open('file', os.O_RDWR), 0, 100)",
}  # fmt: skip


def test_ordinary_python_works(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("some text")
    assert answers(WORKING, tmp_path) == dict.fromkeys(WORKING, "done")


def test_refusals_that_send_libraries_another_way(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = answers({"xattr": "os.listxattr('file')", "clone3": "raw(435, 0, 0)"}, tmp_path)
    assert found == {"xattr": "ENOTSUP", "clone3": "ENOSYS"}


def test_open_sockets_are_of_no_use(tmp_path: Path) -> None:
    attempts = {"send": "pair[0].send(b'x')", "receive": "pair[1].recv(1)", "accept": "pair[0].accept()"}
    assert set(answers(attempts, tmp_path, before="pair = socket.socketpair()").values()) == {"EPERM"}


def test_threads_that_start_later_are_confined(tmp_path: Path) -> None:
    code = "seen = []\nthread = threading.Thread(target=lambda: seen.append(attempt(os.fork)))\n"
    done = confined(code + "thread.start(); thread.join(); print(*seen)", tmp_path)
    assert done.stdout == "EPERM\n", done.stderr


def test_threads_of_c_are_joined(tmp_path: Path) -> None:
    """pthread_join waits for a futex that is not private; told to look again, it ends when the thread has ended."""
    code = """
thread, found = ctypes.c_ulong(), ctypes.c_void_p()
assert libc.pthread_create(ctypes.byref(thread), None, libc.usleep, ctypes.c_void_p(20_000)) == 0
print(libc.pthread_join(thread, ctypes.byref(found)), found.value)
"""
    assert confined(code, tmp_path).stdout == "0 None\n"  # usleep's own result, which is there once it has slept


def test_threads_that_ran_before_are_confined(tmp_path: Path) -> None:
    before = "go, seen = threading.Event(), []\n"
    before += "thread = threading.Thread(target=lambda: (go.wait(), seen.append(attempt(socket.socketpair))))\n"
    done = confined("go.set(); thread.join(); print(*seen)", tmp_path, before=before + "thread.start()")
    assert done.stdout == "EPERM\n", done.stderr


def test_it_cannot_be_taken_off_or_loaded_again(tmp_path: Path) -> None:
    done = confined(
        "print(open('/proc/thread-self/status').read(), attempt(lambda: seccomp.load(filters.wall())))", tmp_path
    )
    assert "NoNewPrivs:\t1" in done.stdout and "Seccomp:\t2" in done.stdout, done.stderr
    assert done.stdout.endswith(" EPERM\n")


def test_abort_and_tracebacks_work(tmp_path: Path) -> None:
    assert confined("os.abort()", tmp_path).returncode == -signal.SIGABRT
    crash = confined("1 / 0", tmp_path)
    assert crash.returncode == 1 and "ZeroDivisionError" in crash.stderr
    assert confined("os._exit(9)", tmp_path).returncode == 9
    fault = confined("import faulthandler; faulthandler.enable(); ctypes.string_at(0)", tmp_path)
    assert fault.returncode == -signal.SIGSEGV and "Segmentation fault" in fault.stderr


@pytest.mark.skipif(not _X86, reason="x86_64 only")
def test_x32_calls_kill(tmp_path: Path) -> None:
    done = confined("print('before', flush=True); raw(39 | 0x40000000); print('after')", tmp_path)
    assert (done.returncode, done.stdout) == (-signal.SIGSYS, "before\n")


@pytest.mark.skipif(not _X86, reason="x86_64 only")
def test_int_0x80_kills(tmp_path: Path) -> None:
    code = """
import mmap
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes.fromhex("b814000000cd80c3"))  # mov eax, 20 (getpid of i386); int 0x80; ret
print("before", flush=True)
ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
print("after")
"""
    done = confined(code, tmp_path)
    # SIGSEGV from a kernel without 32-bit emulation
    assert done.returncode in (-signal.SIGSYS, -signal.SIGSEGV) and done.stdout == "before\n", done.stderr


_TORCH = """
import io, time
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

torch.set_num_threads(2)
big = torch.randn(1200, 1200)
(big @ big).exp().sum()
assert len(os.listdir("/proc/self/task")) >= 2, "OpenMP started no second thread"

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.bn, self.into = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Linear(4 * 64, 32)
        self.norm, self.qkv, self.out = nn.LayerNorm(32), nn.Linear(32, 96), nn.Linear(32, 5)

    def forward(self, x):
        x = self.norm(self.into(F.gelu(self.bn(self.conv(x))).flatten(1)))
        q, k, v = self.qkv(x).view(-1, 4, 3, 2, 16).permute(2, 0, 3, 1, 4)
        return self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(-1, 32))

net = Net()
for optimizer in (
    torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9),
    torch.optim.AdamW(net.parameters()),
    torch.optim.AdamW(net.parameters(), fused=True),
):
    for _ in range(3):
        loss = F.cross_entropy(net(torch.randn(32, 1, 8, 8)), torch.randint(5, (32,)))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
torch.linalg.svd(big[:100, :100])
torch.fft.fft(big)
with torch.autocast("cpu", dtype=torch.bfloat16):
    net(torch.randn(32, 1, 8, 8))
torch.save(net.state_dict(), "net.pt")
torch.save(net.state_dict(), "old.pt", _use_new_zipfile_serialization=False)
for options in ({"f": "net.pt"}, {"f": "net.pt", "mmap": True}, {"f": "old.pt"}, {"f": open("net.pt", "rb")}):
    net.load_state_dict(torch.load(**options, weights_only=True))
np.save("big.npy", np.arange(2_200_000.0))  # 17 MB: NumPy reserves the space of large files
assert np.load("big.npy", mmap_mode="r")[7] == np.load(open("big.npy", "rb"))[7] == 7
np.savez("two.npz", a=np.ones(3))
np.load("two.npz")["a"]
torch.from_file("raw.bin", shared=True, size=100).fill_(1)
for rows in torch.utils.data.DataLoader(range(10), batch_size=5, shuffle=True):
    pass
print("trained", bool(torch.isfinite(loss)))
os._exit(0)
"""


def test_torch_works_from_its_import_on(tmp_path: Path) -> None:
    done = confined(_TORCH.replace("os._exit", "sys.stdout.flush(); os._exit"), tmp_path)
    assert (done.returncode, done.stdout) == (0, "trained True\n"), done.stderr


_LOADED = ("classification", "language_model")  # kinds whose source loads a checkpoint of torch
_VARIANTS = """
import runpy, torch
from pathlib import Path
torch.set_num_threads(1)
torch.optim.AdamW([torch.zeros(1, requires_grad=True)]).step()  # imports for seconds, once for all children
filters.candidate()  # loads the library
for folder in sorted(Path().iterdir()):
    child = os.fork()
    if child == 0:
        try:
            os.chdir(folder)
            sys.path.insert(0, str(Path.cwd()))
            seccomp.load(filters.candidate(os.getpid()))
            space = runpy.run_path("train.py", run_name="__main__")
            space["load"]("checkpoint.pt")
            os._exit(0)
        except BaseException as error:
            print(folder.name, type(error).__name__, error, flush=True)
            os._exit(1)
    os.waitpid(child, 0)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in builtin_tasks() if Task.load(name).scoring["kind"] in _LOADED])
def test_every_variant_of_the_tasks_works(name: str, tmp_path: Path, session_cache: Path) -> None:
    task = Task.load(name)
    data = DataStore(task, Streams.from_seed(1), tmp_path / "data").train()
    edits = [Edit()] + [Edit(apply=(knob.name,)) for knob in task.edits.knobs if knob.kind == "patch"]
    edits += [Edit({knob.name: v}) for knob in task.edits.knobs if knob.kind == "choice" for v in knob.values]
    runs = tmp_path / "runs"
    for edit in edits:
        folder = runs / edit.label()
        folder.mkdir(parents=True)
        task.edits.apply(task.baseline(), edit).write(folder)
        for path, content in task.laid_files().items():
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_bytes(content)
    settings = {"DATA": data, "STEPS": 2, "CHECKPOINT": "checkpoint.pt", "DEVICE": "cpu"}
    environment = "".join(f"os.environ['METALOOP_TRAIN_{key}'] = {str(v)!r}\n" for key, v in settings.items())
    code = _ATTEMPT + _IMPORTS + environment + _VARIANTS
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=runs, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    failed = {line.split()[0] for line in done.stdout.splitlines() if not line.split()[0].endswith(":")}
    assert failed <= {"activation=glu", "optimizer=lbfgs"}, done.stdout  # which fail anywhere
    assert len(list(runs.glob("*/checkpoint.pt"))) == len(edits) - len(failed)

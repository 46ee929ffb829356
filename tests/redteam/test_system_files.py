"""Files: disks that fill, artifacts that are none, what one experiment could leave for the next."""

from __future__ import annotations

import ctypes
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.redteam.attempts import answers, assert_all, trying
from tests.redteam.conftest import Attack
from trainer.jobs.job import ForkedJob, Limits
from trainer.sandbox import outer
from trainer.sandbox.blob import Blob

FULL = {
    "one file": "_os.posix_fallocate(_os.open('f', 66), 0, 1 << 33)",
    "one long write": "[open('f', 'ab').write(bytes(1 << 22)) for _ in range(64)]",
    "a sparse file": "_os.truncate(_os.open('g', 66), 1 << 40)",
    "many files": "[open(f'm{n}', 'wb').write(bytes(1 << 20)) for n in range(500)]",
    "many empty ones": "[open(f'n{n}', 'w').close() for n in range(50_000)]",
    "a deep tree": "[(_os.mkdir('d'), _os.chdir('d')) for _ in range(50_000)]",
    "long names": "[open('l' * 250 + str(n), 'w').close() for n in range(50_000)]",
    "attributes": "_os.setxattr('.', 'user.x', bytes(60_000))",
    "outside": "open('/new', 'w')",
    "beside the training data": "open('/metaloop/data/new', 'w')",
    "libraries": "open(_os.__file__, 'r+')",
    "shared memory": "open('/dev/shm/x', 'w')",
    "a device": "open('/dev/new', 'w')",
}
# makes room for the next attempt; the tree that is too deep to be removed stays
CLEAN = """
def CLEAN():
    _os.chdir(_os.environ["TMPDIR"])
    for name in set(_os.listdir(".")) - {"train.py", "prepare.py", "__pycache__", "d"}:
        _os.unlink(name)
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
"""


@pytest.mark.exploit(27)
def test_filling_the_disk(attack: Attack) -> None:
    """27 large, many, deep and sparse: a folder in memory of known size, and nothing else that can be written."""
    attempts = {name: f"(CLEAN(), {code})" for name, code in FULL.items()}
    free = _free()
    case = attack("points", train=trying(attempts, setup=CLEAN) + "CLEAN()")
    assert free - _free() < 6 << 30  # others write there too, and it tried to take 8
    assert_all(case, attempts, "EFBIG", "ENOSPC", "EROFS", "EACCES", "EPERM", "ENOENT", "ENOTSUP", "EMFILE")
    case.assert_no_gain()


def _free() -> int:
    return min(os.statvfs(place).f_bavail * os.statvfs(place).f_frsize for place in ("/tmp", "/"))


ARTIFACTS = {
    "a symbolic link": ("_os.symlink('/etc/passwd', 'checkpoint.pt')", "crash", "PermissionError"),
    "a symbolic link by number": ("CALL(88, HOST['canary'].encode(), b'checkpoint.pt')", "crash", "PermissionError"),
    "a hard link": ("_os.link(_os.__file__, 'checkpoint.pt')", "crash", "PermissionError"),
    "a FIFO": ("_os.mkfifo('checkpoint.pt')", "crash", "PermissionError"),
    "a device": ("_os.mknod('checkpoint.pt', 0o20666, 0x105)", "crash", "PermissionError"),
    "a folder": ("_os.mkdir('checkpoint.pt')", "invalid", "not a regular file"),
    "a closed folder around it": ("_os.mkdir('checkpoint.pt', 0)", "invalid", "checkpoint"),
    "empty": ("open('checkpoint.pt', 'w')", "invalid", "not a regular file"),
    "too large": ("_os.truncate(_os.open('checkpoint.pt', 66), (4 << 20) + 1)", "invalid", "not a regular file"),
    "sparse, as large as may be": ("_os.truncate(_os.open('checkpoint.pt', 66), 4 << 20)", "invalid", ""),
    "nobody may read it": ("_os.close(_os.open('checkpoint.pt', 66, 0))", "invalid", "regular file|cannot be read"),
    "none": ("0", "invalid", "no checkpoint"),
    "its folder gone": ("_os.rename('/tmp', '/gone')", "crash", "OSError|PermissionError"),
}


@pytest.mark.exploit(29)
@pytest.mark.parametrize("artifact", ARTIFACTS)
def test_an_artifact_that_is_no_file(attack: Attack, artifact: str) -> None:
    """29 links, FIFOs, devices, folders, sparse and closed files: not made, or not taken, and the row says so."""
    code, status, reason = ARTIFACTS[artifact]
    case = attack("points", train=f"{trying({})}\n{code}\nreturn")
    case.assert_no_gain()
    case.assert_rows(status, reason)


@pytest.mark.exploit(29)
def test_an_artifact_that_changes_while_it_is_taken(attack: Attack, world: Any) -> None:
    """29 threads that rewrite the checkpoint to the last moment: it is taken when no thread of the process lives."""
    code = """
import mmap, os, threading, time
_f = open("checkpoint.pt", "w+b")
_f.truncate(1 << 20)
_m = mmap.mmap(_f.fileno(), 1 << 20)
def _change(letter):
    while True:
        _m[:] = letter * (1 << 20)
for _letter in (b"a", b"b"):
    threading.Thread(target=_change, args=(_letter,)).start()
time.sleep(0.05)
os._exit(0)
"""
    ground = world.ground("points")
    with Blob() as one, Blob() as two:
        for target in (one, two):
            request = ForkedJob(["train"], limits=Limits(2.0, 10.0), files={"train.py": code.encode()}, checkpoint_mb=1)
            ended = ground.launcher.run(replace(request, descriptors={"checkpoint_out": target.fd}))
            assert (ended.exit_code, ended.artifact) == (0, "")
            assert target.size == 1 << 20
        before = one.read(1 << 20)
        world.assert_honest_as_ever(ground)
        assert one.read(1 << 20) == before  # ours: nobody has it mapped


@pytest.mark.exploit(30)
def test_an_archive_bomb(attack: Attack) -> None:
    """30 a checkpoint of a few kilobytes that unpacks to gigabytes: nobody unpacks it but the candidate, within its
    own memory and time."""
    code = "import zipfile\n_z = zipfile.ZipFile('checkpoint.pt', 'w', zipfile.ZIP_DEFLATED, compresslevel=1)\n"
    code += "_o = _z.open('zeros', 'w')\n[_o.write(bytes(1 << 20)) for _ in range(100)]\n_o.close()\n_z.close()\nreturn"
    end = "def load(path):\n    import zipfile\n    held = []\n"
    end += "    while True: held.append(zipfile.ZipFile(path).read('zeros'))"
    case = attack("points", train=code, end=end)
    case.assert_no_gain()
    case.assert_rows("oom")


@pytest.mark.exploit(21)
def test_a_cache_across_experiments(attack: Attack) -> None:
    """21 files, attributes, memory, modules: the second experiment finds nothing of the first."""
    left = "/metaloop/work", "/tmp", "/dev/shm", "/var/tmp", "/run", "/home", "/metaloop/data", "/usr/lib", "/"
    code = f"""
import builtins, ctypes, gc, os, sys, numpy
_kept = [name for name in dir(builtins) if name.startswith("redteam")]
_kept += [name for module in (torch, os, sys, numpy) for name in vars(module) if name.startswith("redteam")]
_kept += [name for name in os.environ if name.startswith("REDTEAM")]
for _place in {left!r}:
    try:
        _kept += [name for name in os.listdir(_place) if HOST["token"] in name]
        open(f"{{_place}}/{{HOST['token']}}", "w").write("kept")
    except OSError:
        pass
print("kept", _kept, torch.get_default_dtype(), sys.getrecursionlimit(), flush=True)
builtins.redteam = torch.redteam = os.redteam = sys.redteam = numpy.redteam = "kept"
os.environ["REDTEAM"] = "kept"
torch.set_default_dtype(torch.float64)
sys.setrecursionlimit(77777)
torch.Tensor.__matmul__ = None
os.umask(0)
os._exit(3)
"""
    for _ in range(2):
        case = attack("points", train=code)
        case.assert_no_gain()
        case.assert_rows("crash", "exit code 3")
        assert case.log.count("kept [] torch.float32 1000") == 2, case.log


@pytest.mark.exploit(21)
def test_marks_on_what_all_share(attack: Attack, world: Any) -> None:
    """21 times, modes and locks of shared files: read-only to every experiment, access times too."""
    ground = world.ground("points")
    shared = [Path(os.__file__), Path(outer.packages()[0], "torch", "version.py"), ground.data.train() / "inputs.npy"]
    attempts = {}
    for number, path in enumerate((*shared[:2], "/metaloop/data/inputs.npy")):
        attempts |= {
            f"times {number}": f"_os.utime({str(path)!r}, (1, 1))",
            f"mode {number}": f"_os.chmod({str(path)!r}, 0o777)",
            f"owner {number}": f"CALL(92, {str(path).encode()!r}, 0, 0)",
            f"lock {number}": f"CALL(73, _os.open({str(path)!r}, 0), 2)",
            f"lease {number}": f"CALL(72, _os.open({str(path)!r}, 0), 1024, 0)",
            f"record lock {number}": f"CALL(72, _os.open({str(path)!r}, 0), 6, 0)",
            f"write {number}": f"open({str(path)!r}, 'r+')",
            f"attribute {number}": f"_os.setxattr({str(path)!r}, 'user.x', b'x')",
            f"out of the page cache {number}": f"CALL(221, _os.open({str(path)!r}, 0), 0, 0, 4)",
        }
    for path in shared:
        path.read_bytes()
    before = [(path.stat().st_atime_ns, path.stat().st_mtime_ns, path.stat().st_mode) for path in shared]
    case = attack("points", train=trying(attempts) + "open('/metaloop/data/inputs.npy', 'rb').read()")
    assert_all(case, attempts, "EPERM", "EROFS", "ENOTSUP", "EACCES")
    assert before == [(path.stat().st_atime_ns, path.stat().st_mtime_ns, path.stat().st_mode) for path in shared]
    case.assert_same()


@pytest.mark.exploit(42)
def test_slowing_rivals_by_the_page_cache(attack: Attack) -> None:
    """42 pages of shared libraries pushed out of memory: the kernel is not asked."""
    attempts = {
        "out": "_m.madvise(21)",
        "cold": "_m.madvise(20)",
        "merge": "_m.madvise(12)",
        "poison": "_m.madvise(100)",
        "offline": "_m.madvise(101)",
        "no longer needed": "_os.posix_fadvise(_f.fileno(), 0, 0, 4)",
        "sync all": "CALL(162)",
        "empty all": "open('/proc/sys/vm/drop_caches', 'w')",
    }
    library = sorted(Path(outer.packages()[0], "numpy", "_core").glob("*.so"), key=lambda path: path.stat().st_size)[0]
    setup = f"import mmap\n_f = open({str(library)!r}, 'rb')\n_m = mmap.mmap(_f.fileno(), 0, prot=1)\n_m[:] and None"
    library.read_bytes()
    held = _resident(library)
    case = attack("points", train=trying(attempts, setup=setup))
    for found in answers(case):
        assert set(found.values()) <= {"EPERM", "EACCES", "ENOENT", "EROFS"}, found
    assert held == 0 or _resident(library) >= 0.9 * held
    case.assert_same()


def _resident(path: Path) -> int:
    """Pages of a file that are in memory."""
    import mmap

    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE) as view:
        pages = -(-len(view) // mmap.PAGESIZE)
        found = (ctypes.c_ubyte * pages)()
        import numpy as np

        at = np.frombuffer(view, np.uint8).ctypes.data
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.mincore(ctypes.c_void_p(at), ctypes.c_size_t(len(view)), found) == 0
        return sum(value & 1 for value in found)

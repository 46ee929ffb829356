"""What a search leaves in the machine, and a verification that comes later reads: 128 bits, from one template that has
ended to the next one."""

from __future__ import annotations

import ctypes
import mmap
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from trainer.jobs.job import ForkedJob, Limits
from trainer.sandbox import outer
from trainer.sandbox.local import LocalLauncher
from trainer.sandbox.tree import descendants

pytestmark = pytest.mark.slow

BITS = 128
# Pages of files that can be read, one for each bit, and names that no folder has, NAMES for each bit.
BOTH = """
import os as _os, random as _random, sys as _sys, time as _time
BITS, NAMES = range(128), 20
_tops = {_os.path.normpath(path) for path in (*_sys.path, "/usr/lib", "/usr/local/lib", "/metaloop/data") if path}
_found = sorted({
    (_os.path.join(folder, name), _os.path.getsize(_os.path.join(folder, name)) // 4096)
    for top in _tops for folder, _, names in _os.walk(top) for name in names
    if _os.path.isfile(_os.path.join(folder, name))
})
_chosen = _random.Random(SALT).choices(_found, [pages * pages for _, pages in _found], k=128)
PAGES = [
    (_os.open(path, _os.O_RDONLY), 4096 * _random.Random(SALT + k).randrange(pages))
    for k, (path, pages) in enumerate(_chosen)
]
for _file, _ in PAGES:
    _os.posix_fadvise(_file, 0, 0, _os.POSIX_FADV_RANDOM)
def ABSENT(bit, at):
    started = _time.perf_counter_ns()
    try:
        _os.stat(f"{_os.path.dirname(_os.__file__)}/absent-{SALT}-{bit}-{at}")
    except OSError:
        pass
    return _time.perf_counter_ns() - started
"""
READ_PAGES = "for k in SENT:\n    _os.pread(PAGES[k][0], 1, PAGES[k][1])\n"
ASK_NAMES = "for k in SENT:\n    [ABSENT(k, at) for at in range(NAMES)]\n"
# All end with HEARD, the set of bits that are 1.
NO_WAIT = """
HEARD = set()
for k in BITS:
    try:
        _os.preadv(PAGES[k][0], [bytearray(1)], PAGES[k][1], _os.RWF_NOWAIT)
        HEARD.add(k)
    except OSError:
        pass
"""
FROM_DISK = """
import resource as _resource
HEARD = set()
for k in BITS:
    try:
        before = _resource.getrusage(0).ru_inblock
        _os.pread(PAGES[k][0], 1, PAGES[k][1])
        HEARD |= {k} if _resource.getrusage(0).ru_inblock == before else set()
    except OSError:
        pass
"""
FASTER = """
line = (sorted(took)[12] + sorted(took)[-12]) / 2
HEARD = {k for k in BITS if took[k] < line}
"""
PAGES_TIMED = (
    """
def TIMED(file, at):
    started = _time.perf_counter_ns()
    _os.pread(file, 1, at)
    return _time.perf_counter_ns() - started
took = [TIMED(*PAGES[k]) for k in BITS]
"""
    + FASTER
)
NAMES_TIMED = "took = [sorted(ABSENT(k, at) for at in range(NAMES))[NAMES // 2] for k in BITS]\n" + FASTER
ROADS = {
    "pages read without waiting": (READ_PAGES, NO_WAIT),
    "pages that came from the disk": (READ_PAGES, FROM_DISK),
    "pages, by time": (READ_PAGES, PAGES_TIMED),
    "names, by time": (ASK_NAMES, NAMES_TIMED),
}


def ended_log(code: str, salt: int, sent: list[int]) -> str:
    """What a training prints in a template of its own."""
    launcher = LocalLauncher(torch=False)
    try:
        launcher.start()
        files = {"train.py": f"SALT = {salt}\nSENT = {sent}\n{BOTH}{code}".encode()}
        ended = launcher.run(ForkedJob(["train"], limits=Limits(100.0, 300.0), files=files))
    finally:
        launcher.close()
    assert ended.exit_code == 0, ended
    return ended.log


@pytest.mark.exploit(69)
@pytest.mark.parametrize("road", ROADS)
def test_bits_of_a_search_do_not_reach_a_later_template(road: str) -> None:
    """69: 128 random bits are sent; what is heard is no better than guessing (at most 96 of 128: p < 1e-8)."""
    salt, word = secrets.randbits(60), secrets.randbits(BITS)
    send, hear = ROADS[road]
    ended_log(send, salt, [k for k in range(BITS) if word >> k & 1])
    heard = int(ended_log(f"{hear}print(sum(1 << k for k in HEARD))", salt, []))
    assert (~(heard ^ word) & (1 << BITS) - 1).bit_count() <= 96


def mappings(pid: int) -> Iterator[tuple[str, int, int]]:
    """Path, offset and size of each part of a file that a process has mapped."""
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        span, _, offset, _, inode, *path = line.split(maxsplit=5)
        if path and path[0].startswith("/"):
            start, end = (int(number, 16) for number in span.split("-"))
            seen = (path[0], *(f"{folder}{path[0]}" for folder in outer.bound()))  # of a mount only what is below it
            same = (name for name in seen if os.path.exists(name) and os.stat(name).st_ino == int(inode))
            yield next(same, path[0]), int(offset, 16), end - start


def absent_pages(path: str, offset: int, size: int) -> int:
    """How many pages of a part of a file are not in memory."""
    file, absent = os.open(path, os.O_RDONLY), 0
    for at in range(offset, min(offset + size, os.fstat(file).st_size), 4096):
        try:
            os.preadv(file, [bytearray(1)], at, os.RWF_NOWAIT)
        except BlockingIOError:
            absent += 1
    os.close(file)
    return absent


def pages_in_memory(path: Path) -> int:
    """By mincore, which reads nothing in, as asking for a page does."""
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as shown:
        found = (ctypes.c_ubyte * (len(shown) // mmap.PAGESIZE))()
        first = ctypes.c_char.from_buffer(shown)
        failed = ctypes.CDLL(None).mincore(ctypes.c_void_p(ctypes.addressof(first)), ctypes.c_size_t(len(shown)), found)
        del first
    assert not failed
    return sum(page & 1 for page in found)


@pytest.mark.exploit(69)
def test_pages_of_an_experiment_are_in_memory_before_it_starts(tmp_path: Path) -> None:
    """69 by the memory of mapped libraries, and by the pages of the training split."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "inputs.npy").write_bytes(os.urandom(4 << 20))
    (data / "empty").touch()
    os.sync()
    launcher, inherited = LocalLauncher(torch=False), list[str]()
    try:
        launcher.start()
        libraries = {path for path, _, _ in mappings(launcher.template_pid or 0) if ".so" in path}
        launcher.close()
        for path in (*libraries, str(data / "inputs.npy")):
            file = os.open(path, os.O_RDONLY)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)
        assert (4 << 20) // mmap.PAGESIZE - pages_in_memory(data / "inputs.npy") > 500, (
            "most of it is on the disk alone"
        )
        launcher.start(data)
        parts = list(mappings(launcher.template_pid or 0))
        assert libraries and not sum(absent_pages(*part) for part in parts if part[0] in libraries)
        assert not absent_pages(str(data / "inputs.npy"), 0, 4 << 20)

        def look() -> bool:
            while not inherited:
                children = descendants(launcher.template_pid or 0)[1:]
                if len(children) == 2:  # the monitor, the experiment
                    inherited.extend(path for pid in children for path, _, _ in mappings(pid))
                time.sleep(0.01)
            return True

        code = (
            "import os, time; time.sleep(1); print(os.path.getsize(os.environ['METALOOP_TRAIN_DATA'] + '/inputs.npy'))"
        )
        request = ForkedJob(["train"], limits=Limits(100.0, 300.0), files={"train.py": code.encode()}, data=data)
        ended = launcher.run(request, look)
    finally:
        launcher.close()
    assert ended.log == f"{4 << 20}\n", ended
    assert inherited and not any("inputs.npy" in path for path in inherited), "a prediction could go on training"


@pytest.mark.exploit(70)
def test_output_of_an_experiment_is_in_no_later_ones_memory() -> None:
    """70 by its output, its error and what it was told: each experiment is a fork of a fork of the template."""
    mark, told = secrets.token_hex(16), secrets.token_hex(16)
    code = f"word = {mark[:16]!r} + {mark[16:]!r}\nprint(word * 100)\nraise type(word, (ValueError,), {{}})(word * 9)"
    launcher = LocalLauncher(torch=False)
    try:
        launcher.start()
        request = ForkedJob(["train"], limits=Limits(100.0, 300.0), files={"train.py": code.encode()})
        ended = launcher.run(replace(request, environment={"METALOOP_TRAIN_X": told}))
        assert mark in ended.log and mark in ended.error
        held = memory(launcher.template_pid or 0)
        assert b"trainer.inside.template" in held and mark.encode() not in held and told.encode() not in held
    finally:
        launcher.close()


def memory(pid: int) -> bytes:
    """All that a process could still read of what it wrote."""
    held = bytearray()
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as file:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights, *_ = line.split()
            if rights.startswith("rw"):
                start, end = (int(number, 16) for number in span.split("-"))
                file.seek(start)
                held += file.read(end - start)
    return bytes(held)

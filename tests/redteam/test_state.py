"""What a search leaves in the machine, and a verification that comes later reads: 128 bits, from one template that has
ended to the next one."""

from __future__ import annotations

import secrets

import pytest

from trainer.sandbox.launcher import ProcessLimits, ProcessRequest
from trainer.sandbox.local import LocalLauncher

pytestmark = pytest.mark.slow

BITS = 128
# The pages of a large file that nobody uses, one for each bit, and names that no folder has, NAMES for each bit.
BOTH = """
import os as _os, random as _random, time as _time
BITS, NAMES = range(128), 20
_found = sorted(
    _os.path.join(folder, name) for top in ("/usr/lib", "/usr/local/lib") for folder, _, names in _os.walk(top)
    for name in names if 2 << 20 < _os.lstat(_os.path.join(folder, name)).st_size < 1 << 28
)
PATH = _random.Random(SALT).choice(_found) if _found else _os.__file__
_pages = _os.stat(PATH).st_size // 4096
PAGES = _random.Random(SALT).sample(range(0, _pages, 4), 128) if _pages > 600 else [0] * 128
FILE = _os.open(PATH, _os.O_RDONLY)
_os.posix_fadvise(FILE, 0, 0, _os.POSIX_FADV_RANDOM)
def ABSENT(bit, at):
    started = _time.perf_counter_ns()
    try:
        _os.stat(f"{_os.path.dirname(_os.__file__)}/absent-{SALT}-{bit}-{at}")
    except OSError:
        pass
    return _time.perf_counter_ns() - started
"""
READ_PAGES = "for k in SENT:\n    _os.pread(FILE, 1, 4096 * PAGES[k])\n"
ASK_NAMES = "for k in SENT:\n    [ABSENT(k, at) for at in range(NAMES)]\n"
# All end with HEARD, the set of bits that are 1.
NO_WAIT = """
HEARD = set()
for k in BITS:
    try:
        _os.preadv(FILE, [bytearray(1)], 4096 * PAGES[k], _os.RWF_NOWAIT)
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
        _os.pread(FILE, 1, 4096 * PAGES[k])
        HEARD |= {k} if _resource.getrusage(0).ru_inblock == before else set()
    except OSError:
        pass
"""
NAMES_TIMED = """
took = [sorted(ABSENT(k, at) for at in range(NAMES))[NAMES // 2] for k in BITS]
line = (sorted(took)[12] + sorted(took)[-12]) / 2
HEARD = {k for k in BITS if took[k] < line}
"""
ROADS = {
    "pages read without waiting": (READ_PAGES, NO_WAIT),
    "pages that came from the disk": (READ_PAGES, FROM_DISK),
    "names, by time": (ASK_NAMES, NAMES_TIMED),
}
TIMED = pytest.mark.xfail(strict=False, reason="issue 71: the names of shown folders stay in the kernel's cache")


def ended_log(code: str, salt: int, sent: list[int]) -> str:
    """What a training prints in a template of its own."""
    launcher = LocalLauncher(torch=False)
    try:
        launcher.start()
        files = {"train.py": f"SALT = {salt}\nSENT = {sent}\n{BOTH}{code}".encode()}
        ended = launcher.run(ProcessRequest("train", ProcessLimits(100.0, 300.0), files=files))
    finally:
        launcher.close()
    assert ended.exit_code == 0, ended
    return ended.log


@pytest.mark.exploit(69)
@pytest.mark.parametrize("road", [pytest.param(name, marks=TIMED if "time" in name else ()) for name in ROADS])
def test_bits_of_a_search_do_not_reach_a_later_template(road: str) -> None:
    """69: 128 random bits are sent; what is heard is no better than guessing (at most 96 of 128: p < 1e-8)."""
    salt, word = secrets.randbits(60), secrets.randbits(BITS)
    send, hear = ROADS[road]
    ended_log(send, salt, [k for k in range(BITS) if word >> k & 1])
    heard = int(ended_log(f"{hear}print(sum(1 << k for k in HEARD))", salt, []))
    assert (~(heard ^ word) & (1 << BITS) - 1).bit_count() <= 96

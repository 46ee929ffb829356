"""Two sandboxes that run at the same time: one is asked about hidden rows, the other one trains and is heard."""

from __future__ import annotations

import threading

import pytest

from tests.redteam.attempts import PRELUDE
from tests.redteam.harness import Cheat, World
from trainer.jobs.job import ForkedJob, Limits
from trainer.sandbox.local import LocalLauncher

pytestmark = pytest.mark.slow

# Both sides: words of a library that every sandbox maps. WORD(k): the address of one; FUTEX(k, op): what comes of it.
SHARED = (
    PRELUDE
    + """
import threading as _threading, time as _time
_start = _ctypes.addressof(_ctypes.c_char.in_dll(_libc, "in6addr_any")) // 4 * 4  # constants of the C library
_held = _ctypes.string_at(_start, 1 << 14)
_zeros = [at for at in range(0, 1 << 14, 4) if _held[at : at + 4] == bytes(4)]  # so that the kernel wakes at an end
BITS, READY = range(32), 32
def WORD(k):
    return _start + _zeros[k]
def FUTEX(k, op, seconds=1.0):
    span = (_ctypes.c_long * 2)(int(seconds), int(seconds % 1 * 1e9))
    value = _ctypes.c_uint.from_address(WORD(k)).value if op == 0 else 1
    return _libc.syscall(202, _ctypes.c_void_p(WORD(k)), op, value, span if op == 0 else None, None, 0)
def ALL(does, numbers):
    threads = [_threading.Thread(target=does, args=(k,)) for k in numbers]
    [thread.start() for thread in threads]
    return threads
"""
)
# What the process that holds hidden rows does with the bits of one of their numbers, and what the other one does to
# find `heard`, the set of bits that are 1.
SEND = {
    "a wait that is woken": "ALL(lambda k: FUTEX(k, 0), [*bits, READY])[-1].join()",
    "a wake": "_time.sleep(0.3); [FUTEX(k, 1) for k in [*bits, READY]]",
    "the end of a thread": """
_keep = []
def _end(k):
    head = (_ctypes.c_long * 3)(0, 0, WORD(k))
    head[0] = _ctypes.addressof(head)
    _keep.append(head)
    CALL(273, _ctypes.addressof(head), 24)
_time.sleep(0.3)
[thread.join() for thread in ALL(_end, [*bits, READY])]
""",
    "the times of devices": """
for k in BITS:
    ATTEMPT(lambda: _os.utime("/dev/urandom" if k in bits else "/dev/zero"))
    _time.sleep(0.02)
""",
}
WOKEN = """
def _hear(k):
    if FUTEX(k, 0, 1.5) == 0:
        heard.add(k)
[thread.join() for thread in ALL(_hear, [*BITS, READY])]
"""
HEAR = {
    "a wait that is woken": """
while _time.monotonic() < line and READY not in heard:
    heard |= {k for k in [*BITS, READY] if FUTEX(k, 1) > 0}
    _time.sleep(0.001)
heard |= {k for k in BITS if FUTEX(k, 1) > 0}
""",
    "a wake": WOKEN,
    "the end of a thread": WOKEN,
    "the times of devices": """
def _seen():
    return [_os.stat(f"/dev/{name}").st_mtime_ns for name in ("zero", "urandom")]
was, count = _seen(), 0
while _time.monotonic() < line and count < 32:
    now = _seen()
    if now != was:
        heard |= {count} if now[1] != was[1] else set()
        was, count = now, count + 1
    _time.sleep(0.001)
""",
}


@pytest.mark.exploit(44)
@pytest.mark.parametrize("channel", SEND)
def test_hidden_rows_do_not_reach_another_sandbox(world: World, channel: str) -> None:
    """44 by futexes on a library's page, by what the kernel wakes at a thread's end, by times of device files."""
    ground, told = world.ground("points"), []
    hear = f"{SHARED}\nheard, line = set(), _time.monotonic() + 1.5\n{HEAR[channel]}\n"
    hear += "print(sum(1 << k for k in heard if k < 32).to_bytes(4, 'little').hex())"
    started = threading.Event()

    def listen() -> None:
        launcher = LocalLauncher(torch=False)
        try:
            launcher.start()
            started.set()
            told.append(
                launcher.run(ForkedJob(["train"], limits=Limits(100.0, 300.0), files={"train.py": hear.encode()}))
            )
        finally:
            started.set()
            launcher.close()

    send = "".join(f"        {line}\n" for line in SEND[channel].strip("\n").splitlines())
    code = f"""{SHARED}
_honest, _sent = logits, []
def logits(model, inputs):
    raw = inputs.reshape(-1)[:1].numpy().tobytes()
    if not _sent:
        bits = [k for k in BITS if int.from_bytes(raw, "little") >> k & 1]
        _sent.append(bits)
{send}
    return _honest(model, inputs)
"""
    source = Cheat(end=code).source(ground.task.baseline(), world.known(ground))
    listener = threading.Thread(target=listen)
    listener.start()
    started.wait()
    sent = ground.run(source, "confirmation")
    listener.join()
    assert sent.status == "ok" and told[0].exit_code == 0, (sent, told)
    world.assert_untold(told[0].log)
    assert told[0].log == "00000000\n"

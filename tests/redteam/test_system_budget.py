"""Using more than one's share: CPU that hides, output, memory, processes without end; stalls, exits at a bad time."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.redteam.attempts import answers, assert_all, trying
from tests.redteam.conftest import Attack
from tests.redteam.harness import Case, Ground
from trainer.jobs.job import ForkedJob, Limits
from trainer.outcome import Outcome
from trainer.source import Source
from trainer.streams import Stream
from trainer.task import Task

LINE = 0.125  # CPU-seconds: the hard limit of the task `points`
LATE = 0.6  # CPU-seconds over a line within which everything is dead on a busy machine, ten times what it takes


SOON = 0.4  # seconds of the wall cap where a test waits for it


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wall cap that comes soon, instead of after 10 s at least, for a cheat that is given time (``fixed_steps`` are
    off); not for the honest twin, which a busy machine lets wait."""
    run = Ground.run

    def in_a_hurry(ground: Ground, source: Source, stream: Stream, **more: Any) -> Outcome:
        with pytest.MonkeyPatch.context() as patch:
            if more.get("fixed_steps") is False:
                patch.setattr(Task, "wall_cap", lambda self, fraction=1.0: SOON)
            return run(ground, source, stream, **more)

    monkeypatch.setattr(Ground, "run", in_a_hurry)


def killed(case: Case, reason: str = "killed at the hard limit") -> None:
    """Both rows are a timeout that is charged about the line, and no more."""
    case.assert_no_gain()
    case.assert_rows("timeout", reason)
    for row in (case.scored, case.verified):
        assert row.device_seconds_charged < LINE + LATE, row
        assert not row.findings, row  # both meters saw the same


FLEE = {
    "fork": "_os.fork()",
    "fork twice": "_os.fork() or _os.fork()",
    "a child whose end is ignored": "(__import__('signal').signal(17, 1), _os.fork())",
    "a new session": "_os.setsid()",
    "another parent": "CALL(157, 36, 1)",
    "a shell": "__import__('subprocess').Popen(['/bin/sh', '-c', 'sleep 60 &'])",
    "multiprocessing": "__import__('multiprocessing').get_context('fork').Process(target=print).start()",
    "another memory, same process": "CALL(56, 0x11, 0, 0, 0, 0)",
    "a sibling": "CALL(56, 0x8011, 0, 0, 0, 0)",
    "a process by clone3": "CALL(435, 0, 0)",
}


@pytest.mark.slow
@pytest.mark.exploit(17)
@pytest.mark.exploit(18)
@pytest.mark.exploit(19)
def test_a_second_process(attack: Attack) -> None:
    """17, 18, 19 a daemon past the budget, CPU in a child that is not waited for, a fork past the limit: no child."""
    errors = "EPERM", "ENOSYS", "ENOENT"
    case = attack("points", top=trying(FLEE, *errors))
    assert_all(case, FLEE, *errors)
    case.assert_same()


@pytest.mark.exploit(26)
def test_a_fork_bomb_of_threads(attack: Attack) -> None:
    """26 processes cannot be made; threads end at 64, or at the memory for their stacks."""
    code = """
import threading, time
_count = 0
try:
    while True:
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        _count += 1
except RuntimeError:
    print("threads", _count, flush=True)
import _thread
def _again():
    while True:
        _thread.start_new_thread(_again, ())
_again()
"""
    case = attack("points", train=code)
    case.assert_no_gain()
    case.assert_rows("crash", "can't start new thread")
    assert int(case.log.split("threads ")[1].split()[0]) < 64


THREAD = "import threading\nthreading.Thread(target=lambda: [0 for _ in iter(int, 1)]).start()"
BURNERS = {
    "a loop": "while True: pass",
    "threads": f"{THREAD}\n{THREAD}\nwhile True: pass",
    "after the main thread left": f"{THREAD}\nimport ctypes\nctypes.CDLL(None).syscall(60, 0)",
    "system calls": "import os\nwhile True: os.stat('.')",
    "fresh memory": "import mmap\n_m = mmap.mmap(-1, 1 << 22)\nwhile True:\n"
    "    for _i in range(0, 1 << 22, 4096): _m[_i] = 1\n    _m.madvise(mmap.MADV_DONTNEED)",
    "files": "while True: open('f', 'wb').write(bytes(1 << 20))",
    "fsync": "import os\n_f = os.open('f', os.O_CREAT | os.O_RDWR)\nwhile True: os.pwrite(_f, b'x', 0); os.fsync(_f)",
    "a counter of events": "import os\n_e = os.eventfd(0)\nwhile True: os.eventfd_write(_e, 1); os.eventfd_read(_e)",
    "signals to itself": "import signal\nsignal.signal(10, lambda *_: None)\nwhile True: signal.raise_signal(10)",
    "a handler for everything": "import signal\nfor _n in range(1, 65):\n    try: signal.signal(_n, signal.SIG_IGN)\n"
    "    except (OSError, ValueError): pass\nwhile True: pass",
    "at the end": "import sys\nclass _Out:\n    write = print\n    def flush(self):\n        while True: pass\n"
    "sys.stdout = _Out()\nreturn",
    "faults": "import faulthandler, signal, ctypes\nsignal.signal(11, signal.SIG_IGN)\nwhile True: pass",
}


@pytest.mark.exploit(14)
@pytest.mark.exploit(20)
@pytest.mark.parametrize("burner", BURNERS)
def test_cpu_in_odd_places(attack: Attack, burner: str) -> None:
    """14, 20 in threads, in the kernel, in handlers, at the end: one line holds for all of it, and it is charged."""
    killed(attack("points", train=BURNERS[burner], fixed_steps=False))


@pytest.mark.exploit(14)
def test_a_clock_that_stands_still(attack: Attack) -> None:
    """14 the soft budget is the candidate's own clock: it can be stopped, and the line outside still holds."""
    stopped = "import time\ntime.process_time = lambda: 0.0\nprepare.clock.__class__.done = lambda self: False\n"
    killed(attack("points", train=stopped, fixed_steps=False))


@pytest.mark.exploit(14)
def test_a_budget_stretched_to_the_line_is_paid(attack: Attack) -> None:
    """14 training longer than the soft budget, short of the line: possible, and charged to the run as it was used."""
    case = attack("points", train="prepare.BUDGET = 0.4", fixed_steps=False, hard_extra=5.0)
    case.assert_rows("ok")
    assert case.scored.device_seconds_spent > 0.4 - 0.1


@pytest.mark.exploit(25)
@pytest.mark.parametrize("size", [1, 100, 65536])
def test_an_output_flood(attack: Attack, size: int) -> None:
    """25 the log keeps its end; what the monitor spends on reading it counts towards the candidate's line."""
    case = attack("points", train=f"import os\nwhile True: os.write(1, b'x' * {size})", fixed_steps=False)
    killed(case)
    assert len(case.scored.log) <= 16_384


@pytest.mark.exploit(25)
def test_a_flood_of_errors(attack: Attack, soon: None) -> None:
    """25 the pipe for errors: it fills, nobody waits for it, and the wall cap comes."""
    code = "import os\nos.set_blocking(3, True)\nwhile True: os.write(3, b'[' * 65536)"
    case = attack("points", train=code, fixed_steps=False)
    case.assert_no_gain()
    case.assert_rows("timeout", r"\(wall\)")


FORGED = {
    "nothing": b"",
    "no JSON": b"\xff\xfe{",
    "nested": b'{"kind":' + b"[" * 970 + b"]" * 970 + b',"line":{}}',
    "deeply nested": b"[" * 4000,
    "numbers": b'{"kind": 1e999, "line": ' + b"9" * 4000 + b"}",
    "a list": b'["kind", "line"]',
    "lone surrogates": rb'{"kind": "\ud800", "line": "\udfff\ud800"}',
    "escape sequences": rb'{"kind": "\u001b[2J", "line": "\u001b]0;x\u0007\u202e\u0000\n\r second line"}',
    "other fields": b'{"exit_code": 0, "killed": "", "cpu_seconds": 0, "broken": "x", "artifact": "", "line": 5}',
    "a fault of ours": b'{"kind": "LauncherFault", "line": "LauncherFault: the template is gone"}',
}


@pytest.mark.exploit(33)
@pytest.mark.parametrize("message", FORGED)
def test_a_forged_error(attack: Attack, message: str) -> None:
    """33 what a candidate says of its own end changes the reason that is shown, not the row: never a fault of ours."""
    case = attack("points", train=f"import os\nos.write(3, {FORGED[message]!r})\nos._exit(1)")
    case.assert_no_gain()
    case.assert_rows("crash")
    for row in (case.scored, case.verified):
        assert row.reason.isprintable() and len(row.reason) <= 500
        assert row.device_seconds_charged > 0


@pytest.mark.exploit(33)
@pytest.mark.parametrize("message", ["MemoryError", "timeout", "killed at the hard limit"])
def test_a_forged_error_costs_what_it_cost(attack: Attack, message: str) -> None:
    """33 a crash that calls itself something else: charged, without a metric."""
    code = f'import os\nos.write(3, b\'{{"kind": "x", "line": "{message}"}}\')\nos._exit(1)'
    case = attack("points", train=code, fixed_steps=False)
    case.assert_no_gain()
    assert case.scored.status in ("crash", "oom") and case.scored.metric is None
    assert case.scored.device_seconds_charged > 0


ENDS = {
    "success after half of the predictions": "_n = []\ndef logits(m, x):\n    _n.append(1)\n    import os\n"
    "    return with_ones(x) @ m if len(_n) < 2 else os._exit(0)",
    "success in load": "def load(path):\n    import os\n    os._exit(0)",
    "success from a thread": "def load(path):\n    import os, threading\n"
    "    threading.Thread(target=os._exit, args=(0,)).start()\n    threading.Event().wait()",
    "an exit that is none": "def load(path):\n    import os\n    os._exit = lambda code: None\n    raise SystemExit(0)",
    "code 256": "def load(path):\n    raise SystemExit(256)",
    "the right size and nothing in it": "def load(path):\n    import os\n    os.ftruncate(5, 10)\n    os._exit(0)",
    "no more than the first byte": "def logits(m, x):\n    import os\n    os.write(5, b'x')\n    os._exit(0)",
}


@pytest.mark.exploit(33)
@pytest.mark.parametrize("end", ENDS)
def test_exit_codes(attack: Attack, end: str) -> None:
    """33 success that is claimed too early: the predictions are counted in bytes."""
    case = attack("points", end=ENDS[end])
    case.assert_no_gain()
    case.assert_rows("invalid", "predictions have|exit code|SystemExit")


@pytest.mark.exploit(33)
def test_output_of_the_right_size_is_a_blind_guess(attack: Attack) -> None:
    """33 the output stretched to its size and nothing written: zeros, and those score as a guess."""
    end = "def load(path):\n    import os\n    os.ftruncate(5, 300 * 3 * 4)\n    os._exit(0)"
    case = attack("points", end=end)
    case.assert_no_gain()
    assert case.scored.metric is None or case.scored.metric > (case.twin_scored.metric or 0)


MEMORY = {
    "one block": "_x = bytearray(4 << 30)",
    "many": "_x = [bytearray(1 << 20) for _ in range(4096)]",
    "tensors": "_x = [torch.ones(1 << 20) for _ in range(4096)]",
    "maps": "import mmap\n_x = [mmap.mmap(-1, 1 << 26) for _ in range(64)]",
    "recursion": "import sys\nsys.setrecursionlimit(1 << 30)\ndef _f(n): return _f([0] * 1000000)\n_f(0)",
    "huge pages": "import mmap\n_x = mmap.mmap(-1, 1 << 21, flags=0x40022)",
    "locked pages": "import mmap\n_x = mmap.mmap(-1, 1 << 26, flags=0x2022)",
}


@pytest.mark.exploit(28)
@pytest.mark.parametrize("bomb", MEMORY)
def test_a_memory_bomb(attack: Attack, bomb: str) -> None:
    """28 the address space ends: an error of the candidate's own, told as such; the template lives on."""
    case = attack("points", train=MEMORY[bomb])
    case.assert_no_gain()
    for row in (case.scored, case.verified):
        assert row.status in ("oom", "crash"), row
        assert row.peak_memory_mb < 512 + 512


@pytest.mark.exploit(28)
def test_memory_beside_the_address_space(attack: Attack) -> None:
    """28 memory that is not mapped: files end with their folder; no pipe, no memfd, no shm."""
    attempts = {
        "memfd": "_os.memfd_create('x')",
        "memfd_secret": "CALL(447, 0)",
        "System V": "CALL(29, 0, 1 << 30, 0o1777)",
        "/dev/shm": "open('/dev/shm/x', 'w')",
        "a pipe": "_os.pipe()",
        "a larger pipe": "__import__('fcntl').fcntl(1, 1031, 1 << 20)",
        "a larger limit": "__import__('resource').setrlimit(9, (-1, -1))",
        "merged pages": "__import__('mmap').mmap(-1, 1 << 21).madvise(12)",
        "pages of others out": "__import__('mmap').mmap(-1, 1 << 21).madvise(21)",
    }
    case = attack("points", train=trying(attempts))
    for found in answers(case):
        assert set(found.values()) <= {"EPERM", "ENOENT", "EROFS", "EACCES", "ValueError"}, found
    case.assert_same()


@pytest.mark.slow
@pytest.mark.exploit(38)
@pytest.mark.parametrize("task", ["points", "letters"])
@pytest.mark.parametrize("where", ["train", "load", "answer"])
def test_sleep(attack: Attack, soon: None, task: str, where: str) -> None:
    """38 sleeping instead of working: ended at the wall cap, charged for it, so that a run of sleepers ends."""
    code: dict[str, Any] = {
        "train": {"train": "import time\ntime.sleep(3600)"},
        "load": {"end": "def load(path):\n    import time\n    time.sleep(3600)"},
        "answer": {"end": "def logits(m, x):\n    import time\n    time.sleep(3600)\nstep = lambda *_: logits(0, 0)"},
    }[where]
    case = attack(task, **code, fixed_steps=False)
    case.assert_no_gain()
    assert case.row.status in ("timeout", "invalid"), case.row
    assert case.row.device_seconds_charged > 0.9 * SOON / case.task.wall_factor


@pytest.mark.exploit(38)
def test_stopping_oneself(attack: Attack) -> None:
    """38 a process that stops instead of ending: process 1 of a namespace ignores such signals from within."""
    code = "import signal\nfor _n in (19, 20, 21, 22, 9): signal.raise_signal(_n)\nprint('still here')"
    case = attack("points", train=code)
    case.assert_same()
    assert case.log.count("still here") == 2


@pytest.mark.exploit(42)
def test_what_a_flood_costs_us(attack: Attack, world: Any) -> None:
    """42 work that others do on a candidate's behalf is its own: nobody spends what is not charged."""
    ground = world.ground("points")
    before = ground.launcher.group.cpu_seconds() if ground.launcher.group else None
    spent, code = 0.0, b"import os\nwhile True: os.write(1, b'x' * 65536)"
    own = time.process_time()
    for _ in range(3):
        ended = ground.launcher.run(ForkedJob(["train"], limits=Limits(0.3, 100.0), files={"train.py": code}))
        assert ended.killed == "cpu"
        assert ended.cpu_seconds < 0.3 + LATE
        spent += ended.cpu_seconds
    assert time.process_time() - own < 0.5 * spent
    if before is not None:
        assert ground.launcher.group.cpu_seconds() - before == pytest.approx(spent, rel=0.2)

"""Ways out of the sandbox by system calls: namespaces, mounts, tracing, signals, sockets, descriptors, the kernel."""

from __future__ import annotations

import platform

import pyseccomp
import pytest

from tests.redteam.attempts import PRELUDE, answers, assert_all, trying
from tests.redteam.conftest import Attack
from trainer.sandbox import filters

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers of x86_64")
# A hole in the filter, but none in the wall: these two leave the kernel before seccomp is asked, and are SIGILL for
# whoever has no probe on him (Linux 6.14 on).
PROBES = (335, 336)

MOUNTS = {
    "mount a tmpfs": "CALL(165, b'none', b'/tmp', b'tmpfs', 0)",
    "mount proc": "CALL(165, b'proc', b'/tmp', b'proc', 0)",
    "make / writable": "CALL(165, 0, b'/', 0, 32 | 4096)",
    "umount": "CALL(166, b'/tmp', 2)",
    "unshare a user namespace": "CALL(272, 0x10000000)",
    "unshare everything": "CALL(272, 0x7E020000)",
    "setns": "CALL(308, 0, 0)",
    "pivot_root": "CALL(155, b'/tmp', b'/tmp')",
    "chroot": "CALL(161, b'/tmp')",
    "open_tree": "CALL(428, -100, b'/', 1)",
    "move_mount": "CALL(429, -100, b'/metaloop/work', -100, b'/metaloop/data', 0)",
    "fsopen": "CALL(430, b'proc', 0)",
    "fspick": "CALL(433, -100, b'/', 0)",
    "mount_setattr": "CALL(442, -100, b'/', 0x8000, 0, 0)",
    "statmount": "CALL(457, 0, 0, 0, 0)",
    "listmount": "CALL(458, 0, 0, 0, 0)",
    "open_by_handle_at": "CALL(304, 0, 0, 0)",
    "name_to_handle_at": "CALL(303, -100, b'/', 0, 0, 0)",
    "fork into a new user namespace": "CALL(56, 0x10000011, 0, 0, 0, 0)",
}
OTHERS = {
    "fork": "_os.fork()",
    "vfork": "CALL(58)",
    "exec": "CALL(59, b'/bin/sh', 0, 0)",
    "memfd and execveat": "CALL(322, CALL(319, b'x', 0), b'', 0, 0, 0x1000)",
    "kill all": "CALL(62, -1, 9)",
    "kill the worker": "CALL(62, HOST['worker'], 9)",
    "kill the template": "CALL(62, HOST['template'], 19)",
    "tgkill the worker": "CALL(234, HOST['worker'], HOST['worker'], 9)",
    "tkill": "CALL(200, HOST['worker'], 9)",
    "sigqueue": "CALL(129, HOST['worker'], 9, 0)",
    "pidfd of the worker": "CALL(434, HOST['worker'], 0)",
    "pidfd of process 1": "CALL(434, 1, 0)",
    "pidfd_getfd": "CALL(438, 3, 0, 0)",
    "pidfd_send_signal": "CALL(424, 3, 9, 0, 0)",
    "affinity": "_os.sched_setaffinity(0, range(64))",
    "affinity of the worker": "CALL(203, HOST['worker'], 128, b'\\x01')",
    "scheduler": "CALL(144, 0, 1, b'\\x01\\0\\0\\0')",
    "sched_setattr": "CALL(314, 0, 0, 0)",
    "priority": "CALL(141, 0, 0, -20)",
    "priority of others": "CALL(141, 2, 0, 19)",
    "io priority": "CALL(251, 1, 0, 0)",
    "prlimit of the worker": "CALL(302, HOST['worker'], 7, 0, 0)",
    "raise a limit": "CALL(302, 0, 9, _ctypes.addressof((_ctypes.c_ulong * 2)(-1, -1)), 0)",
    "session": "CALL(112)",
    "become root": "CALL(105, 0)",
    "capset": "CALL(126, 0, 0)",
    "dumpable": "CALL(157, 4, 1)",
    "keep out of the parent's death": "CALL(157, 1, 0)",
    "drop seccomp": "CALL(157, 22, 0, 0)",
    "another filter": "CALL(317, 1, 0, 0)",
}
NETWORK = {
    f"socket of family {family}": f"CALL(41, {family}, {kind}, 0)"
    for family, kind in ((1, 1), (2, 1), (2, 3), (10, 2), (16, 3), (17, 3), (29, 3), (38, 5), (40, 1), (44, 3), (30, 1))
}
NETWORK |= {
    "socketpair": "CALL(53, 1, 1, 0, 0)",
    "connect by an open descriptor": "CALL(42, 1, 0, 0)",
    "send a descriptor": "CALL(46, 1, 0, 0)",
    "receive one": "CALL(47, 0, 0, 0)",
    "sendto": "CALL(44, 1, b'x', 1, 0, 0, 0)",
    "socket by io_uring": "CALL(425, 8, 0)",
}
KERNEL = {
    "io_uring_enter": "CALL(426, 3, 1, 0, 0, 0, 0)",
    "bpf": "CALL(321, 0, 0, 0)",
    "perf_event_open": "CALL(298, 0, 0, -1, -1, 0)",
    "userfaultfd": "CALL(323, 1)",
    "keyctl": "CALL(250, 0, -3, 0)",
    "add_key": "CALL(248, b'user', b'x', b'x', 1, -3)",
    "request_key": "CALL(249, b'user', b'x', 0, -3)",
    "init_module": "CALL(175, 0, 0, b'')",
    "finit_module": "CALL(313, 0, b'', 0)",
    "kexec": "CALL(246, 0, 0, 0, 0)",
    "syslog": "CALL(103, 3, 0, 0)",
    "personality": "CALL(135, 0x0040000)",
    "modify_ldt": "CALL(154, 0, 0, 0)",
    "iopl": "CALL(172, 3)",
    "reboot": "CALL(169, 0xfee1dead, 672274793, 0, 0)",
    "hostname": "CALL(170, b'x', 1)",
    "clock": "CALL(227, 0, 0)",
    "swap": "CALL(167, b'/tmp/x', 0)",
    "acct": "CALL(163, b'/tmp/x')",
    "quota": "CALL(179, 0, 0, 0, 0)",
    "vmsplice": "CALL(278, 1, 0, 0, 0)",
    "tee": "CALL(276, 0, 1, 1, 0)",
    "splice": "CALL(275, 0, 0, 1, 0, 1, 0)",
    "sendfile": "CALL(40, 1, 0, 0, 1)",
    "System V memory": "CALL(29, 7, 4096, 0o1777)",
    "System V messages": "CALL(68, 7, 0o1777)",
    "POSIX queue": "CALL(240, b'x', 0o102, 0o777, 0)",
    "a lock on others' memory": "CALL(202, 0, 6, 0, 0, 0, 0)",
    "page cache of others": "CALL(27, 0, 4096, 0)",
    "whether a page is in the cache": "CALL(327, 0, 0, 0, 0, 0, 8)",
    "how many pages came from the disk": "CALL(98, 0, _ctypes.addressof(_ctypes.create_string_buffer(200)))",
    "the counter of all mounts": "CALL(332, -100, b'/', 0, 0x4000, _ctypes.create_string_buffer(256).raw)",
    "lock on a shared file": "CALL(73, 0, 2)",
    "a file that becomes a pipe": "CALL(133, b'fifo', 0o10644, 0)",
    "a device": "CALL(133, b'memory', 0o20644, 0x101)",
    "watch files": "CALL(294, 0)",
    "watch everything": "CALL(300, 0, 0)",
    "memfd_secret": "CALL(447, 0)",
    "landlock": "CALL(444, 0, 0, 1)",
    "a pipe, whose number counts those of others": "_os.pipe()",
    "threads and free memory of the machine": "CALL(99, _ctypes.addressof(_ctypes.create_string_buffer(200)))",
    "a timer that signals": "CALL(222, 0, 0, 0)",
}
TRACING = {
    "trace": "[CALL(101, 16, pid, 0, 0) for pid in PIDS]",
    "be traced": "CALL(101, 0)",
    "read memory": "[CALL(310, pid, 0, 0, 0, 0, 0) for pid in PIDS]",
    "write memory": "[CALL(311, pid, 0, 0, 0, 0, 0) for pid in PIDS]",
    "compare": "[CALL(312, 1, pid, 0, 0, 0) for pid in PIDS]",
    "advise": "[CALL(440, pid, 0, 0, 4, 0) for pid in PIDS]",
    "move pages": "[CALL(279, pid, 0, 0, 0, 0, 0) for pid in PIDS]",
}


CALLS = {
    f"{group}: {name}": call
    for group, calls in (
        ("mounts", MOUNTS),
        ("others", OTHERS),
        ("kernel", KERNEL),
        ("trace", TRACING),
        ("net", NETWORK),
    )
    for name, call in calls.items()
}


@pytest.mark.exploit(16)
@pytest.mark.exploit(35)
def test_calls_that_lead_out(attack: Attack) -> None:
    """16, 20, 35, 40, 42: with real arguments, in training and in each prediction; nothing comes of any of them."""
    setup = "PIDS = [0, 1, 2, 3, _os.getppid(), HOST['worker'], HOST['template']]"
    case = attack("points", top=trying(CALLS, "EPERM", setup=setup))
    assert_all(case, CALLS, "EPERM")
    case.assert_same()


@pytest.mark.exploit(16)
def test_every_other_call_is_refused(attack: Attack) -> None:
    """16 all numbers that the policy does not name, with no and with absurd arguments."""
    known = (*filters.ALLOWED, *filters.OTHERWISE, *filters.ONE_OF, "clone", "tgkill", "prlimit64")
    named = sorted(pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name) for name in known)
    numbers = [number for number in range(1024) if number not in {*named, *PROBES}]
    attempts = {"all": f"sorted({{ATTEMPT(lambda: CALL(n, *w)) for n in {numbers} for w in ([], [-1] * 6, [1] * 6)}})"}
    case = attack("points", train=trying(attempts))
    assert {found["all"] for found in answers(case)} == {"done: ['EPERM']"}
    case.assert_same()


@pytest.mark.exploit(16)
@pytest.mark.parametrize("number", PROBES)
def test_a_call_that_passes_seccomp_harms_its_caller_alone(attack: Attack, number: int) -> None:
    """16 uretprobe and uprobe are not filtered by new kernels: without a probe they are fatal, or unknown."""
    case = attack("points", train=f"{PRELUDE}\nprint(ATTEMPT(lambda: CALL({number})), flush=True)")
    case.assert_no_gain()
    if case.scored.status != "ok":
        case.assert_rows("crash", r"exit code -4")
    else:
        assert case.log.split("\n")[0] in ("EPERM", "ENOSYS", "ENXIO")


@pytest.mark.exploit(40)
def test_settings_of_the_kernel(attack: Attack) -> None:
    """40 core_pattern, modules, sysrq: there is no /proc and no /sys to write them in, and a crash leaves no core."""
    paths = ["/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/sys/kernel/uevent_helper", "/proc/self/mem"]
    paths += ["/proc/sys/kernel/modprobe", "/sys/fs/cgroup/release_agent", "/proc/self/oom_score_adj", "/dev/mem"]
    attempts = {path: f"open({path!r}, 'w')" for path in paths}
    code = trying(attempts) + "import resource\nprint('core', resource.getrlimit(resource.RLIMIT_CORE), flush=True)\n"
    case = attack("points", train=code + "_ctypes.string_at(0)")
    assert_all(case, attempts, "ENOENT", "EROFS", "EACCES")
    assert "core (0, 0)" in case.log
    case.assert_no_gain()
    case.assert_rows("crash", "exit code -11")


@pytest.mark.exploit(37)
def test_inherited_descriptors(attack: Attack) -> None:
    """37 what is open is null, the log, the pipe for errors and, in a prediction, two files in memory: no folder,
    no socket, nothing of the host; the inputs cannot be written and no path leads through them."""
    held = "[stat.filemode(_os.fstat(n).st_mode)[0] for n in range(256) if ATTEMPT(lambda: _os.fstat(n))[0] == 'd']"
    attempts = {
        "others": f"CALL(165) if ''.join({held}) == 'cppp' + '--' * (__name__ == 'candidate') else {held}",
        "walk": "[_os.open('..', 0, dir_fd=n) for n in range(10)]",
        "write the inputs": "_os.write(4, b'x')",
        "cut the inputs": "_os.ftruncate(4, 0)",
        "by name": "_os.listdir('/proc/self/fd')",
        "by name in /dev": "_os.listdir('/dev/fd')",
    }
    errors = "EPERM", "ENOTDIR", "EBADF", "EINVAL", "ENOENT"
    case = attack("points", top=trying(attempts, *errors, setup="import stat"))
    assert_all(case, attempts, *errors)
    case.assert_same()


@pytest.mark.exploit(37)
def test_flags_of_shared_descriptors(attack: Attack) -> None:
    """37 append, non-blocking, positions: whatever a candidate sets on what it shares with the referee is no matter."""
    code = """
if __name__ == "candidate":
    import fcntl, os
    for _number in range(12):
        for _flag in (os.O_APPEND, os.O_NONBLOCK, os.O_DIRECT, os.O_ASYNC, os.O_NOATIME):
            try:
                fcntl.fcntl(_number, fcntl.F_SETFL, _flag)
            except OSError:
                pass
    fcntl.fcntl(5, fcntl.F_SETFL, 0)
"""
    case = attack("points", top=code)
    case.assert_no_gain()
    case.assert_same()


@pytest.mark.exploit(37)
@pytest.mark.parametrize("task", ["points", "letters"])
def test_closed_descriptors(attack: Attack, task: str) -> None:
    """37 a candidate that closes everything it was given hurts nobody but itself."""
    code = 'import os\nif __name__ == "candidate":\n    os.closerange(0, 256)\n'
    case = attack(task, top=code)
    case.assert_no_gain()
    case.assert_rows("invalid")


@pytest.mark.exploit(20)
def test_threads_on_all_processors_gain_nothing(attack: Attack) -> None:
    """20 more processors: the clock of the budget counts all of them, and the affinity is not one's own to set."""
    code = """
import os, threading, time
def _burn():
    while time.process_time() < 0.4: pass
_threads = [threading.Thread(target=_burn) for _ in range(4)]
[_t.start() for _t in _threads]
[_t.join() for _t in _threads]
"""
    case = attack("points", train=code, fixed_steps=False)
    case.assert_no_gain(0.2)
    # the line of .14 CPU-s less the launch; one thread alone would have used a quarter of it
    assert case.row.device_seconds_charged > 0.08 and case.row.status == "timeout", case.row

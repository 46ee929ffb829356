"""The second wall: code that runs where the template does, outside of an experiment's own sandbox, and what it could
say to the referee. No exploit is known that gets there."""

from __future__ import annotations

import array
import json
import os
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.redteam.attempts import PRELUDE
from tests.redteam.harness import World
from trainer.inside import wire
from trainer.jobs.job import ForkedJob, LauncherFault, Limits
from trainer.sandbox import outer
from trainer.sandbox.local import LocalLauncher

# What runs instead of the template: it seals the root of experiments and loads the template's filter, then tries.
PROBE = """
import json, os, sys
settings = json.loads(sys.argv[2]); sys.path[:0] = [settings["home"], *settings["path"]]
from trainer.inside import namespaces, seccomp
namespaces.seal()
seccomp.load(bytes.fromhex(settings['wall']))
HOST = json.loads({host!r})
{prelude}
{setup}
print(json.dumps({{name: ATTEMPT(what) for name, what in ({table})}}), file=sys.stderr, flush=True)
os._exit(0)
"""


def probe(monkeypatch: pytest.MonkeyPatch, attempts: dict[str, str], host: dict[str, Any], setup: str = "") -> Any:
    """How each attempt ended in the template's position."""
    table = " ".join(f"({name!r}, lambda: {code})," for name, code in attempts.items())
    code = PROBE.format(host=json.dumps(host), prelude=PRELUDE, setup=setup, table=table)
    monkeypatch.setattr(outer, "START", code)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, tempfile.TemporaryFile() as said:
        process = LocalLauncher(torch=False)._spawn(theirs.fileno(), said.fileno())
        process.wait(200)
        said.seek(0)
        text = said.read().decode()
    assert text.startswith("{"), text
    return json.loads(text)


# Each folder once: the packages lie in two places.
SETUP = """
import stat
KIND = lambda n: stat.filemode(os.fstat(n).st_mode)[0]
FOUND, seen = {'owned': [], 'writable': []}, set()
for base, folders, names in os.walk('/'):
    here = os.lstat(base)
    if base == '/proc' or (here.st_dev, here.st_ino) in seen:
        folders.clear()
    elif base[:4] != '/dev':
        FOUND['owned'] += [f'{base}/{name}' for name in names if os.lstat(f'{base}/{name}').st_uid == os.getuid()]
    if base != '/proc' and os.access(base, os.W_OK):
        FOUND['writable'].append(base)
    seen.add((here.st_dev, here.st_ino))
"""
READ = {
    "the study": "open(HOST['canary']).read()",
    "the ledger": "open(HOST['ledger']).read()",
    "hidden data": "os.listdir(HOST['hidden'][0])",
    "its own source's neighbours": "os.listdir(HOST['repo'] + '/trainer')",
    "generators of hidden data": "__import__('trainer.data')",
    "users": "open('/etc/passwd').read()",
    "the home of root": "os.listdir('/root/.ssh')",
    "homes": "os.stat(f'/home/{os.listdir(\"/home\")[0]}/.profile')",
    "kernel memory": "open('/proc/kcore', 'rb')",
    "the disk": "open('/dev/sda', 'rb')",
    "another process": "os.listdir('/proc/' + str(HOST['worker']))",
    "process 1's root": "os.listdir('/proc/1/root/home')",
}
CHANGE = {
    "core_pattern": "open('/proc/sys/kernel/core_pattern', 'w')",
    "modprobe": "open('/proc/sys/kernel/modprobe', 'w')",
    "caches": "open('/proc/sys/vm/drop_caches', 'w')",
    "sysrq": "open('/proc/sysrq-trigger', 'w')",
    "libraries": "open(os.__file__, 'r+')",
    "its own modules": "open(namespaces.__file__, 'r+')",
    "the future root": "open('/metaloop/inner/new', 'w')",
    "the kernel's log": "open('/dev/kmsg', 'w')",
    "kill the worker": "os.kill(HOST['worker'], 9)",
    "kill others": "os.kill(-1, 0)",
    "trace the worker": "CALL(101, 16, HOST['worker'])",
    "memory of the worker": "CALL(310, HOST['worker'], 0, 0, 0, 0, 0)",
    "become root": "os.setuid(0)",
    "a socket": "socket.socket()",
    "a local socket": "socket.socket(socket.AF_UNIX)",
    "the hypervisor": "socket.socket(40, socket.SOCK_STREAM)",
    "the kernel by netlink": "socket.socket(16, 3, 0)",
    "the keyring": "CALL(250, 0, -3, 0)",
    "bpf": "CALL(321, 0, 0, 0)",
    "io_uring": "CALL(425, 8, 0)",
    "a program": "os.execv(sys.executable, ['x'])",
    "a module": "CALL(175, 0, 0, b'')",
}


@pytest.mark.exploit(36)
@pytest.mark.parametrize("root", [False, True], ids=["as it is", "as root of a namespace of its own"])
@pytest.mark.parametrize("attempts", [READ, CHANGE], ids=["reads", "changes"])
def test_in_the_templates_place(
    world: World, monkeypatch: pytest.MonkeyPatch, attempts: dict[str, str], root: bool
) -> None:
    """16, 35, 36, 40 who broke out of an experiment reads nothing but libraries, reaches nobody, changes nothing."""
    known = world.known(world.ground("points"))
    before = world.state()
    setup = "import socket\n"
    if root:  # it may make such namespaces, or there would be no experiments
        setup += "os.setresuid(os.getuid(), os.getuid(), os.getuid())\nuid = os.getuid()\nCALL(272, 0x10020000)\n"
        setup += (
            "open('/proc/self/setgroups', 'w').write('deny')\nopen('/proc/self/uid_map', 'w').write(f'0 {uid} 1')\n"
        )
        attempts = {name: code for name, code in attempts.items() if name not in ("become root", "kill others")}
    found = probe(monkeypatch, attempts, known, setup)
    assert {name: answer for name, answer in found.items() if answer.startswith("done")} == {}
    world.assert_untold(json.dumps(found))
    world.assert_unharmed(before)


@pytest.mark.slow
@pytest.mark.exploit(36)
def test_what_is_known_in_the_templates_place(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """36, 37 its environment, command line, descriptors, mounts and neighbours tell no secret; it owns no file."""
    known = world.known(world.ground("points"))
    attempts = {
        "environment": "open('/proc/1/environ').read() + str(dict(os.environ))",
        "command": "open('/proc/1/cmdline').read()[-100:]",
        "processes": "[name for name in os.listdir('/proc') if name.isdigit()]",
        "descriptors": "''.join(KIND(n) for n in range(4096) if ATTEMPT(lambda: os.fstat(n))[0] == 'd')",
        "net": "[line.split(':')[0].strip() for line in open('/proc/net/dev').read().splitlines()[2:]]",
        "unix": "len(open('/proc/net/unix').read().splitlines())",
        "keys": "open('/proc/keys').read()",
        "capabilities": "[line.split()[1] for line in open('/proc/self/status') if line[:6] in ('CapPrm', 'CapEff')]",
        "owned": "[path for path in FOUND['owned'] if path[:15] != '/metaloop/inner']",  # which is read-only
        "writable": "FOUND['writable']",
        "mounts": "HOST['study'] in open('/proc/self/mountinfo').read()",
    }
    found = probe(monkeypatch, attempts, known, SETUP)
    world.assert_untold(json.dumps(found))
    assert "METALOOP" not in found["environment"] and "API_KEY" not in found["environment"]
    assert found["processes"] == "done: ['1']"
    assert found["descriptors"] == "done: 'cc-s'"  # null, null, the log of the template, the socket to the worker
    assert found["net"] == "done: ['lo']" and found["unix"] == "done: 1"
    assert found["keys"] == "done: ''"
    assert found["capabilities"] == "done: ['0000000000000000', '0000000000000000']"
    assert found["mounts"] == "done: False"
    if os.geteuid() == 0:
        assert found["owned"] == "done: []"
        assert found["writable"] == "done: ['/metaloop/tmp']"


REPLIES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "nothing": lambda good: {},
    "no object": lambda good: [1, 2],
    "broken, and no text": lambda good: {"broken": [[[1]]]},
    "broken, and a flood": lambda good: {"broken": "\x1b[2J\n" * 10_000},
    "negative cost": lambda good: good | {"cpu_seconds": -5.0},
    "cost that is no number": lambda good: good | {"cpu_seconds": float("nan")},
    "cost without end": lambda good: good | {"cpu_seconds": float("inf")},
    "a cost that is no float": lambda good: good | {"cpu_seconds": 10**400},
    "cost as text": lambda good: good | {"cpu_seconds": "0"},
    "cost as truth": lambda good: good | {"cpu_seconds": True},
    "an exit code of its own": lambda good: good | {"exit_code": 10**30},
    "a line of its own": lambda good: good | {"killed": "by nobody"},
    "a long log": lambda good: good | {"log": "x" * 100_000},
    "a log that is a list": lambda good: good | {"log": ["x"]},
    "an error that is an object": lambda good: good | {"error": {"line": 1}},
    "names that are none": lambda good: good | {"descriptors": [[1]]},
    "more names than descriptors": lambda good: good | {"descriptors": ["a", "b"]},
    "one name twice": lambda good: good | {"descriptors": ["a", "a"]},
    "raw bytes": lambda good: b"\xff\x00{",
    "nested": lambda good: b'{"descriptors":' + b"[" * 100_000,
    "the end": lambda good: b"",
}


TOLD = {"status": 0, "cpu_seconds": 0.1}
ANSWER = {"exit_code": 1, "killed": "", "wall_seconds": 0.1, "peak_memory_mb": 1.0}
MONITORS = [name for name in REPLIES if "name" not in name]


@pytest.mark.exploit(14)
@pytest.mark.parametrize(
    ("by", "reply"), [*(("template", name) for name in REPLIES), *(("monitor", name) for name in MONITORS)]
)
def test_a_reply_that_template_and_monitor_would_not_give(by: str, reply: str) -> None:
    """14 the referee takes what fits and calls the rest a fault of the launcher; it never fails otherwise."""
    made = REPLIES[reply]({**TOLD, **ANSWER})
    if by == "monitor" and isinstance(made, dict) and "cpu_seconds" in made:
        made["hidden_cpu_seconds"] = made.pop("cpu_seconds")
    if not isinstance(made, bytes):
        made = json.dumps({"descriptors": [], **made} if isinstance(made, dict) else made).encode()
    held = set(os.listdir("/proc/self/fd"))
    with pytest.raises(LauncherFault) as fault:
        if by == "monitor":
            _told(answer=made)
        else:
            _told(made, descriptors=[0, 1] if "twice" in reply else None)
    assert set(os.listdir("/proc/self/fd")) <= held  # what other tests left may be closed meanwhile
    assert len(str(fault.value)) < 1000 and str(fault.value).replace("\n", " ").isprintable()


@pytest.mark.exploit(14)
def test_a_reply_that_fits_is_cleaned() -> None:
    """31 even the template's texts are not shown as they are, and its descriptors are closed."""
    held = set(os.listdir("/proc/self/fd"))
    texts = {"log": "a\x1b[2J\ud800\u202e\0b\r\nc", "error": "\ud800", "artifact": "\x1b"}
    told = json.dumps({**TOLD, "descriptors": list("xyz")}).encode()
    ended = _told(told, json.dumps({**ANSWER, **texts}).encode(), [0, 1, 2])
    assert set(os.listdir("/proc/self/fd")) <= held  # what other tests left may be closed meanwhile
    assert ended.log == "a\ufffd\ufffd\ufffdb\nc" and ended.error == ended.artifact == "\ufffd"


def _told(
    told: bytes = json.dumps({**TOLD, "descriptors": []}).encode(),
    answer: bytes = json.dumps(ANSWER).encode(),
    descriptors: list[int] | None = None,
) -> Any:
    """What a launcher makes of raw words of its template and of the monitor to one request."""
    launcher = LocalLauncher(sandbox=False)
    launcher._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def reply() -> None:
        message = wire.receive(theirs)
        assert message is not None
        os.write(message[1]["answer"], answer)
        for descriptor in message[1].values():
            os.close(descriptor)
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        if told:
            theirs.sendmsg([told], ancillary)
        theirs.close()

    thread = threading.Thread(target=reply)
    thread.start()
    try:
        return launcher._ask(ForkedJob(["noop"], limits=Limits(1.0, 1.0)), None)
    finally:
        thread.join()
        if launcher._socket is not None:
            launcher._socket.close()


def test_the_sources_of_this_file_exist() -> None:
    """The probe replaces what starts the template; it would prove nothing if that had another name."""
    assert "template.main" in outer.START and Path(outer.__file__).is_file()

"""What an agent sees of this machine: the options of bwrap that build its file system, and nothing that is not named.

Read-only: the system's programs and libraries, a few files of /etc, the interpreter with its packages, and what the
user names. Writable: the worktree, and /tmp, /dev/shm and the home, which are in memory, limited and gone at the end.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from inner_loop import agent_filter
from programs.errors import UsageError
from trainer.bwrap import memory_file
from trainer.data import user_cache

if TYPE_CHECKING:
    from inner_loop.agent_sandbox import AgentSandbox

HOME = "/home/agent"
DOOR, PROXY, TOOLS = "/run/metaloop/door", "/run/metaloop/proxy", "/run/metaloop/bin"
_START, _ORDER = "/run/metaloop/start.py", "/run/metaloop/order.json"
_UID = 1000  # inside; agents refuse to work unwatched as root
_OURS = ("meta", "arena", "analysis", "inner_loop", "trainer", "programs")
_NEVER = ("/", "/proc", "/sys", "/dev", "/run", "/var", "/var/run", "/boot", "/home", "/root", "/etc", "/tmp")
_HOME_FILE_BYTES = 4 << 20
_ETC = (
    "alternatives", "ssl/certs", "ssl/openssl.cnf", "ca-certificates", "pki/tls/certs", "pki/ca-trust/extracted",
    "crypto-policies", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "mime.types", "protocols", "services",
)  # fmt: skip
_PREFIX_PARTS = ("bin", "lib", "lib64", "include", "ssl", "pyvenv.cfg")
_PASSWD = f"root:x:0:0:root:/nonexistent:/bin/false\nagent:x:{_UID}:{_UID}:agent:{HOME}:/bin/sh\n"
_GROUP = f"root:x:0:\nagent:x:{_UID}:\n"
_HOSTS = "127.0.0.1 localhost\n::1 localhost\n"


class View:
    """bwrap's ``options``, what they bind (``reach``) and the descriptors that they read (``fds``), closed by `close`.

    ``ready`` is the descriptor on which the inside says that the sandbox stands; ``proxy`` a socket, for "proxy".
    """

    def __init__(self, sandbox: AgentSandbox, worktree: Path, proxy: Path | None) -> None:
        self.options: list[str] = []
        self.reach: list[Path] = []
        self._open = ExitStack()
        self._shown: list[Path] = []
        self._masked: list[str] = []
        try:
            self._build(sandbox, worktree, proxy)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._open.close()

    def command(self, sandbox: AgentSandbox, worktree: Path, command: Sequence[str], ready: int) -> list[str]:
        """What bwrap starts: the script that sets the limits and becomes, or supervises, the agent's command."""
        order = {
            "command": list(command),
            "environment": self._environment(sandbox),
            "folder": str(worktree),
            "limits": sandbox.limits.inside(),
            "ready": ready,
            "proxy": PROXY if sandbox.network == "proxy" else None,
        }
        self._write(_ORDER, json.dumps(order).encode())
        self.options += ["--remount-ro", "/"]
        return ["--", os.path.realpath(sys.executable), "-I", "-S", "-B", _START, _ORDER]

    @property
    def fds(self) -> list[int]:
        return list(self._fds)

    def _build(self, sandbox: AgentSandbox, worktree: Path, proxy: Path | None) -> None:
        self._fds: list[int] = []
        self._enter(sandbox.network == "full")
        self._system()
        self._etc(full=sandbox.network == "full")
        self._memory(sandbox)
        for path in sandbox.readable:
            self._show(_checked(path, sandbox.hidden))
        self._hide(sandbox.hidden)
        for path in _interpreter():  # on top: it may lie in a checkout, which is hidden
            self._show(path)
        self._hide(sandbox.hidden)
        self._home(sandbox.home)
        self._write(_START, Path(__file__).with_name("agent_relay.py").read_bytes())
        for name, data in sandbox.tools.items():
            self._write(f"{TOOLS}/{name}", data, mode="0555")
        for socket, place in ((sandbox.door, DOOR), (proxy, PROXY)):
            if socket is not None:
                self._bind("--ro-bind", socket, place)
        self._bind("--bind", worktree, str(worktree))
        self.options += [word for place in ("/dev", *self._masked) for word in ("--remount-ro", place)]

    def _enter(self, full: bool) -> None:
        self.options += ["--unshare-all", *(["--share-net"] if full else []), "--unshare-user", "--disable-userns"]
        self.options += ["--uid", str(_UID), "--gid", str(_UID), "--hostname", "agent"]
        self.options += ["--cap-drop", "ALL", "--die-with-parent", "--new-session", "--clearenv"]
        code = agent_filter.program(os.uname().machine)
        if code is not None:
            self.options += ["--seccomp", str(self._data(code))]

    def _system(self) -> None:
        self._show(Path("/usr"))
        for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
            path = Path("/", name)
            if path.is_symlink():
                self.options += ["--symlink", os.readlink(path), str(path)]
            elif path.is_dir():
                self._show(path)
        if Path("/nix/store").is_dir():
            self._show(Path("/nix/store"))
        self.options += ["--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys", "--dev", "/dev"]

    def _etc(self, full: bool) -> None:
        for name in _ETC:
            if Path("/etc", name).exists():
                self._bind("--ro-bind", Path("/etc", name).resolve(), f"/etc/{name}")
        made = {"passwd": _PASSWD, "group": _GROUP, "hosts": _HOSTS, "nsswitch.conf": "hosts: files dns\n"}
        for name, text in made.items():
            self._write(f"/etc/{name}", text.encode())
        for name in ("localtime", *(("resolv.conf", "hosts") if full else ())):
            if Path("/etc", name).is_file():
                self._write(f"/etc/{name}", Path("/etc", name).read_bytes())

    def _memory(self, sandbox: AgentSandbox) -> None:
        """What is writable beside the worktree: in memory and limited."""
        limits = sandbox.limits
        for place, size in (("/tmp", limits.tmp_mb), ("/dev/shm", 64), (HOME, limits.tmp_mb)):
            self.options += ["--size", str(size << 20), "--tmpfs", place]
        self.options += ["--symlink", "../tmp", "/var/tmp"]

    def _hide(self, given: Iterable[Path]) -> None:
        """Cover what lies in something shown: a folder by an empty one, a file by one that cannot be opened."""
        shown, self._shown = self._shown, []
        for path in sorted({path.resolve() for path in (*_own_code(shown), user_cache(), *given)}):
            if not any(path.is_relative_to(one) for one in shown) or not path.exists():
                continue
            if path.is_dir():
                self.options += ["--tmpfs", str(path)]
                self._masked.append(str(path))
            else:
                self.options += ["--ro-bind", "/dev/null", str(path)]

    def _home(self, home: Mapping[str, Path]) -> None:
        """Files are copied, so that a tool may rewrite its own; folders are bound."""
        for name, path in home.items():
            place = os.path.normpath(f"{HOME}/{name}")
            if not place.startswith(f"{HOME}/"):
                raise UsageError(f"{name!r} is no place in the agent's home", hint="a relative path: .codex/auth.json")
            if path.is_dir():
                self._bind("--ro-bind", path.resolve(), place)
                continue
            try:
                with path.open("rb") as file:
                    data = file.read(_HOME_FILE_BYTES + 1)
            except OSError as error:
                raise UsageError(f"{path}: {error.strerror}", hint="an agent's home is given as NAME=FILE") from None
            if len(data) > _HOME_FILE_BYTES:
                raise UsageError(f"{path} is too large to be copied into an agent's home", hint="name its folder")
            self._write(place, data, mode="0600")

    def _environment(self, sandbox: AgentSandbox) -> dict[str, str]:
        tools = [str(path / "bin") for path in sandbox.readable if (path / "bin").is_dir()]
        tools += [str(path) for path in sandbox.readable if path.name == "bin"]
        tools = [*([TOOLS] if sandbox.tools else []), *tools]
        path = [*tools, os.path.dirname(sys.executable), "/usr/local/bin", "/usr/bin", "/bin"]
        own = {"PATH": ":".join(dict.fromkeys(path)), "TERM": "dumb", "LANG": "C.UTF-8"}
        door = {"METALOOP_DOOR": DOOR} if sandbox.door else {}
        return {**own, **sandbox.environment, "HOME": HOME, **door}

    def _show(self, path: Path) -> None:
        """A path of this machine, read-only, at its own place."""
        self._bind("--ro-bind", path, str(path))
        self._shown.append(path.resolve())

    def _bind(self, option: str, source: Path, place: str) -> None:
        source = source.resolve()  # a link's own place may be covered, where root's closed folders are opened
        self.options += [option, str(source), place]
        self.reach.append(source)

    def _write(self, place: str, data: bytes, mode: str = "0444") -> None:
        self.options += ["--perms", mode, "--file", str(self._data(data)), place]

    def _data(self, data: bytes) -> int:
        descriptor = memory_file(data)
        self._open.callback(os.close, descriptor)
        self._fds.append(descriptor)
        return descriptor


def _checked(path: Path, hidden: Iterable[Path]) -> Path:
    real = path.resolve()
    if not real.exists():
        raise UsageError(f"{path} is not there", hint="an agent can be shown what exists")
    if str(real) in _NEVER or str(path) in _NEVER or real == Path(os.path.expanduser("~")).resolve():
        raise UsageError(f"{path} is too much to show to an agent", hint="name the folder of its program")
    packages = (Path(__file__).resolve().parent.parent / name for name in _OURS)
    for closed in (*packages, user_cache(), *hidden):
        if real.is_relative_to(closed.resolve()):
            raise UsageError(f"{path} lies in {closed}, which agents must not see", hint="show it from another place")
    return Path(os.path.abspath(path))


def _interpreter() -> list[Path]:
    """The parts of the running interpreter that are not in /usr: programs, libraries, packages."""
    prefixes = dict.fromkeys(Path(text) for text in (sys.base_prefix, os.path.realpath(sys.base_prefix), sys.prefix))
    real = Path(os.path.realpath(sys.executable)).parent.parent  # where links of links end
    outside = [prefix for prefix in dict.fromkeys((*prefixes, real)) if not prefix.is_relative_to("/usr")]
    return [path for prefix in outside for name in _PREFIX_PARTS if (path := prefix / name).exists()]


def _own_code(shown: Iterable[Path]) -> list[Path]:
    """Where Metaloop's own code lies: this one's, and any that is installed in something shown."""
    here = Path(__file__).resolve().parent.parent
    # of a checkout all: its tasks, tests and benches are not for agents either
    found = [here] if (here / "pyproject.toml").is_file() else [here / name for name in _OURS]
    for root in shown:
        for pattern in ("lib*/python3*/*-packages", "python3*/*-packages", "local/lib/python3*/*-packages"):
            sites = [site for site in root.glob(pattern) if any(site.glob("metaloop-*.dist-info"))]
            found += [site / name for site in sites for name in _OURS]
    return found

"""What a process tree in bubblewrap sees of this machine, and its start.

Read-only: /usr and similar folders, a few files of /etc, the interpreter with its packages, and paths that are named.
Never: Metaloop's own code and cache, login keys (`trainer.sandbox.login_keys`), home folders. All sandboxes are made of
it: those of coding agents, of commands, of data.py, and the narrower one of experiments (`trainer.sandbox.outer`).
"""

from __future__ import annotations

import marshal
import os
import select
import stat
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from programs.common.errors import UsageError
from trainer.inside import supervise
from trainer.inside.namespaces import DATA, DEVICES, INNER, WORK
from trainer.sandbox import bwrap, filters, login_keys
from trainer.sandbox.blob import memory_file
from trainer.sandbox.tree import descendants
from trainer.user_files import user_cache

_START_SECONDS = 60.0
UID = 1000  # in the sandbox; agents refuse to run unattended as root
OURS = ("meta", "arena", "analysis", "inner_loop", "trainer", "programs")  # the packages of Metaloop
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store")
_NEVER = ("/", "/proc", "/sys", "/dev", "/run", "/var", "/var/run", "/boot", "/home", "/root", "/etc", "/tmp")
_ETC = (
    "alternatives",
    "ssl/certs",
    "ssl/openssl.cnf",
    "ca-certificates",
    "pki/tls/certs",
    "pki/ca-trust/extracted",
    "crypto-policies",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "mime.types",
    "protocols",
    "services",
)
_PREFIX_PARTS = ("bin", "lib", "lib64", "include", "ssl", "pyvenv.cfg")
_HOSTS = "127.0.0.1 localhost\n::1 localhost\n"
_START, _ORDER = "/run/metaloop/start.py", "/run/metaloop/order"


@dataclass(frozen=True)
class View:
    """What a process tree may see, and where it may write.

    ``readable``: path inside → a path of this machine, read-only, without login keys. ``hidden``: paths that stay
    hidden inside shown ones. ``memory``: writable folders in memory, with their size in MB, deleted at the end.
    ``files``: path inside → content and mode. ``bound``: path inside → a path of ours, read-only (a socket, a large
    file). ``writable``: a folder of this machine, at its own path. ``network``: that of this machine. ``devices``:
    options of bwrap that show some, and the folders of their driver. ``system``: of the system, these paths alone;
    None: all its programs and libraries, a few files of /etc, and the interpreter. ``experiments``: its process makes a
    sandbox for each experiment (`trainer.inside.namespaces`), so no filter forbids that; their root is prepared in it.
    """

    user: str = "agent"  # the user's name, and that of the folder in /home
    readable: Mapping[str, Path] = field(default_factory=dict)
    hidden: Sequence[Path] = ()
    memory: Mapping[str, int] = field(default_factory=dict)
    files: Mapping[str, tuple[bytes, str]] = field(default_factory=dict)
    bound: Mapping[str, Path] = field(default_factory=dict)
    writable: Path | None = None
    network: bool = False
    devices: tuple[Sequence[str], Sequence[str]] = ((), ())
    system: Sequence[str] | None = None
    experiments: bool = False

    def launch(
        self, command: Sequence[str], more: Sequence[str] = (), /, *, pass_fds: Sequence[int] = (), **pipes: int
    ) -> subprocess.Popen[bytes]:
        """Start a command as the first process in it, without waiting. ``more``: further options of bwrap; ``pipes``:
        see `bwrap.launch`."""
        with ExitStack() as stack:
            shown_view = _Options(self, stack)
            options = [*shown_view.options, *more, "--as-pid-1", "--remount-ro", "/"]
            fds = [*shown_view.fds, *pass_fds]
            return bwrap.launch(options, ["--", *command], reach=shown_view.reach, pass_fds=fds, **pipes)

    def start(
        self, order: Mapping[str, Any], *, pass_fds: Sequence[int] = (), **pipes: int
    ) -> tuple[subprocess.Popen[bytes], int]:
        """Start `trainer.inside.supervise` with an order in it: bwrap's process and the pid of the first one inside,
        once that is ready. EnvironmentProblem with the cause if it does not become ready."""
        ready, signal_ready = os.pipe()
        descriptors = [ready, signal_ready]
        given = {_START: Path(supervise.__file__).read_bytes(), _ORDER: marshal.dumps({**order, "ready": signal_ready})}
        view = replace(self, files={**self.files, **{name: (data, "0444") for name, data in given.items()}})
        command = [os.path.realpath(sys.executable), "-I", "-S", "-B", _START, _ORDER]
        try:
            process = view.launch(command, pass_fds=[signal_ready, *pass_fds], **pipes)
            os.close(descriptors.pop())
            poll = select.poll()
            poll.register(ready, select.POLLIN | select.POLLHUP)
            if not poll.poll(_START_SECONDS * 1000) or os.read(ready, 1) != b"1":
                process.kill()
                out, errors = process.communicate()
                raise bwrap.diagnose((errors or out).decode("utf-8", "replace").strip())
            return process, descendants(process.pid)[1]
        finally:
            for descriptor in descriptors:
                os.close(descriptor)


class _Options:
    """bwrap's ``options`` of a view, the paths they bind (``reach``), and the descriptors they read (``fds``)."""

    def __init__(self, view: View, stack: ExitStack) -> None:
        self.options: list[str] = []
        self.reach: list[Path] = []
        self.fds: list[int] = []
        self._view, self._stack = view, stack
        self._shown: list[tuple[Path, str]] = []  # (real path, path in the sandbox)
        self._sealed = ["/dev"]
        self._enter()
        self._system()
        self.options += ["--proc", "/proc", "--dev", "/dev"]
        if view.experiments:
            self._experiments()
        else:
            self.options += ["--ro-bind", "/proc/sys", "/proc/sys"]
        self.options += view.devices[0]
        for folder in view.devices[1]:
            self._show(Path(folder))
        self._hide()
        if view.system is None:
            self._etc()
        for path_inside, megabytes in view.memory.items():
            self._memory(path_inside, megabytes)
        if "/tmp" in view.memory:
            self.options += ["--symlink", "../tmp", "/var/tmp"]
        for path_inside, path in view.readable.items():
            self._show(path, path_inside)
        self._hide_keys()
        self._hide()
        for path in interpreter() if view.system is None else ():
            self._show(path)  # on top: it may lie in a checkout, which is hidden
        self._hide()
        for path_inside, (data, mode) in view.files.items():
            self._write(path_inside, data, mode)
        for path_inside, path in view.bound.items():
            self._bind("--ro-bind", path, path_inside)
        if view.writable:
            self._bind("--bind", view.writable, str(view.writable))
        self.options += [word for path_inside in self._sealed for word in ("--remount-ro", path_inside)]

    def _enter(self) -> None:
        network = ["--share-net"] if self._view.network else []
        self.options += ["--unshare-all", *network, "--unshare-user", "--hostname", self._view.user]
        self.options += ["--cap-drop", "ALL", "--die-with-parent", "--new-session", "--clearenv"]
        if not self._view.experiments:
            self.options += ["--disable-userns", "--uid", str(UID), "--gid", str(UID)]
            self.options += ["--seccomp", str(self._data(filters.tree()))]

    def _system(self) -> None:
        """The system's paths, links as links."""
        for name in _SYSTEM if self._view.system is None else self._view.system:
            path = Path(name)
            if path.is_symlink():
                self.options += ["--symlink", os.readlink(path), name]
            elif path.exists():
                self._show(path, name)

    def _experiments(self) -> None:
        """The root of experiments, in memory: three devices, two folders for later mounts, and room for files."""
        self._memory(INNER, 1024)
        for folder in (WORK, DATA):
            self.options += ["--dir", INNER + folder]
        for name in DEVICES:
            self.options += ["--dev-bind", f"/dev/{name}", f"{INNER}/dev/{name}"]
        self._sealed += ["/dev/pts"]  # the template fills INNER and makes it read-only

    def _etc(self) -> None:
        user, full = self._view.user, self._view.network
        for name in _ETC:
            if Path("/etc", name).exists():
                self._bind("--ro-bind", Path("/etc", name), f"/etc/{name}")
        home = f"{user}:/home/{user}:/bin/sh"
        passwd = f"root:x:0:0:root:/nonexistent:/bin/false\n{user}:x:{UID}:{UID}:{home}\n"
        group = f"root:x:0:\n{user}:x:{UID}:\n"
        made = {"passwd": passwd, "group": group, "hosts": _HOSTS, "nsswitch.conf": "hosts: files dns\n"}
        for name, text in made.items():
            self._write(f"/etc/{name}", text.encode())
        for name in ("localtime", *(("resolv.conf", "hosts") if full else ())):
            if Path("/etc", name).is_file():
                self._write(f"/etc/{name}", Path("/etc", name).read_bytes())

    def _hide(self) -> None:
        """Mask paths inside those shown since the last call: a folder by an empty one, a file by /dev/null."""
        pending, self._shown = self._shown, []
        hidden = {*own_code(one for one, _ in pending), user_cache(), *self._view.hidden}
        for path in sorted({path.resolve() for path in hidden}):
            for real, path_inside in pending:
                if path.is_relative_to(real) and path.exists():
                    covered = _closed_to_sandbox(real, path) or path
                    self._cover(covered, os.path.normpath(f"{path_inside}/{covered.relative_to(real)}"))

    def _hide_keys(self) -> None:
        """Mask login keys in the paths shown since the last `_hide`."""
        for real, path_inside in self._shown:
            for inner in login_keys.in_folder(real) if real.is_dir() else ():
                self._cover(real / inner, f"{path_inside}/{inner}")

    def _cover(self, path: Path, path_inside: str) -> None:
        if path.is_dir():
            self.options += ["--tmpfs", path_inside]
            self._sealed.append(path_inside)
        else:
            self.options += ["--ro-bind", "/dev/null", path_inside]

    def _show(self, path: Path, path_inside: str = "") -> None:
        """Mount a path of this machine read-only, at the same or another path."""
        self._bind("--ro-bind", path, path_inside or str(path))
        self._shown.append((path.resolve(), path_inside or str(path)))

    def _bind(self, option: str, source: Path, path_inside: str) -> None:
        source = source.resolve()  # a link's own path may be masked when root's closed folders are opened
        self.options += [option, str(source), path_inside]
        self.reach.append(source)

    def _memory(self, path_inside: str, megabytes: int) -> None:
        self.options += ["--perms", "0755", "--size", str(megabytes << 20), "--tmpfs", path_inside]

    def _write(self, path_inside: str, data: bytes, mode: str = "0444") -> None:
        self.options += ["--perms", mode, "--file", str(self._data(data)), path_inside]

    def _data(self, data: bytes) -> int:
        descriptor = memory_file(data)
        self._stack.callback(os.close, descriptor)
        self.fds.append(descriptor)
        return descriptor


def _closed_to_sandbox(real: Path, path: Path) -> Path | None:
    """The first folder on the way to a path, below ``real``, that root's sandbox may not enter: nothing in it can be
    covered, or seen. None without one."""
    if bwrap.dropped_uid() is None:
        return None
    way = [folder for folder in reversed(path.parents) if real in folder.parents]
    return next((folder for folder in way if not folder.stat().st_mode & stat.S_IXOTH), None)


def checked(path: Path, hidden: Iterable[Path] = (), reader: str = "agents") -> Path:
    """The absolute path, if it may be shown. UsageError if it is missing, too broad, or one of Metaloop's own."""
    real = path.resolve()
    if not real.exists():
        raise UsageError(f"{path} does not exist", hint="check the path")
    if login_keys.holds_key(path) or login_keys.holds_key(real):
        raise UsageError(f"{path} may contain keys and is not shown", hint="a login: --set agent_home=NAME=FILE")
    if str(real) in _NEVER or str(path) in _NEVER or real == Path(os.path.expanduser("~")).resolve():
        raise UsageError(f"{path} contains too much to be shown", hint="name the folder of the program in it")
    if real.is_dir() and not real.stat().st_mode & stat.S_IXOTH and bwrap.dropped_uid() is not None:
        raise UsageError(f"{path} is closed to the user that runs the sandbox of root", hint=f"chmod o+rx {path}")
    packages = (Path(__file__).resolve().parents[2] / name for name in OURS)
    for closed in (*packages, user_cache(), *hidden):
        if real.is_relative_to(closed.resolve()):
            raise UsageError(f"{path} is in {closed}, which {reader} must not see", hint="move or copy it elsewhere")
    return Path(os.path.abspath(path))


def environment(tools: Iterable[str]) -> dict[str, str]:
    """The variables that every command in a view has. ``tools``: folders that come first on its PATH."""
    path = [*tools, os.path.dirname(sys.executable), "/usr/local/bin", "/usr/bin", "/bin"]
    return {"PATH": ":".join(dict.fromkeys(path)), "TERM": "dumb", "LANG": "C.UTF-8"}


def interpreter() -> list[Path]:
    """The parts of the running interpreter outside /usr: programs, libraries, packages."""
    prefixes = dict.fromkeys(Path(text) for text in (sys.base_prefix, os.path.realpath(sys.base_prefix), sys.prefix))
    real = Path(os.path.realpath(sys.executable)).parent.parent  # after resolving all links
    outside = [prefix for prefix in dict.fromkeys((*prefixes, real)) if not prefix.is_relative_to("/usr")]
    return [path for prefix in outside for name in _PREFIX_PARTS if (path := prefix / name).exists()]


def own_code(shown: Iterable[Path]) -> list[Path]:
    """The folders of Metaloop's own code: of this copy, and of any installed in a shown path."""
    package = Path(__file__).resolve().parents[2]
    # a checkout as a whole, because agents may not see its tests and benchmarks either
    folders = [package] if (package / "pyproject.toml").is_file() else [package / name for name in OURS]
    for root in shown:
        for pattern in ("lib*/python3*/*-packages", "python3*/*-packages", "local/lib/python3*/*-packages"):
            sites = [site for site in root.glob(pattern) if any(site.glob("metaloop-*.dist-info"))]
            folders += [site / name for site in sites for name in OURS]
    return folders

"""The paths of this machine that a process tree in bubblewrap can see.

Read-only: /usr and similar folders, a few files of /etc, the interpreter with its packages, and paths that the user
names. Never: Metaloop's own code and cache, login keys (`trainer.sandbox.login_keys`), home folders. The sandboxes of
coding agents and of commands share this class.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

from programs.errors import UsageError
from trainer.sandbox import bwrap, call_filter, login_keys
from trainer.user_files import user_cache

_START_SECONDS = 60.0
UID = 1000  # in the sandbox; agents refuse to run unattended as root
_OURS = ("meta", "arena", "analysis", "inner_loop", "trainer", "programs")
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


class SystemView:
    """bwrap's ``options``, the paths they bind (``reach``), and the descriptors they read (``fds``, see `close`)."""

    user = "agent"  # the user's name in the sandbox, and of the folder in /home

    def __init__(self) -> None:
        self.options: list[str] = []
        self.reach: list[Path] = []
        self._fds: list[int] = []
        self._open = ExitStack()
        self._shown: list[tuple[Path, str]] = []  # (real path, path in the sandbox)
        self._masked: list[str] = []

    @property
    def fds(self) -> list[int]:
        return list(self._fds)

    def start(
        self,
        words: Callable[[int], Sequence[str]],
        *,
        pass_fds: Sequence[int] = (),
        stdin: int = subprocess.DEVNULL,
        stderr: int = subprocess.PIPE,
    ) -> tuple[subprocess.Popen[bytes], int]:
        """Start a command that sees this: bwrap's process and the pid of the first one inside, once that is ready.

        ``words``: the command, given the descriptor to which it writes a byte when it is ready. EnvironmentProblem with
        the cause if it does not become ready.
        """
        ready, signal_ready = os.pipe()
        info, say = os.pipe()
        ours, theirs = [ready, info], [signal_ready, say]
        try:
            command = words(signal_ready)  # which may add options
            options, fds = ["--info-fd", str(say), *self.options], [*self.fds, *theirs, *pass_fds]
            process = bwrap.launch(options, command, reach=self.reach, pass_fds=fds, stdin=stdin, stderr=stderr)
            while theirs:
                os.close(theirs.pop())
            poll = select.poll()
            poll.register(ready, select.POLLIN | select.POLLHUP)
            if not poll.poll(_START_SECONDS * 1000) or os.read(ready, 1) != b"1":
                process.kill()
                out, errors = process.communicate()
                raise bwrap.diagnose((errors or out).decode("utf-8", "replace").strip())
            return process, int(json.loads(os.read(info, 4096))["child-pid"])
        finally:
            for descriptor in (*ours, *theirs):
                os.close(descriptor)

    def close(self) -> None:
        self._open.close()

    def _enter(self, full: bool) -> None:
        self.options += ["--unshare-all", *(["--share-net"] if full else []), "--unshare-user", "--disable-userns"]
        self.options += ["--uid", str(UID), "--gid", str(UID), "--hostname", self.user]
        self.options += ["--cap-drop", "ALL", "--die-with-parent", "--new-session", "--clearenv"]
        code = call_filter.program(os.uname().machine)
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
        home = f"{self.user}:/home/{self.user}:/bin/sh"
        passwd = f"root:x:0:0:root:/nonexistent:/bin/false\n{self.user}:x:{UID}:{UID}:{home}\n"
        group = f"root:x:0:\n{self.user}:x:{UID}:\n"
        made = {"passwd": passwd, "group": group, "hosts": _HOSTS, "nsswitch.conf": "hosts: files dns\n"}
        for name, text in made.items():
            self._write(f"/etc/{name}", text.encode())
        for name in ("localtime", *(("resolv.conf", "hosts") if full else ())):
            if Path("/etc", name).is_file():
                self._write(f"/etc/{name}", Path("/etc", name).read_bytes())

    def _hide(self, given: Iterable[Path]) -> None:
        """Mask paths inside shown ones: a folder by an empty one, a file by /dev/null."""
        shown, self._shown = self._shown, []
        for path in sorted({path.resolve() for path in (*own_code(one for one, _ in shown), user_cache(), *given)}):
            for real, path_inside in shown:
                if path.is_relative_to(real) and path.exists():
                    self._cover(path, os.path.normpath(f"{path_inside}/{path.relative_to(real)}"))

    def _hide_keys(self) -> None:
        """Mask login keys in the paths shown since the last `_hide`."""
        for real, path_inside in self._shown:
            for inner in login_keys.in_folder(real) if real.is_dir() else ():
                self._cover(real / inner, f"{path_inside}/{inner}")

    def _cover(self, path: Path, path_inside: str) -> None:
        if path.is_dir():
            self.options += ["--tmpfs", path_inside]
            self._masked.append(path_inside)
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

    def _write(self, path_inside: str, data: bytes, mode: str = "0444") -> None:
        self.options += ["--perms", mode, "--file", str(self._data(data)), path_inside]

    def _data(self, data: bytes) -> int:
        descriptor = bwrap.memory_file(data)
        self._open.callback(os.close, descriptor)
        self._fds.append(descriptor)
        return descriptor


def checked(path: Path, hidden: Iterable[Path] = (), reader: str = "agents") -> Path:
    """The absolute path, if it may be shown. UsageError if it is missing, too broad, or one of Metaloop's own."""
    real = path.resolve()
    if not real.exists():
        raise UsageError(f"{path} does not exist", hint="check the path")
    if login_keys.holds_key(path) or login_keys.holds_key(real):
        raise UsageError(f"{path} may contain keys and is not shown", hint="a login: --set agent_home=NAME=FILE")
    if str(real) in _NEVER or str(path) in _NEVER or real == Path(os.path.expanduser("~")).resolve():
        raise UsageError(f"{path} contains too much to be shown", hint="name the folder of the program in it")
    packages = (Path(__file__).resolve().parents[2] / name for name in _OURS)
    for closed in (*packages, user_cache(), *hidden):
        if real.is_relative_to(closed.resolve()):
            raise UsageError(f"{path} is in {closed}, which {reader} must not see", hint="move or copy it elsewhere")
    return Path(os.path.abspath(path))


def interpreter() -> list[Path]:
    """The parts of the running interpreter outside /usr: programs, libraries, packages."""
    prefixes = dict.fromkeys(Path(text) for text in (sys.base_prefix, os.path.realpath(sys.base_prefix), sys.prefix))
    real = Path(os.path.realpath(sys.executable)).parent.parent  # after resolving all links
    outside = [prefix for prefix in dict.fromkeys((*prefixes, real)) if not prefix.is_relative_to("/usr")]
    return [path for prefix in outside for name in _PREFIX_PARTS if (path := prefix / name).exists()]


def own_code(shown: Iterable[Path]) -> list[Path]:
    """The folders of Metaloop's own code: of this copy, and of any installed in a shown path."""
    here = Path(__file__).resolve().parents[2]
    # a checkout as a whole, because agents may not see its tests and benchmarks either
    folders = [here] if (here / "pyproject.toml").is_file() else [here / name for name in _OURS]
    for root in shown:
        for pattern in ("lib*/python3*/*-packages", "python3*/*-packages", "local/lib/python3*/*-packages"):
            sites = [site for site in root.glob(pattern) if any(site.glob("metaloop-*.dist-info"))]
            folders += [site / name for site in sites for name in _OURS]
    return folders

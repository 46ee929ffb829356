"""An optional cgroup (version 2) around a process tree: measures and limits CPU, memory and processes of all of it.

A process tree can hide CPU time from wait4 (a child that ignores SIGCHLD, a daemon); a cgroup counts every thread. New
groups are children of this process's group, so that all limits above stay in force, and only if that group may be
divided (`_may_divide`). Source: cgroups(7), Documentation/admin-guide/cgroup-v2.rst of Linux.
"""

from __future__ import annotations

import itertools
import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from trainer.sandbox.tree import descendants

_PREFIX = "metaloop-"
_USES = {"memory": "memory", "pids": "processes"}  # controller → its use; CPU is counted in every group
_MB = 1 << 20
_counter = itertools.count()
_PATIENCE_SECONDS = 1.0  # until ended processes have left a group
_STALE_SECONDS = 60.0  # a younger empty group may be about to be filled


def own_group(cgroup: Path = Path("/proc/self/cgroup"), mounts: Path = Path("/proc/self/mountinfo")) -> Path | None:
    """The folder of this process's group; None where it is not mounted."""
    path = next((line[3:] for line in _read(cgroup).splitlines() if line.startswith("0::")), None)
    for line in _read(mounts).splitlines() if path else ():
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 "):  # root and mount point are the words 4 and 5, blanks in octal: proc(5)
            root, folder = (re.sub(r"\\([0-7]{3})", lambda c: chr(int(c[1], 8)), w) for w in before.split(" ")[3:5])
            inner = os.path.relpath(str(path), root)
            if not inner.startswith("..") and Path(folder, inner).is_dir():
                return Path(folder, inner)
    return None


class Cgroup:
    """A separate cgroup for one process tree, made by `create`. Every method can be called after `close`.

    ``controls``: what the group measures and limits, of "cpu" (measured only), "memory" and "processes".
    """

    def __init__(self, folder: Path) -> None:
        self.folder: Path | None = folder
        enabled = _read(folder / "cgroup.controllers").split()
        self.controls = frozenset({"cpu", *(use for name, use in _USES.items() if name in enabled)})

    @classmethod
    def create(cls, name: str, own: Path | None = None) -> Self | None:
        """A new group ``metaloop-PID-…`` below our own (by default that of this process); None if that is not possible.

        Groups left by dead processes are removed first.
        """
        own = own or own_group()
        if own is None or not _may_divide(own):
            return None
        sweep(own)
        for controller in _USES:  # fails while a group other than the machine's root contains processes
            _write(own / "cgroup.subtree_control", f"+{controller}")
        folder = own / f"{_PREFIX}{os.getpid()}-{next(_counter)}-{re.sub(r'[^A-Za-z0-9_-]', '_', name)[:64]}"
        with suppress(OSError):
            folder.mkdir()
            return cls(folder)
        return None

    def add(self, pid: int) -> bool:
        """Move a process and its present descendants into the group; later forks start inside.

        False if the process itself could not be moved, because it ended or we lack the permission. CPU time from
        before the move stays with the old group.
        """
        moved, seen = False, set[int]()
        while fresh := set(descendants(pid)) - seen:  # new forks are moved in the next round
            seen |= fresh
            for member in sorted(fresh):
                done = self._set("cgroup.procs", str(member))
                moved = moved or (done and member == pid)
        return moved

    def processes(self) -> set[int]:
        """Ids of the living processes in the group that this process can see."""
        return set(map(int, self._get("cgroup.procs").split())) - {0}  # 0: of another process namespace

    def cpu_seconds(self) -> float | None:
        """CPU-seconds of everything that ever ran in the group (for running threads, up to 1 to 10 ms late)."""
        used = self._number("cpu.stat", "usage_usec")
        return None if used is None else used / 1e6

    def limit(self, memory_mb: int | None, processes: int | None) -> None:
        """Limit memory (MiB, without swap) and the number of processes and threads of the group; None: no limit.

        Without the controller nothing is limited.
        """
        self._set("memory.max", "max" if memory_mb is None else str(memory_mb * _MB))
        self._set("memory.swap.max", "max" if memory_mb is None else "0")
        self._set("pids.max", "max" if processes is None else str(processes))

    def peak_memory_mb(self) -> float | None:
        """Peak memory of the group, MiB, including page cache and tmpfs files; None if unknown."""
        peak = self._number("memory.peak")
        return None if peak is None else peak / _MB

    def out_of_memory_kills(self) -> int:
        """How many processes of the group the kernel has killed for lack of memory; 0 if unknown."""
        return self._number("memory.events", "oom_kill") or 0

    def kill(self) -> None:
        """Kill everything in the group and wait briefly for its end. The processes' parents must reap them."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        self._set("cgroup.kill", "1")  # since Linux 5.14; before, the end of its namespace kills a sandbox's processes
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.002)

    def close(self) -> None:
        """Remove the group. A group that still contains processes stays for a later `sweep`; nothing is raised."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while self.folder and not _remove(self.folder) and time.monotonic() < deadline:
            time.sleep(0.01)
        self.folder, self.controls = None, frozenset()

    def _get(self, name: str) -> str:
        return _read(self.folder / name) if self.folder else ""

    def _set(self, name: str, text: str) -> bool:
        return self.folder is not None and _write(self.folder / name, text)

    def _number(self, name: str, key: str = "") -> int | None:
        """The number that is the whole control file, or that follows ``key`` on one of its lines."""
        match = re.search(rf"^{key}\s*(\d+)$", self._get(name), re.MULTILINE)
        return int(match[1]) if match else None


def _may_divide(own: Path) -> bool:
    """Whether we may create a group below this process's group.

    We may at the visible top (of a machine or container), in a group owned by our unprivileged user, and in one marked
    as delegated (systemd's Delegate=yes). The creator of any other group expects to find all its processes in it and to
    remove it when they have ended, so we do not divide it.
    """
    if not os.access(own, os.W_OK | os.X_OK):
        return False
    if os.path.ismount(own) or (os.geteuid() != 0 and own.stat().st_uid == os.geteuid()):
        return True
    for name in ("user.delegate", "trusted.delegate"):
        with suppress(OSError):
            if os.getxattr(own, name) == b"1":
                return True
    return False


def _read(path: Path) -> str:
    """The text of a control file; empty if the kernel has no such file or the group is gone."""
    try:
        return path.read_text("utf-8", "surrogateescape")
    except OSError:
        return ""


def _write(path: Path, text: str) -> bool:
    try:
        path.write_text(text)
    except OSError:
        return False
    return True


def _remove(folder: Path) -> bool:
    """Remove a group's folder; whether it is gone. The kernel removes only empty groups."""
    with suppress(FileNotFoundError, OSError):
        folder.rmdir()
    return not folder.exists()


def sweep(own: Path) -> int:
    """Remove the empty groups that dead processes left below a group; returns their number.

    Younger groups are kept, because their owner may be alive in a container with another process table.
    """
    removed = 0
    for folder in own.glob(f"{_PREFIX}[0-9]*-*"):
        with suppress(OSError):
            old = time.time() - folder.stat().st_mtime >= _STALE_SECONDS
            removed += old and not Path("/proc", folder.name.split("-")[1]).exists() and _remove(folder)
    return removed


def describe() -> str:
    """For `metaloop doctor`: what a cgroup provides on this machine, or why there is none."""
    own_path, group = own_group(), Cgroup.create("doctor")
    if group is None:
        scope = "" if own_path and os.access(own_path, os.W_OK) else "--user "
        why = "this process's cgroup is not delegated" if own_path and not scope else "no writable cgroup"
        return f"none: {why} (run systemd-run {scope}--scope -p Delegate=yes metaloop ...)"
    description = f"{' and '.join(sorted(group.controls))} by cgroup v2"
    group.close()
    return description

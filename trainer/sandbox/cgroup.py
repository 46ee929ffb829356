"""An optional cgroup around one warm template: measures and limits CPU, memory and processes of everything in it.

A process tree can hide CPU time from wait4 (a child that ignores SIGCHLD, a daemon); a cgroup counts every thread.
Both layouts are supported, also side by side: v1 (one hierarchy per controller) and v2 (one hierarchy, mount
``cgroup2``); see cgroups(7) and the kernel's Documentation/admin-guide/cgroup-v2.rst. New groups are children of this
process's group, so that all limits above stay in force, and only if that group may be divided (`_ours`).
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from trainer.sandbox.tree import descendants

_PREFIX = "metaloop-"
_V1 = {"cpuacct": "cpu", "memory": "memory", "pids": "processes"}  # controller → its use
_V2 = {"memory": "memory", "pids": "processes"}  # v2 counts CPU in every group, without a controller
_MB = 1 << 20
_counter = itertools.count()
_PATIENCE_SECONDS = 1.0  # until ended processes have left a group
_STALE_SECONDS = 60.0  # a younger empty group may be about to be filled


@dataclass(frozen=True)
class Hierarchy:
    """A mounted cgroup hierarchy. ``own``: the folder of this process's group; ``top``: whether that is the mount."""

    version: int
    controllers: frozenset[str]
    own: Path
    top: bool


def hierarchies(
    cgroup: Path = Path("/proc/self/cgroup"), mounts: Path = Path("/proc/self/mountinfo")
) -> list[Hierarchy]:
    """The mounted hierarchies in which this process can see its own group; v1 first."""
    try:
        groups = [line.split(":", 2) for line in cgroup.read_text().splitlines()]
        mounted = [_mount(line) for line in mounts.read_text("utf-8", "surrogateescape").splitlines()]
    except OSError:
        return []
    visible: dict[tuple[int, frozenset[str]], Hierarchy] = {}
    for number, names, path in (group for group in groups if len(group) == 3):
        version = 2 if number == "0" and not names else 1
        controllers = frozenset(names.split(",")) - {""}
        for kind, options, root, folder in filter(None, mounted):
            if kind != ("cgroup2" if version == 2 else "cgroup") or not controllers <= options:
                continue
            inner = os.path.relpath(path, root)
            if not inner.startswith("..") and (folder / inner).is_dir():
                own = Hierarchy(version, controllers, folder / inner, inner == ".")
                visible.setdefault((version, controllers), own)
    return sorted(visible.values(), key=lambda hierarchy: hierarchy.version)


def _mount(line: str) -> tuple[str, frozenset[str], str, Path] | None:
    """File system, options, root and mount point of a cgroup line of /proc/self/mountinfo (proc(5)), else None."""
    before, dash, after = line.partition(" - ")
    left, right = before.split(" "), after.split(" ")
    if not dash or len(left) < 6 or len(right) < 3 or not right[0].startswith("cgroup"):
        return None
    root, folder = (re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), text) for text in left[3:5])
    return right[0], frozenset(right[2].split(",")), root, Path(folder)


def _ours(hierarchy: Hierarchy) -> bool:
    """Whether we may create a group below this process's group.

    We may at the visible top (of a machine or container), in a group owned by our unprivileged user, and in one marked
    as delegated (systemd's Delegate=yes). The creator of any other group expects to find all its processes in it and to
    remove it when they have ended, so we do not divide it.
    """
    own = hierarchy.own
    if not os.access(own, os.W_OK | os.X_OK):
        return False
    if hierarchy.top or (os.geteuid() != 0 and own.stat().st_uid == os.geteuid()):
        return True
    for name in ("user.delegate", "trusted.delegate"):
        with suppress(OSError):
            if os.getxattr(own, name) == b"1":
                return True
    return False


def _read(path: Path) -> str:
    """The text of a control file; empty if the kernel has no such file or the group is gone."""
    try:
        return path.read_text()
    except OSError:
        return ""


def _write(path: Path, text: str) -> bool:
    try:
        path.write_text(text)
    except OSError:
        return False
    return True


def _number(text: str, key: str = "") -> int | None:
    """The number that is the whole control file, or that follows ``key`` on one of its lines."""
    match = re.search(rf"^{re.escape(key)}\s*(\d+)$" if key else r"^(\d+)$", text, re.MULTILINE)
    return int(match[1]) if match else None


@dataclass(frozen=True)
class _GroupFolder:
    """A group's folder in one hierarchy. ``uses``: some of "cpu", "memory", "processes"."""

    version: int
    uses: frozenset[str]
    folder: Path


def _make(hierarchy: Hierarchy, name: str) -> _GroupFolder | None:
    """A new group below our own, or None if that is not possible."""
    if not _ours(hierarchy):
        return None
    if hierarchy.version == 1:
        uses = {_V1[controller] for controller in hierarchy.controllers & _V1.keys()}
        if "memory" in uses and _read(hierarchy.own / "memory.use_hierarchy").strip() == "0":
            uses.discard("memory")  # below such a group the limits above would not apply
    else:
        uses = {"cpu"} | {_V2[controller] for controller in _enabled(hierarchy.own)}
    if not uses:
        return None
    folder = hierarchy.own / name
    _remove(folder)  # left by a dead process with the same id
    try:
        folder.mkdir()
    except OSError:
        return None
    return _GroupFolder(hierarchy.version, frozenset(uses), folder)


def _enabled(own: Path) -> set[str]:
    """Controllers of v2 that are available below our group, after trying to enable them.

    This fails while a group other than the machine's root contains processes ("no internal processes"); then only CPU
    and `kill` are available.
    """
    on = set(_read(own / "cgroup.subtree_control").split())
    for controller in sorted((_V2.keys() & set(_read(own / "cgroup.controllers").split())) - on):
        _write(own / "cgroup.subtree_control", f"+{controller}")
    return _V2.keys() & set(_read(own / "cgroup.subtree_control").split())


class Cgroup:
    """A separate cgroup for one process tree, made by `create`. Every method can be called after `close`."""

    def __init__(self, parts: Sequence[_GroupFolder]) -> None:
        self._parts = tuple(parts)
        self._cpu: tuple[int, int] | None = None  # version and descriptor of the file with the CPU time
        for part in self._parts:
            if "cpu" in part.uses and self._cpu is None:
                with suppress(OSError):
                    file = part.folder / ("cpuacct.usage" if part.version == 1 else "cpu.stat")
                    self._cpu = part.version, os.open(file, os.O_RDONLY | os.O_CLOEXEC)

    @classmethod
    def create(cls, name: str, mounted: Sequence[Hierarchy] | None = None) -> Self | None:
        """A new group ``metaloop-PID-…`` in each usable hierarchy (by default of this machine); None without any.

        Groups left by dead processes are removed first.
        """
        sweep(mounted)
        full = f"{_PREFIX}{os.getpid()}-{next(_counter)}-{re.sub(r'[^A-Za-z0-9_-]', '_', name)[:64]}"
        parts = [_make(hierarchy, full) for hierarchy in (hierarchies() if mounted is None else mounted)]
        return cls([part for part in parts if part]) if any(parts) else None

    def _part(self, use: str) -> _GroupFolder | None:
        return next((part for part in self._parts if use in part.uses), None)

    def add(self, pid: int) -> bool:
        """Move a process and its present descendants into the group; later forks start inside.

        False if the process itself could not be moved in every hierarchy, because it ended or we lack the permission.
        CPU time from before the move stays with the old group.
        """
        moved = bool(self._parts)
        seen: set[int] = set()
        while fresh := ({pid} | _descendants(pid)) - seen:  # new forks are moved in the next round
            seen |= fresh
            for one in sorted(fresh):
                done = [_write(part.folder / "cgroup.procs", str(one)) for part in self._parts]
                moved = moved and (all(done) or one != pid)
        return moved

    def processes(self) -> set[int]:
        """Ids of the living processes in the group that this process can see."""
        listed = [set(map(int, _read(part.folder / "cgroup.procs").split())) for part in self._parts]
        return set().union(*listed) - {0}  # 0 is a process of another process namespace

    def cpu_seconds(self) -> float | None:
        """CPU-seconds of everything that ever ran in the group (for running threads, up to 1 to 10 ms late)."""
        if self._cpu is None:
            return None
        version, descriptor = self._cpu
        try:
            data = os.pread(descriptor, 4096, 0)
        except OSError:
            return None
        if version == 1:
            return int(data) / 1e9
        used = _number(data.decode(), "usage_usec")
        return None if used is None else used / 1e6

    def limit(self, memory_mb: int | None, processes: int | None) -> None:
        """Limit memory (MiB, including swap) and the number of processes and threads of the group; None: no limit.

        Without the controller nothing is limited; `controls` lists the available ones.
        """
        if part := self._part("memory"):
            size = memory_mb * _MB if memory_mb is not None else None
            names = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
            if part.version == 2:
                _write(part.folder / "memory.max", str(size or "max"))
                _write(part.folder / "memory.swap.max", "max" if size is None else "0")
            else:  # the limit with swap may never be the lower one: it must be raised first or lowered last
                for _ in range(2):
                    for name in names:
                        _write(part.folder / name, str(size or -1))
        if part := self._part("processes"):
            _write(part.folder / "pids.max", "max" if processes is None else str(processes))

    @property
    def controls(self) -> frozenset[str]:
        """The resources that the group measures and limits, of "cpu" (measured only), "memory" and "processes"."""
        return frozenset[str]().union(*(part.uses for part in self._parts))

    def peak_memory_mb(self) -> float | None:
        """Peak memory of the group, MiB, including page cache and tmpfs files; None if unknown."""
        part = self._part("memory")
        if part is None:
            return None
        peak = _number(_read(part.folder / ("memory.max_usage_in_bytes" if part.version == 1 else "memory.peak")))
        return None if peak is None else peak / _MB

    def out_of_memory_kills(self) -> int:
        """How many processes of the group the kernel has killed for lack of memory; 0 if unknown."""
        part = self._part("memory")
        if part is None:
            return 0
        file = part.folder / ("memory.oom_control" if part.version == 1 else "memory.events")
        return _number(_read(file), "oom_kill") or 0

    def kill(self) -> None:
        """Kill everything in the group and wait briefly for its end. The processes' parents must reap them."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        caps = {part.folder / "pids.max": _read(part.folder / "pids.max") for part in self._parts}
        for cap, before in caps.items():
            _ = before and _write(cap, "0")  # v1 has no other way to stop a tree that forks as fast as we kill
        at_once = any(part.version == 2 and _write(part.folder / "cgroup.kill", "1") for part in self._parts)
        while self.processes() and time.monotonic() < deadline:
            if not at_once:
                self._kill_each()
            time.sleep(0.002)
        for cap, before in caps.items():
            _ = before and _write(cap, before)

    def _kill_each(self) -> None:
        """Send SIGKILL to each process through its pidfd, so that a new process with a reused id is not hit."""
        handles: dict[int, int] = {}
        for pid in self.processes():
            with suppress(OSError):
                handles[pid] = os.pidfd_open(pid)
        living = self.processes()
        for pid, handle in handles.items():
            with suppress(OSError):
                if pid in living:
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
            os.close(handle)

    def describe(self) -> str:
        """A description such as "cpu and memory by cgroup v1"."""
        words: list[str] = []
        for version in (1, 2):
            uses = [use for use in ("cpu", "memory", "processes") if (p := self._part(use)) and p.version == version]
            if uses:
                words.append(f"{' and '.join(uses)} by cgroup v{version}")
        return ", ".join(words)

    def close(self) -> None:
        """Remove the group. A group that still contains processes stays for a later `sweep`; nothing is raised."""
        if self._cpu is not None:
            os.close(self._cpu[1])
            self._cpu = None
        deadline = time.monotonic() + _PATIENCE_SECONDS
        left = [part.folder for part in self._parts]
        while left := [folder for folder in left if not _remove(folder)]:
            if time.monotonic() > deadline:
                break
            time.sleep(0.01)
        self._parts = ()


def _remove(folder: Path) -> bool:
    """Remove a group's folder; whether it is gone. The kernel removes only empty groups."""
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _descendants(root: int) -> set[int]:
    """Ids of the descendants of ``root`` whose parents are alive.

    Uses the kernel's lists of children if it has them (CONFIG_PROC_CHILDREN), otherwise scans all processes.
    """
    if os.path.exists("/proc/thread-self/children"):
        return set(descendants(root)) - {root}
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _read(entry / "stat").rpartition(")")[2].split()
            parents[int(entry.name)] = int(fields[1]) if len(fields) > 1 else 0
    tree = {root}
    while more := {pid for pid, parent in parents.items() if parent in tree} - tree:
        tree |= more
    return tree - {root}


def sweep(mounted: Sequence[Hierarchy] | None = None, older_than: float = _STALE_SECONDS) -> int:
    """Remove the empty groups that dead processes left below our own group; returns their number.

    Younger groups are kept, because their owner may be alive in a container with another process table.
    """
    removed = 0
    for hierarchy in hierarchies() if mounted is None else mounted:
        for folder in hierarchy.own.glob(f"{_PREFIX}[0-9]*-*"):
            owner = folder.name.split("-")[1]
            with suppress(OSError):
                old = time.time() - folder.stat().st_mtime >= older_than
                removed += old and not Path("/proc", owner).exists() and _remove(folder)
    return removed


def describe() -> str:
    """For `metaloop doctor`: what a cgroup provides on this machine, or why there is none."""
    mounted = hierarchies()
    group = Cgroup.create("doctor", mounted)
    if group is None:
        if not any(os.access(hierarchy.own, os.W_OK) for hierarchy in mounted):
            return "none: no writable cgroup (run systemd-run --user --scope -p Delegate=yes metaloop ...)"
        return "none: this process's cgroup is not delegated (run systemd-run --scope -p Delegate=yes metaloop ...)"
    said = group.describe()
    group.close()
    return said

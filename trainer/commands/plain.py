"""Runs one command as a plain process group in a temporary folder, without a sandbox: for the user's own repository.

It uses nothing that only Linux has. What the command starts in sessions of its own is neither counted nor ended.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from trainer.commands.job import CommandEnded, CommandJob, CommandLimits
from trainer.commands.output import CommandOutput

_FIRST_LOOK, _LATEST_LOOK = 0.002, 0.05  # seconds between two looks


def run_plain(job: CommandJob, limits: CommandLimits) -> CommandEnded:
    """Run a job until it ends or is killed. It sees this machine as its user does; its files are a copy."""
    with tempfile.TemporaryDirectory(prefix="metaloop-") as place:
        folder = Path(place)
        lay(job, folder)
        before = {name: os.stat(folder / name).st_mtime_ns for name in job.kept}
        group = PlainGroup(job.command, folder, environment(job))
        assert group.process.stdout is not None
        output = CommandOutput(group.process.stdout)
        exit_code, killed, used = _until_end(group, output, limits)
        wall = group.wall
        files: dict[str, bytes] = {}
        missing: list[str] = []
        for name in job.wanted:
            found = dict(_files(folder, name))
            files |= found
            missing += [] if found else [f"{name}: No such file or directory"]
        written = tuple(name for name, time_ns in before.items() if _changed(folder / name, time_ns))
        if sum(len(data) for data in files.values()) > limits.result_mb << 20:
            files, missing = {}, [f"{name}: is too large" for name in job.wanted]
        peak = max(group.peak, used.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10))
        cpu = max(group.cpu, used.ru_utime + used.ru_stime)
        return CommandEnded(exit_code, killed, cpu, wall, peak, output.text(), files, tuple(missing), written)


def lay(job: CommandJob, folder: Path) -> None:
    """The files of a job in an empty folder; large ones and what is shown to it are links to where they lie."""
    for name, (data, is_executable) in job.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o755 if is_executable else 0o644)
    for name, target in {**job.links, **{name: str(path) for name, path in job.bound.items()}}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(Path(target).expanduser() if target.startswith("~") else target)


def own_variables() -> dict[str, str]:
    """The user's variables, without Metaloop's."""
    return {name: value for name, value in os.environ.items() if not name.startswith("METALOOP_")}


def environment(job: CommandJob) -> Mapping[str, str]:
    """The user's own, with the programs of a shown virtual environment first."""
    shown = [str(Path(text).expanduser() / "bin") for text in job.readable]
    tools = [*(path for path in shown if os.path.isdir(path)), os.path.dirname(sys.executable)]
    own = own_variables()
    own |= {"PATH": os.pathsep.join([*tools, own.get("PATH", os.defpath)]), "PYTHONUNBUFFERED": "1"}
    own |= job.gpu.environment if job.gpu else {}
    return own | {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"} | dict(job.environment)


class PlainGroup:
    """A command as a process group of its own, and what its whole tree of processes uses.

    ``cpu``: seconds so far, also of processes that have ended; ``held`` and ``peak``: MiB at the last look and at most.
    Its stdout is a pipe; ``stdin`` and ``stderr`` as for Popen.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        *,
        stdin: int = subprocess.DEVNULL,
        stderr: int = subprocess.STDOUT,
    ) -> None:
        self.cpu = self.held = self.peak = 0.0
        self.started = time.monotonic()
        self._seen: dict[psutil.Process, float] = {}
        try:
            self.process = _start(command, stdin, stderr, folder, environment)
        except OSError as error:
            said = f"{command[0]}: {error.strerror}"
            self.process = _start(["/bin/sh", "-c", 'echo "$1" >&2; exit 127', "sh", said], stdin, stderr)

    @property
    def wall(self) -> float:
        return time.monotonic() - self.started

    def look(self) -> None:
        """Measure the living processes."""
        held, living = 0.0, 0.0
        with suppress(psutil.Error):
            first = psutil.Process(self.process.pid)
            for one in [first, *first.children(recursive=True)]:
                with suppress(psutil.Error):
                    times = one.cpu_times()
                    self._seen[one] = times.user + times.system
                    living += self._seen[one] + times.children_user + times.children_system
                    held += one.memory_info().rss / (1 << 20)
        self.cpu, self.held = max(self.cpu, living, sum(self._seen.values())), held
        self.peak = max(self.peak, held)

    def end(self, *, whole: bool = False) -> None:
        """Kill what is left of the group; ``whole``: also what was seen of it in sessions of their own."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        for one in list(self._seen) if whole else ():
            with suppress(psutil.Error):
                one.kill()


def _until_end(
    group: PlainGroup, output: CommandOutput, limits: CommandLimits
) -> tuple[int, str, resource.struct_rusage]:
    """(the exit code, negative for a signal; the limit that was exceeded; what the command and the processes that it
    waited for used)."""
    pause, killed = _FIRST_LOOK, ""
    try:
        while True:
            pid, status, used = os.wait4(group.process.pid, os.WNOHANG)
            if pid:
                break
            group.look()
            killed = killed or limits.crossed(group.cpu, group.wall, output.written, group.held)
            if killed:
                group.end()
            time.sleep(pause)
            pause = min(_LATEST_LOOK, 1.3 * pause)
    finally:
        group.end()
    group.process.returncode = code = os.waitstatus_to_exitcode(status)
    return code, killed, used


def _start(
    command: Sequence[str], stdin: int, stderr: int, folder: Path | None = None, own: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command, cwd=folder, env=own, stdin=stdin, stdout=subprocess.PIPE, stderr=stderr, start_new_session=True
    )


def _changed(path: Path, time_ns: int) -> bool:
    try:
        return os.lstat(path).st_mtime_ns != time_ns
    except OSError:
        return True


def _files(folder: Path, name: str) -> Iterator[tuple[str, bytes]]:
    """A regular file, or all below a folder; no links."""
    path = folder / name.rstrip("/")
    for one in sorted(path.rglob("*")) if path.is_dir() and not path.is_symlink() else [path]:
        if one.is_file() and not one.is_symlink():
            yield str(one.relative_to(folder)), one.read_bytes()

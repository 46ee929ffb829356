"""Runs one command as a plain process group in a temporary folder, without a sandbox: for the user's own repository.

It uses nothing that only Linux has.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from trainer.commands.job import CommandEnded, CommandJob
from trainer.sandbox.process_tree import CommandLimits, ProcessTree

_FIRST_LOOK, _LATEST_LOOK = 0.002, 0.05  # seconds between two looks


def run_plain(job: CommandJob, limits: CommandLimits) -> CommandEnded:
    """Run a job until it ends or is killed. It sees this machine as its user does; its files are a copy."""
    with tempfile.TemporaryDirectory(prefix="metaloop-") as place:
        folder = Path(place)
        lay(job, folder)
        before = {name: os.stat(folder / name).st_mtime_ns for name in job.kept}
        tree = started(job.command, limits, folder, environment(job))
        used = _until_end(tree)
        wall = tree.wall
        files, missing = _fetched(folder, job.wanted, limits.result_mb << 20)
        written = tuple(name for name, time_ns in before.items() if _changed(folder / name, time_ns))
        peak = max(tree.peak_memory_mb, used.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10))
        cpu, code, log = (
            max(tree.look(), used.ru_utime + used.ru_stime),
            tree.process.returncode,
            tree.outputs[0].text(),
        )
        return CommandEnded(code, tree.killed, cpu, wall, peak, log, files, tuple(missing), written)


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


def started(
    command: Sequence[str], limits: CommandLimits, folder: Path, own: Mapping[str, str], **pipes: int
) -> ProcessTree:
    """A command as a process group of its own; one that cannot start says why and exits as a shell does."""
    named = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, **pipes}
    try:
        process = subprocess.Popen(command, cwd=folder, env=own, start_new_session=True, **named)  # type: ignore[call-overload]
    except OSError as error:
        said = ["/bin/sh", "-c", 'echo "$1" >&2; exit 127', "sh", f"{command[0]}: {error.strerror}"]
        process = subprocess.Popen(said, start_new_session=True, **named)  # type: ignore[call-overload]
    return ProcessTree(process, limits)


def _until_end(tree: ProcessTree) -> resource.struct_rusage:
    """What the command and the processes that it waited for used."""
    pause = _FIRST_LOOK
    try:
        while True:
            pid, status, used = os.wait4(tree.process.pid, os.WNOHANG)
            if pid:
                tree.process.returncode = os.waitstatus_to_exitcode(status)
                return used
            if crossed := tree.crossed():
                tree.killed = tree.killed or crossed
                tree.kill(crossed)
            time.sleep(pause)
            pause = min(_LATEST_LOOK, 1.3 * pause)
    finally:
        tree.end()


def _changed(path: Path, time_ns: int) -> bool:
    try:
        return os.lstat(path).st_mtime_ns != time_ns
    except OSError:
        return True


def _fetched(folder: Path, wanted: Sequence[str], most: int) -> tuple[dict[str, bytes], list[str]]:
    """(the wanted files, those that could not be fetched with the reason); ``most``: bytes of all together."""
    paths = {name: list(_files(folder, name)) for name in wanted}
    missing = [f"{name}: No such file or directory" for name, found in paths.items() if not found]
    if sum(path.stat().st_size for found in paths.values() for path in found) > most:
        return {}, [f"{name}: is too large" for name in wanted]
    return {str(path.relative_to(folder)): path.read_bytes() for found in paths.values() for path in found}, missing


def _files(folder: Path, name: str) -> Iterator[Path]:
    """A regular file, or all below a folder; no links."""
    path = folder / name.rstrip("/")
    for one in sorted(path.rglob("*")) if path.is_dir() and not path.is_symlink() else [path]:
        if one.is_file() and not one.is_symlink():
            yield one

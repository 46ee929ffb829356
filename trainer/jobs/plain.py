"""Runs a job as a process group of the user, without a sandbox: for the user's own repository and the user's own agent.

It sees this machine as its user does; its files are a copy, unless it has a folder. Nothing here needs Linux.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from trainer.inside.supervise import fetch, lay, states
from trainer.jobs.job import Ended, Job
from trainer.jobs.process_tree import Attend, ProcessTree

_FIRST_LOOK = 0.002  # seconds until it is looked at whether a job has ended; then ever later


def run_plain(job: Job, attend: Attend | None = None) -> Ended:
    """Run a job until it ends or is killed, with all that it started."""
    with ExitStack() as stack:
        folder = job.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="metaloop-")))
        links = [(name, os.path.expanduser(target)) for name, target in job.links.items()]
        lay(str(folder), job.laid(), [*links, *((name, str(path)) for name, path in job.bound.items())])
        laid = states(str(folder), job.kept)
        tree = ProcessTree(_start(job, folder, _environment(job, stack)), job)
        try:
            tree.watch(attend, lambda seconds: _has_ended(tree, seconds))
        finally:
            tree.end()
        wall = tree.wall
        files, missing = fetch(str(folder), job.wanted, job.limits.result_mb << 20)
        written = tuple(name for name, state in states(str(folder), laid).items() if state != laid[name])
        ended = tree.ended(tree.process.returncode, wall)
        return replace(ended, files=files, missing=tuple(missing), written=written)


def user_variables() -> dict[str, str]:
    """The user's variables, without Metaloop's."""
    return {name: value for name, value in os.environ.items() if not name.startswith("METALOOP_")}


def _environment(job: Job, stack: ExitStack) -> Mapping[str, str]:
    """The user's own, with the job's programs first on PATH; its scripts lie in a folder until the end of ``stack``.

    A login shell sets PATH anew, and bash reads BASH_ENV after that.
    """
    user_path = os.environ.get("PATH", os.defpath)
    variables = user_variables() if job.inherits else {}
    variables["PATH"] = os.pathsep.join([*job.tools, os.path.dirname(sys.executable), user_path])
    variables |= {**(job.gpu.environment if job.gpu else {}), **job.environment}
    if job.scripts:
        scripts = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="metaloop-tools-")))
        for name, data in job.scripts.items():
            (scripts / name).write_bytes(data)
            (scripts / name).chmod(0o755)
        profile = scripts / "profile.sh"
        before = f". {shlex.quote(variables['BASH_ENV'])}\n" if variables.get("BASH_ENV") else ""
        profile.write_text(f'{before}export PATH={shlex.quote(str(scripts))}:"$PATH"\n', encoding="utf-8")
        variables |= {"PATH": f"{scripts}{os.pathsep}{variables['PATH']}", "BASH_ENV": str(profile)}
    return variables


def _start(job: Job, folder: Path, variables: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """The command as a process group of its own; one that cannot start says why and exits as a shell does."""
    pipes = {
        "stdin": subprocess.PIPE if job.stdin else subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE if job.errors_apart else subprocess.STDOUT,
    }
    try:
        return subprocess.Popen(job.command, cwd=folder, env=variables, start_new_session=True, **pipes)  # type: ignore[call-overload, no-any-return]
    except OSError as error:
        words = ["/bin/sh", "-c", 'echo "$1" >&2; exit 127', "sh", f"{job.command[0]}: {error.strerror}"]
        return subprocess.Popen(words, start_new_session=True, **pipes)  # type: ignore[call-overload, no-any-return]


def _has_ended(tree: ProcessTree, seconds: float) -> bool:
    """Whether it has ended, after at most so many seconds; a short job is noticed early."""
    if not tree.has_ended():
        time.sleep(min(seconds, max(_FIRST_LOOK, 0.3 * tree.wall)))
    return tree.has_ended()

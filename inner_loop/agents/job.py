"""An agent's job: its worktree and the network that the user allows, nothing else.

docs/agents.md lists what is promised. What an agent sees in a sandbox; nothing is shown that is not named: read-only
the system's programs and libraries, a few files of /etc, the interpreter with its packages, and paths that the user
names; writable the worktree, and /tmp, /dev/shm and the home, which are in memory, limited and deleted at the end.

Without a sandbox (`trainer.jobs.plain`) it has the user's rights, variables and login, and sees all that the user sees.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from inner_loop.gateway.serving import GATEWAY_PORT
from programs.common.errors import UsageError
from trainer.jobs.job import Job, Limits

Network = Literal["none", "full"]
HOME = "/home/agent"
EXPERIMENTS, GATEWAY = "/run/metaloop/door", "/run/metaloop/gateway"
LIMITS = Limits(memory_mb=4096, disk_mb=2048, output_mb=64, tmp_mb=512, file_mb=256)  # disk_mb: the worktree
_HOME_FILE_BYTES = 4 << 20


def agent_job(
    command: Sequence[str],
    worktree: Path,
    *,
    sandboxed: bool = True,
    network: Network = "none",
    readable: Iterable[Path] = (),
    environment: Mapping[str, str] | None = None,
    home: Mapping[str, Path] | None = None,
    experiment_socket: Path | None = None,
    scripts: Mapping[str, bytes] | None = None,
    hidden: Sequence[Path] = (),
    gateway: Path | None = None,
    stdin: bytes = b"",
    limits: Limits = LIMITS,
) -> Job:
    """A command of an agent in ``worktree``, the only path of this machine that it may write.

    ``readable``: further paths, read-only at their own path (the agent's installation). ``environment``: variables
    beside PATH, HOME, TERM and LANG. ``home``: name in its home → our file, copied, or folder, read-only (credentials).
    ``experiment_socket``: a Unix socket, named by $METALOOP_DOOR inside. ``scripts``: programs, first on PATH.
    ``hidden``: paths that stay hidden even inside a shown folder; Metaloop's code and cache always are. ``gateway``: a
    Unix socket, inside on a port of localhost; not with "full", where that would be a port of the machine.

    UsageError for a path that cannot be shown.
    """
    door = {} if experiment_socket is None else {"METALOOP_DOOR": EXPERIMENTS if sandboxed else str(experiment_socket)}
    job = Job(
        command,
        limits=limits,
        environment={**(environment or {}), **door},
        folder=worktree,
        hidden=hidden,
        network=network == "full",
        scripts=scripts or {},
        user="agent",
        stdin=stdin,
        errors_apart=True,
        inherits=False,  # some are withheld
    )
    return _in_sandbox(job, readable, home or {}, experiment_socket, gateway) if sandboxed else job


def _in_sandbox(
    job: Job, readable: Iterable[Path], home: Mapping[str, Path], experiment_socket: Path | None, gateway: Path | None
) -> Job:
    """The job with all that its sandbox shows. Files of its home are copied, so that a tool may rewrite its own."""
    from trainer.sandbox.view import checked  # for Linux alone

    paths = [checked(path, job.hidden) for path in readable]
    sockets = {EXPERIMENTS: experiment_socket, GATEWAY: gateway}
    bound = {path_inside: socket for path_inside, socket in sockets.items() if socket is not None}
    copies: dict[str, bytes] = {}
    for name, path in home.items():
        target = os.path.normpath(f"{HOME}/{name}")
        if not target.startswith(f"{HOME}/"):
            raise UsageError(f"{name!r} is not a path in the agent's home", hint="a relative path: .codex/auth.json")
        if path.is_dir():
            bound[target] = path
        else:
            copies[target] = _home_file(path)
    tools = [str(path / "bin") for path in paths if (path / "bin").is_dir()]
    tools += [str(path) for path in paths if path.name == "bin"]
    relays = {GATEWAY: GATEWAY_PORT} if gateway else {}
    readable_paths = {str(path): path for path in paths}
    return replace(job, readable=readable_paths, bound=bound, copies=copies, relays=relays, tools=tools)


def _home_file(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", hint="an agent's home is given as NAME=FILE") from None
    if len(data) > _HOME_FILE_BYTES:
        raise UsageError(f"{path} is too large to be copied into an agent's home", hint="name its folder")
    return data

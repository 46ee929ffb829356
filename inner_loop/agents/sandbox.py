"""The sandbox of a coding agent: its worktree and the network that the user allows, nothing else.

bubblewrap makes the namespaces (`trainer.sandbox.bwrap`), `trainer.sandbox.filters` filters system calls.
docs/agents.md lists what is promised. What an agent sees; nothing is shown that is not named:

Read-only: the system's programs and libraries, a few files of /etc, the interpreter with its packages, and paths that
the user names. Writable: the worktree, and /tmp, /dev/shm and the home, which are in memory, limited and deleted at the
end.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inner_loop import worktree as trees
from inner_loop.agents.running import AgentRunner, RunningAgent
from inner_loop.gateway.serving import GATEWAY_PORT
from programs.common.errors import UsageError
from trainer.sandbox import bwrap
from trainer.sandbox.process_tree import ProcessTree
from trainer.sandbox.view import View, checked, environment

HOME = "/home/agent"
EXPERIMENTS, GATEWAY, TOOLS = "/run/metaloop/door", "/run/metaloop/gateway", "/run/metaloop/bin"
_HOME_FILE_BYTES = 4 << 20


@dataclass(frozen=True)
class AgentSandbox(AgentRunner):
    """Runs commands of an agent within its access."""

    def start(self, command: Sequence[str]) -> RunningAgent:
        """The agent dies with the calling thread."""
        bwrap.ensure()
        worktree = trees.check(self.worktree)
        with ExitStack() as stack:
            self._hand_over(stack)
            view = view_of(self, worktree)
            process, first = view.start(order_of(self, worktree, command), stdin=subprocess.PIPE)
            return RunningAgent(ProcessTree(process, self.limits, first), worktree, stack.pop_all())

    def _hand_over(self, stack: ExitStack) -> None:
        """As root the agent has another uid, which must own what the agent writes and connects to, until its end."""
        uid = bwrap.dropped_uid()
        if uid is None:
            return
        status = self.worktree.stat()
        abandoned = status.st_uid == uid  # by a killed process of ours
        owner = (os.geteuid(), os.getegid()) if abandoned else (status.st_uid, status.st_gid)
        stack.callback(trees.take_back, self.worktree, *owner)
        trees.give(self.worktree, uid)
        if self.experiment_socket is not None:
            os.chown(self.experiment_socket, uid, -1)


def view_of(runner: AgentRunner, worktree: Path) -> View:
    """UsageError for a path that cannot be shown."""
    size = runner.limits.tmp_mb
    sockets = {EXPERIMENTS: runner.experiment_socket, GATEWAY: runner.gateway}
    bound = {path_inside: socket for path_inside, socket in sockets.items() if socket is not None}
    files = {f"{TOOLS}/{name}": (data, "0555") for name, data in runner.tools.items()}
    for name, path in runner.home.items():  # files are copied, so that a tool may rewrite its own; folders are bound
        target = os.path.normpath(f"{HOME}/{name}")
        if not target.startswith(f"{HOME}/"):
            raise UsageError(f"{name!r} is not a path in the agent's home", hint="a relative path: .codex/auth.json")
        if path.is_dir():
            bound[target] = path
        else:
            files[target] = (_home_file(path), "0600")
    return View(
        readable={str(path): path for path in (checked(one, runner.hidden) for one in runner.readable)},
        hidden=runner.hidden,
        memory={"/tmp": size, "/dev/shm": 64, HOME: size},
        files=files,
        bound=bound,
        writable=worktree,
        network=runner.network == "full",
    )


def order_of(runner: AgentRunner, worktree: Path, command: Sequence[str]) -> dict[str, Any]:
    """What `trainer.inside.supervise` is to do."""
    return {
        "command": list(command),
        "environment": _environment(runner),
        "folder": str(worktree),
        "limits": runner.limits.inside(),
        "relays": {GATEWAY: GATEWAY_PORT} if runner.gateway else {},
    }


def _home_file(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", hint="an agent's home is given as NAME=FILE") from None
    if len(data) > _HOME_FILE_BYTES:
        raise UsageError(f"{path} is too large to be copied into an agent's home", hint="name its folder")
    return data


def _environment(runner: AgentRunner) -> dict[str, str]:
    tools = [str(path / "bin") for path in runner.readable if (path / "bin").is_dir()]
    tools += [str(path) for path in runner.readable if path.name == "bin"]
    tools = [*([TOOLS] if runner.tools else []), *tools]
    own = environment(tools) | {**runner.environment, "HOME": HOME}
    return own | ({"METALOOP_DOOR": EXPERIMENTS} if runner.experiment_socket else {})

"""An agent without a sandbox: the user's own, as a plain process group with the user's rights, variables and login.

It uses nothing that only Linux has (`trainer.commands.plain`). docs/agents.md lists what then is not promised.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from inner_loop.agents.running import AgentRunner, RunningAgent
from trainer.commands.plain import PlainGroup


@dataclass(frozen=True)
class PlainRunner(AgentRunner):
    """Runs commands of an agent as processes of the user's. Of its access, the worktree, the variables, the tools, the
    experiments and the limits of time, CPU, memory, disk and output have an effect."""

    def start(self, command: Sequence[str]) -> PlainAgent:
        return PlainAgent(self, command)


class PlainAgent(RunningAgent):
    """A running agent without a sandbox. Its tools lie in a folder of their own, first on its PATH."""

    def __init__(self, access: AgentRunner, command: Sequence[str]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="metaloop-tools-")
        tools = Path(self._folder.name)
        for name, data in access.tools.items():
            (tools / name).write_bytes(data)
            (tools / name).chmod(0o755)
        self._group = PlainGroup(
            command, access.worktree, _variables(access, tools), stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self._looking = threading.Lock()
        super().__init__(self._group.process, access, access.worktree)
        self.start()

    @property
    def used(self) -> float:
        return self._group.cpu

    def kill_processes(self) -> None:
        self.memory_crossed()  # a last look
        self._group.end(whole=True)

    def memory_crossed(self) -> bool:
        with self._looking:
            self._group.look()
        self.peak_memory_mb = self._group.peak
        return self._group.held > self.limits.memory_mb

    def release(self) -> None:
        self._folder.cleanup()


def _variables(access: AgentRunner, tools: Path) -> dict[str, str]:
    """Those of the command. A login shell sets PATH anew, and bash reads BASH_ENV after that."""
    given = {"PATH": os.environ.get("PATH", os.defpath), **access.environment}
    profile = tools / "profile.sh"
    before = f". {shlex.quote(given['BASH_ENV'])}\n" if given.get("BASH_ENV") else ""
    profile.write_text(f'{before}export PATH={shlex.quote(str(tools))}:"$PATH"\n', encoding="utf-8")
    given |= {"PATH": f"{tools}{os.pathsep}{given['PATH']}", "BASH_ENV": str(profile)}
    return given | ({"METALOOP_DOOR": str(access.experiment_socket)} if access.experiment_socket else {})

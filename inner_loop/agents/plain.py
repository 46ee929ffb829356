"""An agent without a sandbox: the user's own, as a plain process group with the user's rights, variables and login.

It uses nothing that only Linux has (`trainer.commands.plain`). docs/agents.md lists what then is not promised.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from inner_loop.agents.running import AgentRunner, RunningAgent
from trainer.commands.plain import started


@dataclass(frozen=True)
class PlainRunner(AgentRunner):
    """Runs commands of an agent as processes of the user's. Of its access, the worktree, the variables, the tools, the
    experiments and the limits of time, CPU, memory, disk and output have an effect. Its tools lie in a folder of their
    own, first on its PATH."""

    def start(self, command: Sequence[str]) -> RunningAgent:
        with ExitStack() as stack:
            tools = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="metaloop-tools-")))
            for name, data in self.tools.items():
                (tools / name).write_bytes(data)
                (tools / name).chmod(0o755)
            pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE}
            tree = started(command, self.limits, self.worktree, _variables(self, tools), **pipes)
            return RunningAgent(tree, self.worktree, stack.pop_all())


def _variables(access: AgentRunner, tools: Path) -> dict[str, str]:
    """Those of the command. A login shell sets PATH anew, and bash reads BASH_ENV after that."""
    given = {"PATH": os.environ.get("PATH", os.defpath), **access.environment}
    profile = tools / "profile.sh"
    before = f". {shlex.quote(given['BASH_ENV'])}\n" if given.get("BASH_ENV") else ""
    profile.write_text(f'{before}export PATH={shlex.quote(str(tools))}:"$PATH"\n', encoding="utf-8")
    given |= {"PATH": f"{tools}{os.pathsep}{given['PATH']}", "BASH_ENV": str(profile)}
    return given | ({"METALOOP_DOOR": str(access.experiment_socket)} if access.experiment_socket else {})

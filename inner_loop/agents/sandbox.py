"""The sandbox of a coding agent: its worktree and the network that the user allows, nothing else.

bubblewrap makes the namespaces (`trainer.sandbox.bwrap`), `agents/view` the file system, `trainer.sandbox.filters`
filters system calls. docs/agents.md lists what is promised.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from inner_loop import worktree as trees
from inner_loop.agents.running import AgentRunner, RunningAgent
from inner_loop.agents.view import order_of, view_of
from trainer.sandbox import bwrap
from trainer.sandbox.process_tree import ProcessTree


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

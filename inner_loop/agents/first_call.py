"""The first call of an agent, before anything is trained: a wrong key, login, model name or command shows here."""

from __future__ import annotations

import re
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import cast

from inner_loop.agents import worktree as agent_worktree
from inner_loop.agents.experiment_server import AgentReply, AgentRequest, ExperimentServer
from inner_loop.agents.launch import AgentLaunch
from inner_loop.events import CallEvent
from inner_loop.run_context import RunContext
from programs.errors import EnvironmentProblem
from programs.shelf import starter
from programs.text import one_line
from trainer.task import Task

PROMPT = "Reply with the word `ready` and end. Run no command and change no file."
SECONDS = 25.0
_REFUSED = re.compile(r"HTTP (400|401|403|404)\b")


def require_start(name: str, task: Task, context: RunContext) -> None:
    """Start an agent once with a short prompt, in a worktree of its own. It may end by itself, and is ended when a
    model has answered it, at its first request, or after some seconds.

    Raises EnvironmentProblem if it fails by itself, or if its models refuse its calls.
    """
    calls: list[CallEvent] = []
    requests: list[AgentRequest] = []

    def answer(request: AgentRequest) -> AgentReply:
        requests.append(request)
        return AgentReply("the run has not begun", 2)

    def attend() -> bool:
        server.serve(0.1)
        return not requests and not any(call.status == "ok" for call in calls)

    launch = AgentLaunch(name, replace(context, emit=lambda event: calls.append(cast(CallEvent, event))))
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="metaloop-agent-"))
        worktree = Path(folder).resolve() / "worktree"
        agent_worktree.lay(worktree, task, starter("stock"), (), None, PROMPT)
        launch.open_gateway(stack)
        server = stack.enter_context(ExperimentServer(answer))
        runner = launch.runner(worktree, SECONDS, task, server.path)
        ended = launch.run(runner, PROMPT, attend=attend)
    if problem := launch.failure(ended):
        raise problem
    if calls and not requests and all(_REFUSED.match(call.reason) for call in calls):
        message = f"the agent {launch.command!r}: its model refuses its calls: {one_line(calls[-1].reason)[:200]}"
        raise EnvironmentProblem(message, hint="check its key and its --model")

"""How an agent is started, in a sandbox or as the user's own process, with its gateway; what its failure means;
and its first call before anything is trained, where a wrong key, login, model name or command shows."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import cast

from inner_loop.agents import recipe as agent_recipe
from inner_loop.agents.experiment_server import AgentReply, AgentRequest, ExperimentServer
from inner_loop.agents.running import AgentLimits, AgentRunner, RunningAgent
from inner_loop.agents.worktree import commands, lay, temporary, variables
from inner_loop.events import CallEvent
from inner_loop.gateway.server import Gateway
from inner_loop.run_context import RunContext
from programs.common.errors import EnvironmentProblem, MetaloopError, UsageError
from programs.common.text import one_line
from programs.shelf import starter
from trainer.commands.plain import own_variables
from trainer.sandbox.launcher import plain
from trainer.task import Task
from trainer.user_files import studies_in

PROMPT = "Reply with the word `ready` and end. Run no command and change no file."
SECONDS = 25.0  # of the first call
_REFUSED = re.compile(r"HTTP (400|401|403|404)\b")


class AgentLaunch:
    """An agent as the configuration names it. ``name``: a recipe's, or empty if the configuration gives a command."""

    def __init__(self, name: str, context: RunContext) -> None:
        config = context.config
        self._context = context
        self.recipe = agent_recipe.recipe_for(name, config)
        self.command = os.path.basename(self.recipe.command[0])
        self._model = config.models[0] if config.models else ""
        self._network = self.recipe.network if context.sandboxed else "full"
        self.gateway: Gateway | None = None

    @cached_property
    def installed(self) -> tuple[Path, list[Path]]:
        """EnvironmentProblem if the agent is missing."""
        return agent_recipe.find(self.recipe, sandboxed=self._context.sandboxed)

    def open_gateway(self, stack: ExitStack) -> None:
        """The gateway to the agent's models, for all sessions; none if the agent has its own login, or the user no
        key."""
        upstreams = self.recipe.gateway.api
        if open_routes := self.recipe.routes:
            shared = self._network == "full"
            gateway = Gateway(upstreams, open_routes, self._context, shared=shared, models=self.recipe.gateway.models)
            self.gateway = stack.enter_context(gateway)

    @property
    def problem(self) -> MetaloopError | None:
        """Why the agent's models answer no more calls."""
        return self.gateway.meter.problem if self.gateway else None

    def runner(self, worktree: Path, seconds: float, task: Task, socket: Path) -> AgentRunner:
        """What runs commands in the agent's worktree, for at most ``seconds``, without network and keys; ``task`` and
        ``socket``: where they request experiments."""
        if self._context.sandboxed:
            from inner_loop.agents.sandbox import AgentSandbox as Runner
        else:
            from inner_loop.agents.plain import PlainRunner as Runner  # type: ignore[assignment]
        runner = Runner(worktree, experiment_socket=socket, limits=AgentLimits(wall_seconds=seconds))
        study = self._context.study
        hidden = (task.folder, *([study, *studies_in(study.parent)] if study else []))
        return replace(runner, environment=variables(task, worktree), tools=commands(task), hidden=hidden)

    def run(
        self,
        runner: AgentRunner,
        prompt: str,
        *,
        attend: Callable[[], bool] | None = None,
        begun: Callable[[RunningAgent], None] = lambda _: None,
    ) -> RunningAgent:
        """Start the agent with a prompt, its network and its keys, and wait for its end."""
        recipe, sandboxed, gateway = self.recipe, self._context.sandboxed, self.gateway
        ours = os.environ if sandboxed else own_variables()
        named = {**runner.environment, **agent_recipe.environment(recipe, ours, everything=not sandboxed)}
        more: list[str] = []
        if gateway is not None:
            more, pointing = agent_recipe.through(recipe, gateway.bases() | {"model": self._model})
            named |= gateway.variables() | pointing
        path, needed = self.installed
        runner = replace(
            runner,
            network=self._network,
            readable=(*needed, *(Path(path).expanduser() for path in recipe.readable)),
            environment=named,
            home=agent_recipe.home(recipe),
            gateway=gateway.path if gateway else None,
        )
        words = [str(path), *recipe.words(prompt, self._model, more)[1:]]
        stdin = prompt.encode() if recipe.takes_stdin else b""
        return runner.run(words, stdin=stdin, attend=attend, begun=begun)

    def failure(self, ended: RunningAgent) -> EnvironmentProblem | None:
        """What is wrong if an agent failed by itself; None if it exited normally or was killed.

        A shell and env exit with 126 and 127 if a program is missing; in a sandbox, it may be missing only there. An
        agent may also start without all that it needs later.
        """
        if ended.killed or ended.exit_code == 0 or ended.exit_code > 128:
            return None
        said = plain((ended.stderr or ended.stdout).decode("utf-8", "replace")).strip().splitlines()
        last = one_line(said[-1])[:200] if said else "no output"
        install = f" or installation ({self.recipe.install})" if self.recipe.install else ""
        hint = f"check its key, login, model, network{install}; nothing is lost, the same command goes on"
        shown = [*self.installed[1], *(Path(path).expanduser().resolve() for path in self.recipe.readable)]
        files = [Path(word).expanduser().resolve() for word in self.recipe.command[1:] if self._context.sandboxed]
        hidden = [file for file in files if file.is_file() and not agent_recipe.is_shown(file, shown)]
        if hidden := [file for file in hidden if any(file.name in line for line in said)]:
            hint = f"the sandbox does not show {hidden[0]}: add --set agent_readable={hidden[0].parent}"
            hint += "; the command needs its absolute path" * (str(hidden[0]) not in self.recipe.command)
        elif ended.exit_code in (126, 127) and self._context.sandboxed:
            hint = "missing files in the sandbox: add --set agent_readable=PATH, or use another path of the program"
        message = f"the agent {self.command!r} ended with exit code {ended.exit_code}: {last}"
        return EnvironmentProblem(message, hint=hint)


def require_start(name: str, task: Task, context: RunContext) -> None:
    """Start an agent once with a short prompt, in a worktree of its own. It may end by itself, and is ended when a
    model has answered it, at its first request, or after some seconds.

    Raises EnvironmentProblem if it fails by itself, or if its models refuse its calls, UsageError if the gateway needs
    its model's name or price.
    """
    calls: list[CallEvent] = []
    requests: list[AgentRequest] = []

    def answer(request: AgentRequest) -> AgentReply:
        requests.append(request)
        return AgentReply("the run has not begun", 2)

    def attend() -> bool:
        server.serve(0.1)
        return not (requests or launch.problem or any(call.status == "ok" for call in calls))

    launch = AgentLaunch(name, replace(context, emit=lambda event: calls.append(cast(CallEvent, event))))
    with ExitStack() as stack:
        worktree = temporary(stack) / "worktree"
        lay(worktree, task, starter("stock"), (), None, PROMPT)
        launch.open_gateway(stack)
        server = stack.enter_context(ExperimentServer(answer))
        runner = launch.runner(worktree, SECONDS, task, server.path)
        ended = launch.run(runner, PROMPT, attend=attend)
    if isinstance(launch.problem, UsageError):  # a cap is for the study to come
        raise launch.problem
    if problem := launch.failure(ended):
        raise problem
    if calls and not requests and all(_REFUSED.match(call.reason) for call in calls):
        message = f"the agent {launch.command!r}: its model refuses its calls: {one_line(calls[-1].reason)[:200]}"
        raise EnvironmentProblem(message, hint="check its key and its --model")

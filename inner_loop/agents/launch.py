"""How an agent is started, in a sandbox or as the user's own process, with its gateway; what its failure means;
and its first call before anything is trained, where a wrong key, login, model name or command shows."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import cast

from inner_loop.agents import recipe as agent_recipe
from inner_loop.agents.experiment_server import AgentReply, AgentRequest, ExperimentServer
from inner_loop.agents.job import LIMITS, agent_job
from inner_loop.agents.worktree import commands, lay, temporary, variables
from inner_loop.events import CallEvent
from inner_loop.gateway.server import Gateway
from inner_loop.run_context import RunContext
from programs.common.errors import EnvironmentProblem, MetaloopError, UsageError
from programs.common.text import one_line
from programs.shelf import starter
from trainer.jobs.job import Ended, LauncherFault
from trainer.jobs.plain import user_variables
from trainer.jobs.process_tree import Attend, ProcessTree
from trainer.jobs.run import run_job
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

    def run(
        self, prompt: str, worktree: Path, task: Task, experiment_socket: Path, seconds: float, attend: Attend
    ) -> Ended:
        """Start the agent with a prompt in its worktree, with its network and its keys, and wait for its end, for at
        most ``seconds``. ``task`` and ``experiment_socket``: where it requests experiments; ``attend``: see `run_job`.

        Its exit code is that of a shell: 128 plus the signal that ended it.
        """
        recipe, sandboxed, gateway, study = self.recipe, self._context.sandboxed, self.gateway, self._context.study
        ours = os.environ if sandboxed else user_variables()
        environment = variables(task, worktree) | agent_recipe.environment(recipe, ours, everything=not sandboxed)
        more: list[str] = []
        if gateway is not None:
            more, pointing = agent_recipe.through(recipe, gateway.bases() | {"model": self._model})
            environment |= gateway.variables() | pointing
        path, needed = self.installed
        job = agent_job(
            [str(path), *recipe.words(prompt, self._model, more)[1:]],
            worktree,
            sandboxed=sandboxed,
            network=self._network,
            readable=(*needed, *(Path(path).expanduser() for path in recipe.readable)),
            environment=environment,
            home=agent_recipe.home(recipe),
            experiment_socket=experiment_socket,
            scripts=commands(task),
            hidden=(task.folder, *([study, *studies_in(study.parent)] if study else [])),
            gateway=gateway.path if gateway else None,
            stdin=prompt.encode() if recipe.takes_stdin else b"",
            limits=replace(LIMITS, wall_seconds=seconds),
        )
        try:
            ended = run_job(job, sandboxed=sandboxed, attend=attend)
        except LauncherFault as fault:
            raise EnvironmentProblem(f"{worktree}: {fault}", hint="find its processes with ps") from None
        code = ended.exit_code
        return replace(ended, exit_code=code if code >= 0 else 128 - code)

    def failure(self, ended: Ended) -> EnvironmentProblem | None:
        """What is wrong if an agent failed by itself; None if it exited normally or was killed.

        A shell and env exit with 126 and 127 if a program is missing; in a sandbox, it may be missing only there. An
        agent may also start without all that it needs later.
        """
        if ended.killed or ended.exit_code == 0 or ended.exit_code > 128:
            return None
        said = (ended.errors or ended.log).strip().splitlines()
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

    def attend(_: ProcessTree) -> bool:
        server.serve(0.1)
        return not (requests or launch.problem or any(call.status == "ok" for call in calls))

    launch = AgentLaunch(name, replace(context, emit=lambda event: calls.append(cast(CallEvent, event))))
    with ExitStack() as stack:
        worktree = temporary(stack) / "worktree"
        lay(worktree, task, starter("stock"), (), None, PROMPT)
        launch.open_gateway(stack)
        server = stack.enter_context(ExperimentServer(answer))
        ended = launch.run(PROMPT, worktree, task, server.path, SECONDS, attend)
    if isinstance(launch.problem, UsageError):  # a cap is for the study to come
        raise launch.problem
    if problem := launch.failure(ended):
        raise problem
    if calls and not requests and all(_REFUSED.match(call.reason) for call in calls):
        message = f"the agent {launch.command!r}: its model refuses its calls: {one_line(calls[-1].reason)[:200]}"
        raise EnvironmentProblem(message, hint="check its key and its --model")

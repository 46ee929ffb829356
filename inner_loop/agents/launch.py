"""How an agent is started, in a sandbox or as the user's own process, with its gateway; what its failure means;
and its first call before anything is trained, where a wrong key, login, model name or command shows."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import cast

from inner_loop.agents import recipe as agent_recipe
from inner_loop.agents.experiment_server import AgentReply, AgentRequest, ExperimentServer
from inner_loop.agents.job import LIMITS, agent_job
from inner_loop.agents.worktree import commands, lay, temporary, worktree_variables
from inner_loop.events import CallEvent
from inner_loop.gateway.server import Gateway
from inner_loop.run_context import RunContext
from programs.common.errors import EnvironmentProblem, MetaloopError, UsageError
from programs.common.text import one_line
from programs.shelf import starter
from trainer.jobs.job import Ended, LauncherFault
from trainer.jobs.plain import user_variables
from trainer.jobs.process_tree import ProcessTree
from trainer.jobs.run import run_job
from trainer.task import Task
from trainer.user_files import studies_in

PROMPT = "Reply with the word `ready` and end. Run no command and change no file."
SECONDS = 25.0  # of the first call
POLL_SECONDS = 0.1
_SCRIPT_BYTES = 4 << 20  # of a file of the user's command line that is copied into the sandbox
_MISSING = re.compile("No such file|not found|No module named|cannot open")
_REFUSED = re.compile(r"HTTP (400|401|403|404)\b")


class AgentLaunch:
    """An agent as the configuration names it. ``name``: a recipe's, or empty if the configuration gives a command."""

    def __init__(self, name: str, context: RunContext) -> None:
        config = context.config
        self._context, self._sandboxed = context, context.sandboxed
        self.recipe = agent_recipe.recipe_for(name, config)
        self.command = os.path.basename(self.recipe.command[0])
        self._model = config.models[0] if config.models else ""
        self._network = agent_recipe.network_of(config) if context.sandboxed else "full"
        self.gateway: Gateway | None = None

    @cached_property
    def installed(self) -> tuple[Path, list[Path]]:
        """EnvironmentProblem if the agent is missing."""
        return agent_recipe.find(self.recipe, sandboxed=self._sandboxed)

    def open_gateway(self, stack: ExitStack) -> None:
        """The gateway to the agent's models, for all sessions; none if the agent has its own login, or the user no
        key."""
        recipe = self.recipe
        if open_routes := recipe.routes:
            shared = self._network == "full"
            gateway = Gateway(recipe.api, open_routes, self._context, shared=shared, models=recipe.models)
            self.gateway = stack.enter_context(gateway)

    @property
    def problem(self) -> MetaloopError | None:
        """Why the agent's models answer no more calls."""
        return self.gateway.meter.problem if self.gateway else None

    @contextmanager
    def started(
        self, prompt: str, worktree: Path, task: Task, experiment_socket: Path, seconds: float,
        watch: Callable[[ProcessTree], None] = lambda _: None,
    ) -> Iterator[Future[Ended]]:  # fmt: skip
        """The agent, started with a prompt in its worktree, with its network and its keys, as the future of its end,
        which comes with that of the context, or after ``seconds``. ``task`` and ``experiment_socket``: where it
        requests experiments, which are answered here while a thread waits for it; that calls ``watch`` with its
        processes.

        Its exit code is that of a shell: 128 plus the signal that ended it.
        """
        recipe, gateway, study = self.recipe, self.gateway, self._context.study
        ours = os.environ if self._sandboxed else user_variables()
        variables = recipe.passed_variables(ours, everything=not self._sandboxed)
        bases = gateway.bases() if gateway else {}
        if gateway:
            variables |= gateway.variables() | recipe.gateway_variables(self._model, bases)
        hidden = (task.folder, *([study, *studies_in(study.parent)] if study else []))
        command, scripts, readable = self._command(worktree, hidden)
        job = agent_job(
            recipe.model_copy(update={"command": command}).words(prompt, self._model, bases),
            worktree,
            sandboxed=self._sandboxed,
            network=self._network,
            readable=readable,
            environment=worktree_variables(task, worktree) | variables,
            home=recipe.home_files(),
            experiment_socket=experiment_socket,
            scripts=commands(task) | scripts,
            hidden=hidden,
            gateway=gateway.path if gateway else None,
            stdin=prompt.encode() if recipe.takes_stdin else b"",
            limits=replace(LIMITS, wall_seconds=seconds),
        )
        is_over = threading.Event()

        def attend(tree: ProcessTree) -> bool:
            watch(tree)
            return not is_over.wait(POLL_SECONDS)

        def end() -> Ended:
            try:
                ended = run_job(job, sandboxed=self._sandboxed, attend=attend)
            except LauncherFault as fault:
                raise EnvironmentProblem(f"{worktree}: {fault}", hint="find its processes with ps") from None
            code = ended.exit_code
            return replace(ended, exit_code=code if code >= 0 else 128 - code)

        with ThreadPoolExecutor(1) as thread:
            try:
                yield thread.submit(end)
            finally:
                is_over.set()

    def _command(self, worktree: Path, hidden: Sequence[Path]) -> tuple[list[str], dict[str, bytes], list[Path]]:
        """The words of the agent's command, the scripts that are copied into its sandbox, and what it reads there.

        Files that the user's own command line names have their whole path, as the agent starts in its worktree. In a
        sandbox small ones are copied, because root's files may be closed to the agent's uid. UsageError for a file that
        may not be shown.
        """
        program, needed = self.installed
        words, scripts = [str(program), *self.recipe.command[1:]], dict[str, bytes]()
        readable = [*needed, *(Path(path).expanduser() for path in self._context.config.agent_readable)]
        folders = [path for path in readable if path.is_dir()]
        for at, word in enumerate(words if self._context.config.agent else ()):
            script = agent_recipe.script_of(word, worktree)
            if script is None:
                continue
            words[at] = str(script)
            if self._sandboxed and not agent_recipe.is_shown(script, folders):
                from trainer.jobs.sandboxed import SCRIPTS
                from trainer.sandbox.view import checked

                readable.append(checked(script, hidden))
                if script.stat().st_size <= _SCRIPT_BYTES:
                    scripts[name := f"{at}/{script.name}"] = script.read_bytes()
                    words[at] = f"{SCRIPTS}/{name}"
        return words, scripts, readable

    def failure(self, ended: Ended) -> EnvironmentProblem | None:
        """What is wrong if an agent failed by itself; None if it exited normally or was killed.

        A shell and env exit with 126 and 127 if a program is missing; in a sandbox, it may be missing only there. An
        agent may also start without all that it needs later.
        """
        if ended.killed or ended.exit_code == 0 or ended.exit_code > 128:
            return None
        output = (ended.errors or ended.log).strip().splitlines()
        last = one_line(output[-1])[:200] if output else "no output"
        install = f" or installation ({self.recipe.install})" if self.recipe.install else ""
        hint = f"check its key, login, model, network{install}; nothing is lost, the same command goes on"
        if self._sandboxed and (ended.exit_code in (126, 127) or _MISSING.search(last)):
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
    request: AgentRequest | None = None
    launch = AgentLaunch(name, replace(context, emit=lambda event: calls.append(cast(CallEvent, event))))
    with ExitStack() as stack:
        worktree = temporary(stack) / "worktree"
        lay(worktree, task, starter("stock"), (), None, PROMPT)
        launch.open_gateway(stack)
        server = stack.enter_context(ExperimentServer())
        running = stack.enter_context(launch.started(PROMPT, worktree, task, server.path, SECONDS))
        while not (running.done() or request or launch.problem or any(call.status == "ok" for call in calls)):
            request = server.wait(POLL_SECONDS)
        server.reply(AgentReply("the run has not begun", 2))
    ended = running.result()
    if isinstance(launch.problem, UsageError):  # a cap is for the study to come
        raise launch.problem
    if problem := launch.failure(ended):
        raise problem
    if calls and not request and all(_REFUSED.match(call.reason) for call in calls):
        message = f"the agent {launch.command!r}: its model refuses its calls: {one_line(calls[-1].reason)[:200]}"
        raise EnvironmentProblem(message, hint="check its key and its --model")

"""The researcher that runs a coding agent: its command works in a git worktree and requests experiments through a
socket, in a sandbox or, with --no-sandbox, as the user's own process.

A session is one start of the agent's command, in a fresh worktree at the head. A run has as many sessions as necessary:
an agent that ends early is restarted while it makes progress. An agent cannot be replayed, so a resumed run restores
the recorded state and starts a session with a summary of it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Generator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from inner_loop.agents import recipe as agent_recipe
from inner_loop.agents import worktree as agent_worktree
from inner_loop.agents.experiment_server import ExperimentServer
from inner_loop.agents.launch import POLL_SECONDS, SECONDS, AgentLaunch, require_start
from inner_loop.agents.session import AGENT, AgentSession, SandboxCharge
from inner_loop.bench import Bench, NoReply, RunStopped, WallSpent
from inner_loop.comparison import judge
from inner_loop.contracts import Turn, TurnResearcher, next_proposal
from inner_loop.events import AgentSessionEvent, Experiment, FindingEvent, Proposal
from inner_loop.gateway.route import LOCAL
from inner_loop.researchers.description import MAY_COST, ResearcherDescription
from inner_loop.run_context import ModelConfig, RunContext, is_replayed
from inner_loop.stored_sources import StoredSources
from programs.common.errors import CredentialMissing, UsageError
from programs.program import Program
from trainer.jobs.job import Ended
from trainer.jobs.run import require_sandbox
from trainer.source import Source
from trainer.task import Task

TURN = 6  # experiments
GRACE_SECONDS = 10.0  # for an agent to end by itself when the budget is spent
IDLE_SECONDS = 1800.0  # without a request, after which an agent is ended
SESSION_SECONDS = 24 * 3600.0
UNCONFINED = "this starts an agent without a sandbox: it can do all that you can, and may cost money"
SANDBOX_SETTINGS = ("agent_network", "agent_readable", "agent_home")  # without effect on an agent without a sandbox


class CommandDescription(ResearcherDescription):
    """A coding agent. ``more``: the name of its recipe; empty if the configuration gives a command."""

    def _recipe(self, config: ModelConfig) -> agent_recipe.Recipe:
        return agent_recipe.recipe_for(self.more, config)

    def settle(self, config: ModelConfig, sandboxed: bool) -> ModelConfig:
        """Also: without a key the agent uses the user's own login. Not with a spending limit, which could then not be
        kept; in a sandbox only if the login is in a file."""
        config = super().settle(config, sandboxed)
        if not self.more or config.caps() or self.is_metered(config):
            return config
        direct = config.model_copy(update={"agent_direct": True})
        has_login = not sandboxed or self._recipe(direct).home_files()
        return direct if has_login else config

    def preflight(self, config: ModelConfig, sandboxed: bool) -> None:
        """Raises NotFound, UsageError, CredentialMissing or EnvironmentProblem, each with a fix: also where a recipe's
        agent would have no model, or a spending limit could not hold."""
        recipe = self._recipe(config)
        agent_recipe.find(recipe)
        if not recipe.routes:
            if self.more and recipe.api:
                keys = list(dict.fromkeys(key for upstream in recipe.api.values() for key in upstream.keys))
                raise CredentialMissing(
                    f"{self.more} needs {' or '.join(keys)}, which is not set",
                    hint=f"export {keys[0]}=…; or --set agent_direct=true for its own login, neither priced nor capped",
                )
            if config.caps():
                raise UsageError(
                    f"at most {config.caps()}: the agent's model calls are not priced, so no limit can hold",
                    hint="leave out --max-usd and --set max_tokens, or export the key of the agent's API",
                )
        require_sandbox(sandboxed)
        inert = [name for name in SANDBOX_SETTINGS if getattr(config, name)]
        if inert and not sandboxed:
            raise UsageError(
                f"--set {inert[0]} is for an agent in a sandbox; without one it reads and reaches what you do",
                hint=f"leave out --set {inert[0]}, or --no-sandbox",
            )
        super().preflight(config, sandboxed)

    def asks_consent(self, config: ModelConfig, sandboxed: bool) -> str:
        """Whatever the agent can reach beyond this machine may cost money; without a sandbox it can do anything."""
        if not sandboxed:
            return UNCONFINED
        recipe = self._recipe(config)
        leaves = agent_recipe.network_of(config) == "full" or any(route.host not in LOCAL for route in recipe.routes)
        return MAY_COST if leaves else super().asks_consent(config, sandboxed)

    def is_metered(self, config: ModelConfig) -> bool:
        """Whether its calls pass the gateway, because the key of its API is set."""
        return bool(self._recipe(config).routes)

    def try_once(
        self, task: Task, config: ModelConfig, sandboxed: bool, note: Callable[[str], None] = lambda _: None
    ) -> None:
        """Start the agent once before anything is trained; raises if it or its model refuses."""
        if not is_replayed():
            note(f"starting the agent once, to see that it answers (at most {SECONDS:.0f} s)")
            require_start(self.more, task, RunContext(config, sandboxed=sandboxed))

    def cost_line(self, task: Task, config: ModelConfig, experiments: int) -> tuple[str, dict[str, Any]]:
        """It also says what is not counted."""
        recipe, facts = self._recipe(config), {"researcher": self.name}
        names = [route.name for route in recipe.routes]
        if not names:
            reaches = "; it has this machine's network" if agent_recipe.network_of(config) == "full" else ""
            return f"own device; the agent's model calls are not priced, not capped{reaches}", facts
        most = f"at most {config.caps()}" if config.caps() else "no cap"
        return f"own device; the agent's calls of {', '.join(names)} are metered, {most}", facts

    def installed(self) -> dict[str, bool]:
        return agent_recipe.installed()


class CommandResearcher(TurnResearcher):
    """A turn is one session. ``more``: the name of a recipe, as in ``command:claude``; empty if the configuration gives
    a command. An agent has no seed. ``client``: of the programs of a night the first one's researcher, which has the
    gateway and the charge of all sessions."""

    description = CommandDescription
    turn_size = TURN
    is_replayed = False

    def __init__(self, program: Program, task: Task, seed: int, context: RunContext, more: str = "") -> None:
        agent_worktree.require_free(program, task)
        self._program = program
        self._task = task
        self._context = context
        self._agent = AgentLaunch(more, context)
        self._number = 0
        self._open = ExitStack()
        self._cut: Proposal | None = None  # of an experiment that was recorded, but not decided
        shared = context.client
        self.client: CommandResearcher = shared if isinstance(shared, CommandResearcher) else self

    def work(self, bench: Bench) -> None:
        """Take turns alone until the budget is spent, the agent gives up, or the wall limit is reached."""
        self.open(bench)
        try:
            before = 0
            while bench.is_open and len(bench.history) > before:
                before = len(bench.history)
                with closing(self.turn(bench)) as turn:
                    proposal = next(turn, None)
                    while proposal is not None:
                        record = bench.experiment(proposal)
                        bench.decide(record, *judge(bench, record, bench.head))
                        proposal = next_proposal(turn, record)
        finally:
            self.close()

    def open(self, bench: Bench) -> None:
        """Restore what an earlier attempt recorded, and open the gateway. EnvironmentProblem if the agent is missing,
        Corrupt if a source is."""
        if self.client is not self:
            return
        _ = self._agent.installed
        run_folder = self._context.folder
        with StoredSources(run_folder) as sources:
            cut = bench.recall(sources)
        self._cut = cut if cut and cut.proposer == AGENT else None  # the night itself repeats what it trains
        self._charge = SandboxCharge(bench, self._context.emit, self._context.recorded)
        self._deadline = time.monotonic() + (self._context.config.max_wall or float("inf"))
        self._folder = (run_folder / "agent").resolve() if run_folder else agent_worktree.temporary(self._open)
        self._folder.mkdir(parents=True, exist_ok=True)
        # without a sandbox far from the study: some agents read the CLAUDE.md and AGENTS.md of all folders above
        work_folder = self._folder if self._context.sandboxed else agent_worktree.temporary(self._open)
        self._worktree = work_folder / "worktree"
        self._agent.open_gateway(self._open)
        self._open.callback(agent_worktree.clear, self._worktree)

    def close(self) -> None:
        self._open.close()

    def turn(self, bench: Bench, most: float = float("inf"), taken: Collection[Source] = ()) -> Turn:
        """Propose what an agent asks for in one session, of at most so many experiments.

        Raises NoReply if the agent fails before it ran anything (its key, its network, its command), or if a cap of the
        study is reached, and WallSpent after the wall limit.
        """
        first = self.client
        if first._cut is not None:
            cut, first._cut = first._cut, None
            most -= 1
            yield cut
        first._charge.book()
        if not bench.is_open or most <= 0:
            return
        if time.monotonic() >= first._deadline:
            raise WallSpent(f"max_wall: {self._context.config.max_wall:g} s of wall time are over")
        if problem := first._agent.problem:
            raise NoReply(problem)
        logs = self._context.folder / "logs" if self._context.folder else None
        session = AgentSession(bench, self._program, first._worktree, first._charge, logs, most)
        ended = yield from self._session(session)
        self._write_down(ended, session.experiments)
        if session.experiments:
            return
        if bench.is_open and (problem := first._agent.problem):
            raise NoReply(problem)
        if failure := first._agent.failure(ended):
            failure.ids = (bench.run_id,)
            raise NoReply(failure)
        if len(bench.history) == 1:  # some agents exit with 0 though they never reached their model: the run stands
            baseline = bench.baseline
            text = f"agent: ended without one experiment (exit code {ended.exit_code})"
            about = {name: getattr(baseline, name) for name in ("run_id", "experiment_id", "source_id", "seed")}
            self._context.emit(FindingEvent.of_line(text, **about, stream="search"))

    def _session(self, session: AgentSession) -> Generator[Proposal, Experiment, Ended]:
        """Answer the agent's requests in a fresh worktree until it ends or is ended: after the budget, the deadline, or
        a long silence. Raises RunStopped if the run is to stop."""
        bench, worktree, charge, agent = session.bench, session.worktree, session.charge, self.client._agent
        prompt = agent_worktree.prompt(
            bench, self._program, metered=charge.seconds is not None, sandboxed=self._context.sandboxed,
            most=session.most,
        )  # fmt: skip
        copies = self._copies_of_notes()
        if worktree.exists() and self._context.seat[1] == 1:  # of a killed run; else perhaps another program's
            agent_worktree.save_notes(worktree, {name: copy for name, copy in copies.items() if not copy.exists()})
        kept = {name: text for name, copy in copies.items() if copy.exists() and (text := copy.read_bytes())}
        agent_worktree.lay(worktree, self._task, self._program, bench.history, bench.head, prompt, kept)
        end, last_request = self.client._deadline, time.monotonic()
        try:
            with (
                ExperimentServer() as server,
                agent.started(prompt, worktree, self._task, server.path, SESSION_SECONDS, charge.watch) as running,
            ):
                while not running.done() and time.monotonic() < min(end, last_request + IDLE_SECONDS):
                    if request := server.wait(POLL_SECONDS):
                        server.reply((yield from session.answer(request)))
                        last_request = time.monotonic()
                    charge.book()
                    if self._context.should_stop():
                        raise RunStopped(f"run {bench.run_id} was asked to stop while its agent was working")
                    if not session.is_open or agent.problem:
                        end = min(end, time.monotonic() + GRACE_SECONDS)
            return running.result()
        finally:
            charge.end()
            agent_worktree.save_notes(worktree, copies)

    def _copies_of_notes(self) -> dict[str, Path]:
        """The files in which an agent keeps notes, living files of the program included, and their copies in the run's
        folder; each program of a night has its own."""
        folder = self.client._folder
        if self._context.seat[1] > 1:
            folder /= self._program.program_id
        living = {name: folder / "living" / name for name, _ in self._program.living}
        return {**living, agent_worktree.NOTES: folder / agent_worktree.NOTES}

    def _write_down(self, ended: Ended, experiments: int) -> None:
        """Record the session's event and store the agent's output as text beside the run; it is not read again."""
        first = self.client
        first._number += 1
        for text, end in ((ended.log, "out"), (ended.errors, "err")):
            name = f"session-{os.getpid()}-{first._number}.{end}"
            (first._folder / name).write_text(text, encoding="utf-8")
        event = AgentSessionEvent(
            run_id=self._context.run_id, command=self._agent.command, exit_code=ended.exit_code,
            killed="budget" if ended.killed == "cpu" else ended.killed,
            experiments=experiments, wall_seconds=ended.wall_seconds, cpu_seconds=ended.cpu_seconds,
            counted_by=ended.counted_by, peak_memory_mb=ended.peak_memory_mb,
        )  # fmt: skip
        self._context.emit(event)


make = CommandResearcher

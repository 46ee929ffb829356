"""The flags that name a coding agent and set what it may read and reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import click

from meta.cli import resolve
from meta.cli.options import Duration, flag
from programs.errors import UsageError

if TYPE_CHECKING:
    from inner_loop.run_context import ModelConfig

NETWORKS = ("none", "proxy", "full")


@dataclass(frozen=True)
class AgentFlags:
    """Which coding agent follows a program, and what it may read and reach."""

    agent: Annotated[
        str | None,
        flag(
            "Command line of the agent; it gets the prompt on stdin, or in place of {prompt}.",
            "--agent-command",
            metavar="COMMAND",
        ),
    ] = None
    agent_network: Annotated[
        str | None,
        flag(
            "What the agent reaches besides its models  [default: none; proxy with --agent-direct or --agent-allow].",
            type=click.Choice(NETWORKS),
        ),
    ] = None
    agent_direct: Annotated[
        bool | None,
        flag("Give the agent your key or login; its costs are then not recorded and no spending limit applies."),
    ] = None
    agent_allow: Annotated[str | None, flag("More hosts that the proxy allows.", metavar="HOST,…")] = None
    agent_readable: Annotated[str | None, flag("More paths that the agent may read.", metavar="PATH,…")] = None
    agent_env: Annotated[str | None, flag("Your environment variables to pass to the agent.", metavar="NAME,…")] = None
    agent_home: Annotated[str | None, flag("Your files to copy into the agent's home.", metavar="NAME=FILE,…")] = None
    max_wall: Annotated[
        float | None, flag("Wall time limit of one run with a model or an agent, e.g. 20m.", type=Duration())
    ] = None

    def given(self) -> dict[str, Any]:
        """The fields of a `Staff` that were set, and no others."""
        fields = {name: value for name, value in vars(self).items() if value is not None}
        return fields | {name: tuple(resolve.listed(fields[name])) for name in _LISTS if name in fields}


_LISTS = ("agent_allow", "agent_readable", "agent_env", "agent_home")
_SANDBOX = ("agent_network", "agent_allow", "agent_readable", "agent_home")
_SETTLED = ("agent", "agent_network", "agent_direct", *_LISTS)


def check(researcher: str, config: ModelConfig, sandboxed: bool) -> None:
    """Check, before a study is created, that the agent is known and installed, has a model and can be started.

    Raises NotFound, UsageError, CredentialMissing or EnvironmentProblem, each with a fix.
    """
    from inner_loop.agents import recipe as agent_recipe
    from inner_loop.gateway import plan as agent_gateway_plan
    from trainer.commands.launcher import require_sandbox

    name = researcher.partition(":")[2]
    agent_recipe.find(agent_recipe.recipe_for(name, config))
    agent_gateway_plan.require(name, config)
    require_sandbox(sandboxed)
    inert = [name for name in _SANDBOX if getattr(config, name)] if not sandboxed else []
    if inert:
        flag_name = "--" + inert[0].replace("_", "-")
        raise UsageError(
            f"{flag_name} is for an agent in a sandbox; without one it reads and reaches what you do",
            hint=f"leave out {flag_name}, or --no-sandbox",
        )


def with_login(researcher: str, config: ModelConfig, sandboxed: bool) -> ModelConfig:
    """The configuration for the user's own study: without a key the agent uses its own login. Not with a spending
    limit, which could then not be kept; in a sandbox only if the login is in a file."""
    from inner_loop.agents import recipe as agent_recipe
    from inner_loop.gateway.route import routes

    kind, _, name = researcher.partition(":")
    if kind != "command" or not name or config.caps():
        return config
    direct = config.model_copy(update={"agent_direct": True})
    recipe = agent_recipe.recipe_for(name, config)
    if routes(recipe.gateway.api) or (sandboxed and not agent_recipe.home(agent_recipe.recipe_for(name, direct))):
        return config
    return direct

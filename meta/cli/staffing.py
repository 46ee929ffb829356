"""The flags of ``run``, ``match``, ``evolve`` and ``improve`` that name a coding agent and what it sees and reaches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import click

from meta.cli import resolve
from meta.cli.options import Duration, flag

if TYPE_CHECKING:
    from inner_loop.run_context import ModelConfig

NETWORKS = ("none", "proxy", "full")


@dataclass(frozen=True)
class AgentFlags:
    """Which coding agent follows a program, and what it sees and reaches."""

    agent: Annotated[
        str | None,
        flag("Start this agent; the prompt is its stdin, or {prompt}.", "--agent-command", metavar="COMMAND"),
    ] = None
    agent_network: Annotated[
        str | None, flag("What it may reach beside its models  [default: none].", type=click.Choice(NETWORKS))
    ] = None
    agent_direct: Annotated[bool | None, flag("Give it your key or login: not priced, not capped.")] = None
    agent_allow: Annotated[str | None, flag("Further hosts that the proxy lets through.", metavar="HOST,…")] = None
    agent_readable: Annotated[str | None, flag("Further paths that an agent may read.", metavar="PATH,…")] = None
    agent_env: Annotated[str | None, flag("Further variables of yours that an agent is given.", metavar="NAME,…")] = (
        None
    )
    agent_home: Annotated[str | None, flag("Further files of yours in an agent's home.", metavar="NAME=FILE,…")] = None
    max_wall: Annotated[
        float | None, flag("Wall time of one run with a model or an agent: 20m, 8h.", type=Duration())
    ] = None

    def given(self) -> dict[str, Any]:
        """The fields of a `Staff` that were given, and no others."""
        found = {name: value for name, value in vars(self).items() if value is not None}
        return found | {name: tuple(resolve.listed(found[name])) for name in _LISTS if name in found}


_LISTS = ("agent_allow", "agent_readable", "agent_env", "agent_home")
_SETTLED = ("agent", "agent_network", "agent_direct", *_LISTS)


def check(researcher: str, config: ModelConfig) -> None:
    """Before anything is founded: is the agent known, installed, has it a model, and can it be shut in? NotFound,
    UsageError, CredentialMissing or EnvironmentProblem, with the cure."""
    from inner_loop.agents import recipe as agent_recipe
    from inner_loop.gateway import plan as agent_gateway_plan
    from trainer import bwrap

    name = researcher.partition(":")[2]
    agent_recipe.find(agent_recipe.recipe_for(name, config))
    agent_gateway_plan.require(name, config)
    bwrap.ensure()


def same(made: ModelConfig, asked: ModelConfig) -> None:
    """A study goes on with the agent that it was made with. Raises NotComparable for another."""
    nothing = type(made)()
    for name in _SETTLED:
        wanted = getattr(asked, name)
        if wanted != getattr(nothing, name) and wanted != getattr(made, name):
            flag_name = "--agent-command" if name == "agent" else "--" + name.replace("_", "-")
            raise resolve.made_otherwise(f"the study was made with another {flag_name}", "the --agent flags")

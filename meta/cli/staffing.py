"""The flags of ``run``, ``match``, ``evolve`` and ``improve`` that name a coding agent and what it sees and reaches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from meta.cli.options import Duration, flag
from programs.errors import NotComparable

if TYPE_CHECKING:
    from inner_loop.kit import Staff

NETWORKS = ("none", "proxy", "full")
FLAGS = (
    flag("--agent-command", metavar="COMMAND", help="Start this agent; the prompt is its stdin, or {prompt}."),
    flag("--agent-network", type=click.Choice(NETWORKS), help="What it may reach beside its models  [default: none]."),
    flag("--agent-direct", is_flag=True, default=None, help="Give it your key or login: not priced, not capped."),
    flag("--agent-allow", metavar="HOST,…", help="Further hosts that the proxy lets through."),
    flag("--agent-readable", metavar="PATH,…", help="Further paths that an agent may read."),
    flag("--agent-env", metavar="NAME,…", help="Further variables of yours that an agent is given."),
    flag("--agent-home", metavar="NAME=FILE,…", help="Further files of yours in an agent's home."),
    flag("--max-wall", type=Duration(), help="Wall time of one run with a model or an agent: 20m, 8h."),
)
_LISTS = ("agent_allow", "agent_readable", "agent_env", "agent_home")
_SETTLED = ("agent", "agent_network", "agent_direct", *_LISTS)


def take(flags: dict[str, Any]) -> dict[str, Any]:
    """Take the agent's fields of a `Staff` out of a command's parameters; those alone that were given."""
    given = {}
    for name in ("agent_command", "agent_network", "agent_direct", *_LISTS, "max_wall"):
        value = flags.pop(name, None)
        if value is not None:
            given[name.replace("agent_command", "agent")] = value
    for name in _LISTS:
        if name in given:
            given[name] = tuple(part.strip() for part in given[name].split(",") if part.strip())
    return given


def check(researcher: str, staff: Staff) -> None:
    """Before anything is founded: is the agent known, installed, has it a model, and can it be shut in? NotFound,
    UsageError, CredentialMissing or EnvironmentProblem, with the cure."""
    from inner_loop.agents import recipe as agent_recipe
    from inner_loop.gateway import plan as agent_gateway_plan
    from trainer import bwrap

    name = researcher.partition(":")[2]
    agent_recipe.find(agent_recipe.recipe_for(name, staff))
    agent_gateway_plan.require(name, staff)
    bwrap.ensure()


def same(made: Staff, asked: Staff) -> None:
    """A study goes on with the agent that it was made with. Raises NotComparable for another."""
    nothing = type(made)()
    for name in _SETTLED:
        wanted = getattr(asked, name)
        if wanted != getattr(nothing, name) and wanted != getattr(made, name):
            flag_name = "--agent-command" if name == "agent" else "--" + name.replace("_", "-")
            raise NotComparable(
                f"the study was made with another {flag_name}",
                hint="leave the --agent flags out to go on, or name a new folder with --study",
            )

"""Who researches: the flags of ``run``, ``match``, ``evolve`` and ``improve`` that name a researcher and its agent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from meta.cli.options import Duration, flag

if TYPE_CHECKING:
    from inner_loop.kit import Staff

NETWORKS = ("none", "proxy", "full")
FLAGS = (
    flag("-r", "--researcher", metavar="KIND", help="scripted, or command:NAME, a coding agent  [default: scripted]."),
    flag("--agent-command", metavar="COMMAND", help="Start this agent; the prompt is its stdin, or {prompt}."),
    flag("--agent-network", type=click.Choice(NETWORKS), help="What an agent may reach  [default: proxy]."),
    flag("--agent-allow", metavar="HOST,…", help="Further hosts that the proxy lets through."),
    flag("--agent-readable", metavar="PATH,…", help="Further paths that an agent may read."),
    flag("--agent-env", metavar="NAME,…", help="Further variables of yours that an agent is given."),
    flag("--agent-home", metavar="NAME=FILE,…", help="Further files of yours in an agent's home."),
    flag("--max-wall", type=Duration(), help="Wall time of one run of an agent: 20m, 8h."),
)
_LISTS = ("agent_allow", "agent_readable", "agent_env", "agent_home")
_NAMES = ("agent_command", "agent_network", *_LISTS, "max_wall")


def take(flags: dict[str, Any]) -> tuple[str | None, Staff | None]:
    """Take researcher and staff out of a command's parameters; None where no flag says anything about them."""
    researcher = flags.pop("researcher", None)
    given = {name: value for name in _NAMES if (value := flags.pop(name, None)) is not None}
    for name in _LISTS:
        if name in given:
            given[name] = tuple(part.strip() for part in given[name].split(",") if part.strip())
    if "agent_command" in given:
        given["agent"] = given.pop("agent_command")
        researcher = researcher or "command"
    if not given:
        return researcher, None
    from inner_loop.kit import Staff

    return researcher, Staff(**given)


def check(researcher: str, staff: Staff | None) -> None:
    """Before anything is founded: is there such a researcher, and is its agent installed? NotFound, UsageError or
    EnvironmentProblem, with the cure."""
    from inner_loop.researchers import find_researcher

    find_researcher(researcher)
    kind, _, name = researcher.partition(":")
    if kind == "command":
        from inner_loop import agent_recipe
        from inner_loop.kit import Staff
        from trainer import bwrap

        agent_recipe.find(agent_recipe.recipe_for(name, staff or Staff()))
        bwrap.ensure()

"""The plan's line about an agent's model calls, before it is started: who pays, what is counted, what is missing."""

from __future__ import annotations

from inner_loop.agents import recipe as agent_recipe
from inner_loop.gateway.route import LOCAL, routes
from inner_loop.run_context import ModelConfig
from programs.errors import CredentialMissing


def require(name: str, config: ModelConfig) -> None:
    """Raise CredentialMissing if a recipe's agent would have no model. ``name``: a recipe's, or empty."""
    upstreams = agent_recipe.recipe_for(name, config).gateway.api
    if not name or not upstreams or routes(upstreams):
        return
    keys = list(dict.fromkeys(key for upstream in upstreams.values() for key in upstream.keys))
    raise CredentialMissing(
        f"{name} needs {' or '.join(keys)}, which is not set",
        hint=f"export {keys[0]}=…; or --set agent_direct=true for its own login, which is not priced and not capped",
    )


def may_cost(name: str, config: ModelConfig) -> bool:
    """Whether the agent can reach a model or anything else beyond this machine."""
    recipe = agent_recipe.recipe_for(name, config)
    far = any(route.host not in LOCAL for route in routes(recipe.gateway.api))
    return far or agent_recipe.network(recipe, config) != "none"


def cost_line(name: str, config: ModelConfig) -> str:
    """One line for the plan; it also says what is not counted."""
    open_routes = routes(agent_recipe.recipe_for(name, config).gateway.api)
    if not open_routes:
        return "own device; the agent's model calls are not priced, not capped"
    most = f"at most {config.caps()}" if config.caps() else "no cap"
    return f"own device; the agent's calls of {', '.join(route.name for route in open_routes)} are metered, {most}"

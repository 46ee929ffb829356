"""What a plan says of an agent's model calls before it is started: who pays, what is counted, what is missing."""

from __future__ import annotations

from inner_loop.agents import recipe as agent_recipe
from inner_loop.gateway.route import routes
from inner_loop.kit import Staff
from programs.errors import CredentialMissing


def require(name: str, staff: Staff) -> None:
    """Raise CredentialMissing where a recipe's agent would have no model. ``name``: a recipe's, or empty."""
    upstreams = agent_recipe.recipe_for(name, staff).gateway.api
    if not name or not upstreams or routes(upstreams):
        return
    keys = list(dict.fromkeys(key for upstream in upstreams.values() for key in upstream.keys))
    raise CredentialMissing(
        f"{name} needs {' or '.join(keys)}, which is not set",
        hint=f"export {keys[0]}=…; or --agent-direct for its own login, which is not priced and not capped",
    )


def may_cost(name: str, staff: Staff) -> bool:
    """Whether the agent can reach a model, or anything else, beyond this machine."""
    recipe = agent_recipe.recipe_for(name, staff)
    far = any(not route.local for route in routes(recipe.gateway.api))
    return far or agent_recipe.network(recipe, staff) != "none"


def told(name: str, staff: Staff) -> str:
    """One line for the plan. What nobody counts is said so."""
    found = routes(agent_recipe.recipe_for(name, staff).gateway.api)
    if not found:
        return "own device; what the agent's models cost is not priced, not capped"
    most = f"at most {staff.caps()}" if staff.caps() else "no cap"
    return f"own device; the agent's calls of {', '.join(route.name for route in found)} are metered, {most}"

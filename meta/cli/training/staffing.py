"""The settings of models and agents: what ``--set`` says, and whether an agent can start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from meta.cli import resolve
from meta.cli.options import parse_duration
from programs.errors import UsageError

if TYPE_CHECKING:
    from inner_loop.run_context import ModelConfig

SECONDS = ("max_wall", "call_timeout", "patience")
_SANDBOX = ("agent_network", "agent_allow", "agent_readable", "agent_home")


def settings_of(texts: Sequence[str]) -> dict[str, Any]:
    """The fields of a `ModelConfig` that ``--set`` gives, which has refused other names. Raises UsageError."""
    from inner_loop.run_context import ModelConfig

    known = ModelConfig.model_fields
    made: dict[str, Any] = {}
    config = ModelConfig()
    for text in texts:
        key, _, value = text.partition("=")
        try:
            if key == "prices":
                made.setdefault(key, {}).update([price_of(value)])
            elif key in SECONDS:
                made[key] = parse_duration(value)
            else:
                made[key] = tuple(resolve.listed(value)) if isinstance(known[key].default, tuple) else value
            config = ModelConfig(**made)
        except ValueError as error:
            hint = str(known[key].description)
            raise UsageError(f"--set {text}: {first_line(error)}", hint=hint) from None
    return {name: getattr(config, name) for name in made}


def first_line(error: ValueError) -> str:
    """The problem, without pydantic's heading."""
    from pydantic import ValidationError

    return str(error.errors()[0]["msg"] if isinstance(error, ValidationError) else error)


def price_of(text: str) -> tuple[str, tuple[float, ...]]:
    """``openai/NAME=0.5/1.5`` or with a third figure. Raises ValueError."""
    name, _, figures = text.rpartition("=")
    prices = tuple(float(figure) for figure in figures.split("/"))
    if not name or not 2 <= len(prices) <= 3 or not all(0 <= figure < 1e6 for figure in prices):
        raise ValueError("not a price")
    return name, prices


def check(researcher: str, config: ModelConfig, sandboxed: bool) -> None:
    """Check, before a study is created, that the agent is known and installed, has a model and can be started.

    Raises NotFound, UsageError, CredentialMissing or EnvironmentProblem, each with a fix.
    """
    from inner_loop.agents import recipe as agent_recipe
    from trainer.commands.launcher import require_sandbox

    name = researcher.partition(":")[2]
    agent_recipe.find(agent_recipe.recipe_for(name, config))
    agent_recipe.require(name, config)
    require_sandbox(sandboxed)
    inert = [name for name in _SANDBOX if getattr(config, name)] if not sandboxed else []
    if inert:
        flag_name = f"--set {inert[0]}"
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

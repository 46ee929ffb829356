"""Recipes: how the known coding agents are started unattended, a TOML file each in `recipes/`.

Each cites the documentation of its command line. Other agents are started by `--agent-command`.
"""

from __future__ import annotations

import os
import shlex
import shutil
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from inner_loop.gateway.route import COMMON, Upstream, routes
from inner_loop.run_context import ModelConfig
from programs.errors import EnvironmentProblem, NotFound, UsageError

if TYPE_CHECKING:
    from inner_loop.agents.running import Network

RECIPES = Path(__file__).parent / "recipes"


class GatewaySetup(BaseModel):
    """How an agent is pointed to the gateway: the variables of each API, and ``words`` of its command line and
    values of variables (``set``) in which {NAME} is replaced by the base URL of the API with that name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    words: list[str] = Field(default_factory=list)
    set: dict[str, str] = Field(default_factory=dict)
    api: dict[str, Upstream] = Field(default_factory=dict)


class Direct(BaseModel):
    """What an agent with direct access to its vendor receives: names of variables with keys, and its login."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    environment: list[str] = Field(default_factory=list)
    home: dict[str, str] = Field(default_factory=dict)


class Recipe(BaseModel):
    """``command`` and ``after`` surround the model's flags; the prompt goes to stdin, or after ``before_prompt``.

    ``environment``: names of variables to pass on if they are set; ``set``: variables with values. {entry} is the
    script that is trained, {model} the model, {prompt} the prompt. ``gateway``: the APIs that it reaches through the
    gateway; ``direct``: what it gets instead where it has the login itself. ``home``: file in its home → our file.
    ``by_hand``: how a user starts it in a folder of their own, where it asks before it acts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    command: list[str] = Field(min_length=1)
    prompt: Literal["stdin", "argument"] = "stdin"
    before_prompt: list[str] = Field(default_factory=list)
    after: list[str] = Field(default_factory=list)
    model: list[str] = Field(default_factory=list)
    environment: list[str] = Field(default_factory=list)
    set: dict[str, str] = Field(default_factory=dict)
    gateway: GatewaySetup = Field(default_factory=GatewaySetup)
    direct: Direct = Field(default_factory=Direct)
    home: dict[str, str] = Field(default_factory=dict)
    hosts: list[str] = Field(default_factory=list)
    readable: list[str] = Field(default_factory=list)
    install: str = ""
    by_hand: list[str] = Field(default_factory=list)

    def words(self, prompt: str, model: str, entry: str, more: Sequence[str] = ()) -> list[str]:
        """The command line, with ``more`` words. Placeholders are replaced only in the recipe's own words, never in
        the prompt."""
        filled = [*(word.replace("{entry}", entry) for word in self.command), *more]
        if model:
            filled += [word.replace("{model}", model) for word in self.model]
        if any("{prompt}" in word for word in filled):
            return [word.replace("{prompt}", prompt) for word in filled] + self.after
        return filled + self.after + ([*self.before_prompt, prompt] if self.prompt == "argument" else [])


@dataclass(frozen=True)
class Installed:
    """An installed agent: the ``path`` to start in a sandbox, the folders or files that it needs there, and the path
    as ``given``."""

    path: Path
    readable: tuple[Path, ...]
    given: Path


def names() -> list[str]:
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def load(name: str) -> Recipe:
    """Raises NotFound for a name that no recipe has."""
    if name not in names():
        hint = f"known agents: {', '.join(names())}; or --researcher command --agent-command 'my-agent {{prompt}}'"
        raise NotFound(f"no recipe for an agent {name!r}", hint=hint)
    return Recipe.model_validate(tomllib.loads((RECIPES / f"{name}.toml").read_text(encoding="utf-8")))


def recipe_for(name: str, config: ModelConfig) -> Recipe:
    """The recipe of ``command:NAME``, or of `--agent-command`, which takes precedence; with the configured
    additions."""
    if config.agent:
        try:
            words = shlex.split(config.agent)
        except ValueError as error:
            raise UsageError(f"--agent-command: {error}", hint="quote it as for a shell") from None
        base = load(name) if name else Recipe(command=["-"], gateway=GatewaySetup(api=COMMON))
        recipe = base.model_copy(
            update={
                "command": words or ["-"],
                "after": [],
                "before_prompt": [],
                "prompt": "stdin",
                "gateway": base.gateway.model_copy(update={"words": []}),
            }
        )
    elif name:
        recipe = load(name)
    else:
        raise UsageError(
            "--researcher command names no agent", hint=f"command:NAME ({', '.join(names())}) or --agent-command"
        )
    home = dict(_pair(text) for text in config.agent_home)
    direct = recipe.direct if config.agent_direct else Direct()
    return recipe.model_copy(
        update={
            "environment": [*recipe.environment, *direct.environment, *(_name(text) for text in config.agent_env)],
            "home": recipe.home | direct.home | home,
            "gateway": GatewaySetup() if config.agent_direct else recipe.gateway,
            "hosts": [*recipe.hosts, *config.agent_allow],
            "readable": [*recipe.readable, *config.agent_readable],
        }
    )


FOLLOWS = "this agent, or any other, follows it"  # beside the command of `own_agent`


def own_agent(prompt: str, name: str = "") -> str:
    """A command line for a user's own folder, to copy: of the agent ``name``, else of one that is installed here,
    else of Claude Code."""
    here = [one for one in names() if shutil.which(load(one).command[0])]
    chosen = name if name in names() else next(iter(here), "claude")
    return shlex.join(word.replace("{prompt}", prompt) for word in load(chosen).by_hand)


def environment(recipe: Recipe, ours: Mapping[str, str] = os.environ, *, everything: bool = False) -> dict[str, str]:
    """The variables that the agent's process receives from our environment, those that the recipe names or
    ``everything``, and those that it sets. Keys that the gateway uses are never passed on."""
    held = {name for upstream in recipe.gateway.api.values() for name in upstream.variables}
    names = ours if everything else recipe.environment
    return recipe.set | {name: ours[name] for name in names if ours.get(name) and name not in held}


def through(recipe: Recipe, bases: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """Words and variables that point the agent to the gateway; ``bases``: its base URLs, by the names of the APIs."""

    def fill(text: str) -> str:
        for name, base in bases.items():
            text = text.replace(f"{{{name}}}", base)
        return text

    return [fill(word) for word in recipe.gateway.words], {k: fill(v) for k, v in recipe.gateway.set.items()}


def network(recipe: Recipe, config: ModelConfig, ours: Mapping[str, str] = os.environ) -> Network:
    """The agent's network; one whose models the gateway serves needs none, unless the user allows further hosts."""
    if config.agent_network:
        return config.agent_network
    return "none" if not config.agent_allow and routes(recipe.gateway.api, ours) else "proxy"


def home(recipe: Recipe) -> dict[str, Path]:
    """The files of the agent's home that exist here."""
    paths = {name: Path(path).expanduser() for name, path in recipe.home.items()}
    return {name: path for name, path in paths.items() if path.exists()}


def find(recipe: Recipe) -> Installed:
    """The program on PATH. EnvironmentProblem with the installation command if it is missing."""
    word = recipe.command[0]
    path = shutil.which(word)
    if path is None:
        hint = recipe.install or "give its path in --agent-command, and --set agent_readable for the folder it needs"
        raise EnvironmentProblem(f"the agent {word!r} is not installed here", hint=hint)
    given = Path(os.path.abspath(path))
    return Installed(given if _shown(given) else given.resolve(), tuple(_needs(given.resolve())), given)


def _shown(path: Path) -> bool:
    return any(path.is_relative_to(folder) for folder in ("/usr", "/bin", "/nix/store"))


def _needs(real: Path) -> list[Path]:
    """The files of a program outside /usr: npm's packages with the programs beside them (not the prefix, which may
    be ~/.local with logins in it), a virtual environment with its Python, or the file itself."""
    if _shown(real):
        return []
    for parent in real.parents:
        if parent.name == "node_modules":
            prefix = parent.parent.parent if parent.parent.name == "lib" else parent.parent
            return [parent, *([prefix / "bin"] if (prefix / "bin").is_dir() else [])]
    root = real.parent.parent
    if (root / "pyvenv.cfg").is_file():
        return [root, *_base_python(root)]
    return [real]


def _base_python(environment: Path) -> list[Path]:
    """The installation behind a virtual environment, unless it is in /usr."""
    lines = (environment / "pyvenv.cfg").read_text(encoding="utf-8").splitlines()
    settings: dict[str, str] = {k.strip(): v.strip() for k, _, v in (line.partition("=") for line in lines)}
    base = Path(settings.get("home", "/usr/bin")).resolve().parent
    return [] if _shown(base) or len(base.parts) < 3 else [base]


def _name(text: str) -> str:
    """The name of a variable. Values are refused, because they would be stored in the study's config."""
    if "=" in text or not text.replace("_", "a").isalnum():
        raise UsageError(
            f"--set agent_env={text.partition('=')[0]}: a name, not a value", hint="export it, and give its name"
        )
    return text


def _pair(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise UsageError(f"--set agent_home={text!r}", hint="NAME=FILE: .codex/auth.json=~/.codex/auth.json")
    return name, path

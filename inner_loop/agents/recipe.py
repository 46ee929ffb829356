"""Recipes: how the known coding agents are started unattended, a TOML file each in `recipes/`.

Each cites the documentation of its command line. Other agents are started by `--set agent`.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from inner_loop.gateway.route import COMMON, Route, Upstream, routes
from inner_loop.run_context import ModelConfig
from programs.common.errors import EnvironmentProblem, NotFound, UsageError

RECIPES = Path(__file__).parent / "recipes"


class GatewaySetup(BaseModel, frozen=True, extra="forbid"):
    """How an agent is pointed to the gateway: the variables of each API, and ``words`` of its command line and
    values of variables (``set``) in which {NAME} is replaced by the base URL of the API with that name, {model} by that
    of --model. ``models``: patterns of further models that it calls by itself."""

    models: list[str] = []
    words: list[str] = []
    set: dict[str, str] = {}
    api: dict[str, Upstream] = {}


class Direct(BaseModel, frozen=True, extra="forbid"):
    """What an agent with direct access to its vendor receives: names of variables with keys, and its login."""

    environment: list[str] = []
    home: dict[str, str] = {}


class Recipe(BaseModel, frozen=True, extra="forbid"):
    """``command`` and ``after`` surround the model's flags; the prompt goes to stdin, or in place of {prompt} in them.

    ``environment``: names of variables to pass on if they are set; ``set``: variables with values. ``gateway``: the
    APIs that it reaches through the gateway; ``direct``: what it gets instead where it has the login itself. ``home``:
    file in its home → our file. ``network``: full for an agent that has the login itself. ``by_hand``: how a user
    starts it in a folder of their own, where it asks before it acts.
    """

    command: list[str] = Field(min_length=1)
    after: list[str] = []
    model: list[str] = []
    environment: list[str] = []
    set: dict[str, str] = {}
    gateway: GatewaySetup = GatewaySetup()
    direct: Direct = Direct()
    home: dict[str, str] = {}
    readable: list[str] = []
    network: Literal["none", "full"] = "none"
    install: str = ""
    by_hand: list[str] = []

    @property
    def routes(self) -> tuple[Route, ...]:
        """To the APIs whose key is set here: their calls are counted and capped."""
        return routes(self.gateway.api)

    @property
    def takes_stdin(self) -> bool:
        return not any("{prompt}" in word for word in (*self.command, *self.after))

    def words(self, prompt: str, model: str, more: Sequence[str] = ()) -> list[str]:
        """The command line, with ``more`` words. Placeholders are replaced only in the recipe's own words, never in
        the prompt."""
        named = [word.replace("{model}", model) for word in self.model] if model else []
        return [word.replace("{prompt}", prompt) for word in (*self.command, *more, *named, *self.after)]


def names() -> list[str]:
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def load(name: str) -> Recipe:
    """Raises NotFound for a name that no recipe has."""
    if name not in names():
        hint = f"known agents: {', '.join(names())}; or --set agent='my-agent {{prompt}}'"
        raise NotFound(f"no recipe for an agent {name!r}", hint=hint)
    return Recipe.model_validate(tomllib.loads((RECIPES / f"{name}.toml").read_text(encoding="utf-8")))


def installed() -> dict[str, bool]:
    """Name of each recipe → whether its agent is installed here."""
    return {name: shutil.which(load(name).command[0]) is not None for name in names()}


def recipe_for(name: str, config: ModelConfig) -> Recipe:
    """The recipe of ``command:NAME``, or of `--set agent`, which takes precedence; with the configured
    additions."""
    if not name and not config.agent:
        hint = f"command:NAME ({', '.join(names())}) or --set agent=COMMAND"
        raise UsageError("--researcher command names no agent", hint=hint)
    recipe = load(name) if name else Recipe(command=["-"], gateway=GatewaySetup(api=COMMON))
    changes: dict[str, object] = {}
    if config.agent:
        try:
            changes["command"] = shlex.split(config.agent) or ["-"]
        except ValueError as error:
            raise UsageError(f"--set agent: {error}", hint="quote it as for a shell") from None
        changes["after"], changes["gateway"] = [], recipe.gateway.model_copy(update={"words": []})
    direct = Direct()
    if config.agent_direct:
        direct, changes["gateway"] = recipe.direct, GatewaySetup()
    changes |= {
        "environment": [*recipe.environment, *direct.environment, *map(_name, config.agent_env)],
        "home": recipe.home | direct.home | dict(map(_pair, config.agent_home)),
        "readable": [*recipe.readable, *config.agent_readable],
    }
    changes["network"] = config.agent_network or ("full" if config.agent_direct else "none")
    return recipe.model_copy(update=changes)


FOLLOWS = "this agent, or any other, follows it"  # beside the command of `own_agent`


def own_agent(prompt: str, researcher: str = "", command: str = "") -> str:
    """A command line for a user's own folder, to copy: of the agent of the ``researcher``, else with the user's own
    ``command``, else of an agent that is installed here, else of Claude Code."""
    name = researcher.removeprefix("command:")
    if command and name not in names():
        given = shlex.quote(prompt)
        return command.replace("{prompt}", given) if "{prompt}" in command else f"echo {given} | {command}"
    here = [name for name, is_here in installed().items() if is_here]
    chosen = name if name in names() else next(iter(here), "claude")
    return shlex.join(word.replace("{prompt}", prompt) for word in load(chosen).by_hand)


def environment(recipe: Recipe, ours: Mapping[str, str] = os.environ, *, everything: bool = False) -> dict[str, str]:
    """The variables that the agent's process receives from our environment, those that the recipe names or
    ``everything``, and those that it sets. Keys that the gateway uses are never passed on."""
    held = {name for one in recipe.gateway.api.values() for name in (*one.base, *one.keys, *one.tokens)}
    names = ours if everything else recipe.environment
    return recipe.set | {name: ours[name] for name in names if ours.get(name) and name not in held}


def through(recipe: Recipe, bases: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """Words and variables that point the agent to the gateway; ``bases``: its base URLs, by the names of the APIs."""

    def fill(text: str) -> str:
        for name, base in bases.items():
            text = text.replace(f"{{{name}}}", base)
        return text

    return [fill(word) for word in recipe.gateway.words], {k: fill(v) for k, v in recipe.gateway.set.items()}


def home(recipe: Recipe) -> dict[str, Path]:
    """The files of the agent's home that exist here."""
    paths = {name: Path(path).expanduser() for name, path in recipe.home.items()}
    return {name: path for name, path in paths.items() if path.exists()}


def find(recipe: Recipe, *, sandboxed: bool = True) -> tuple[Path, list[Path]]:
    """The program on PATH, as it is started, and the folders or files that it needs in a sandbox. EnvironmentProblem
    with the installation command if it is missing."""
    word = recipe.command[0]
    path = shutil.which(word)
    if path is None:
        hint = recipe.install or "give its path in --set agent, and --set agent_readable for the folder it needs"
        raise EnvironmentProblem(f"the agent {word!r} is not installed here", hint=hint)
    given = Path(os.path.abspath(path))
    return given if is_shown(given) or not sandboxed else given.resolve(), _needs(given.resolve())


_SYSTEM = (Path("/usr"), Path("/bin"), Path("/nix/store"))


def is_shown(path: Path, readable: Iterable[Path] = ()) -> bool:
    """Whether a sandbox shows it, with these ``readable`` paths."""
    return any(path.is_relative_to(folder) for folder in (*_SYSTEM, *readable))


def _needs(real: Path) -> list[Path]:
    """The files of a program outside /usr: npm's packages with the programs beside them (not the prefix, which may
    be ~/.local with logins in it), a virtual environment with its Python, or the file itself."""
    if is_shown(real):
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
    home = re.search(r"^home\s*=\s*(.*\S)", (environment / "pyvenv.cfg").read_text(encoding="utf-8"), re.MULTILINE)
    base = Path(home[1] if home else "/usr/bin").resolve().parent
    return [] if is_shown(base) or len(base.parts) < 3 else [base]


def _name(text: str) -> str:
    """The name of a variable. Values are refused, because they would be stored in the study's config."""
    if "=" in text or not text.replace("_", "a").isalnum():
        message = f"--set agent_env={text.partition('=')[0]}: a name, not a value"
        raise UsageError(message, hint="export it, and give its name")
    return text


def _pair(text: str) -> tuple[str, str]:
    name, _, path = text.partition("=")
    if not (name and path):
        raise UsageError(f"--set agent_home={text!r}", hint="NAME=FILE: .codex/auth.json=~/.codex/auth.json")
    return name, path

"""Recipes: how the known coding agents are started unattended, a TOML file each in `recipes/`.

Each cites the documentation of its command line. Other agents are started by `--set agent`.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from inner_loop.gateway.route import COMMON, Route, Upstream, routes
from inner_loop.run_context import ModelConfig
from programs.common.errors import EnvironmentProblem, NotFound, UsageError

RECIPES = Path(__file__).parent / "recipes"


class Recipe(BaseModel, frozen=True, extra="forbid"):
    """``command`` and ``after`` surround the model's flags; the prompt goes to stdin, or in place of {prompt} in them.
    ``set``: variables with values.

    ``api``: the APIs that it reaches through the gateway. ``gateway_words`` and ``gateway_set`` point it there: words
    of its command line and values of variables in which {NAME} is replaced by the base URL of the API with that name,
    {model} by that of --model. ``models``: patterns of further models that it calls by itself.

    ``environment`` and ``home``: variables and files (name in its home → our file) that it receives; those of a TOML
    file only with its own login, and then also the variables of its APIs. ``by_hand``: how a user starts it in a folder
    of their own, where it asks before it acts.
    """

    command: list[str] = Field(min_length=1)
    after: list[str] = []
    model: list[str] = []
    set: dict[str, str] = {}
    api: dict[str, Upstream] = {}
    gateway_words: list[str] = []
    gateway_set: dict[str, str] = {}
    models: list[str] = []
    environment: list[str] = []
    home: dict[str, str] = {}
    install: str = ""
    by_hand: list[str] = []

    @property
    def routes(self) -> tuple[Route, ...]:
        """To the APIs whose key is set here: their calls are counted and capped."""
        return routes(self.api)

    @property
    def api_variables(self) -> list[str]:
        """The names of all variables with an address or a key of its APIs."""
        return [name for upstream in self.api.values() for name in (*upstream.base, *upstream.keys, *upstream.tokens)]

    @property
    def takes_stdin(self) -> bool:
        return not any("{prompt}" in word for word in (*self.command, *self.after))

    def words(self, prompt: str, model: str, bases: Mapping[str, str] | None = None) -> list[str]:
        """The command line. ``bases``: the gateway's base URLs, by the names of the APIs, where it goes there.
        Placeholders are replaced only in the recipe's own words, never in the prompt."""
        values = {**(bases or {}), "prompt": prompt, "model": model}
        words = [*self.command, *(self.gateway_words if bases else ()), *(self.model if model else ()), *self.after]
        return [_filled(word, values) for word in words]

    def gateway_variables(self, model: str, bases: Mapping[str, str]) -> dict[str, str]:
        """Variables that point the agent to the gateway; as in `words`."""
        return {name: _filled(text, {**bases, "model": model}) for name, text in self.gateway_set.items()}

    def passed_variables(self, ours: Mapping[str, str] = os.environ, *, everything: bool = False) -> dict[str, str]:
        """The variables that the agent's process receives from our environment, those that the recipe names or
        ``everything``, and those that it sets. Keys that the gateway uses are never passed on."""
        names = set(ours if everything else self.environment) - set(self.api_variables)
        return self.set | {name: text for name, text in ours.items() if text and name in names}

    def home_files(self) -> dict[str, Path]:
        """The files of the agent's home that exist here."""
        paths = {name: Path(path).expanduser() for name, path in self.home.items()}
        return {name: path for name, path in paths.items() if path.exists()}


def _filled(text: str, values: Mapping[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], match[0]), text)


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
    recipe = load(name) if name else Recipe(command=["-"], api=COMMON)
    changes: dict[str, object] = {}
    if config.agent:
        try:
            changes["command"] = shlex.split(config.agent) or ["-"]
        except ValueError as error:
            raise UsageError(f"--set agent: {error}", hint="quote it as for a shell") from None
        changes |= {"after": [], "gateway_words": []}
    environment, home = [_name(text) for text in config.agent_env], dict(map(_pair, config.agent_home))
    if config.agent_direct:
        environment = [*recipe.api_variables, *recipe.environment, *environment]
        home = recipe.home | home
        changes |= {"api": {}, "gateway_words": [], "gateway_set": {}}
    return recipe.model_copy(update=changes | {"environment": environment, "home": home})


def network_of(config: ModelConfig) -> Literal["none", "full"]:
    """What an agent in a sandbox reaches besides its models."""
    return config.agent_network or ("full" if config.agent_direct else "none")


FOLLOWS = "this agent, or any other, follows it"  # beside the command of `own_agent`


def own_agent(prompt: str, researcher: str = "", command: str = "") -> str:
    """A command line for a user's own folder, to copy: of the agent of the ``researcher``, else with the user's own
    ``command``, else of an agent that is installed here, else of Claude Code."""
    name = researcher.removeprefix("command:")
    if command and name not in names():
        quoted = shlex.quote(prompt)
        return command.replace("{prompt}", quoted) if "{prompt}" in command else f"echo {quoted} | {command}"
    agents = [name for name, is_here in installed().items() if is_here]
    chosen = name if name in names() else next(iter(agents), "claude")
    return shlex.join(word.replace("{prompt}", prompt) for word in load(chosen).by_hand)


def find(recipe: Recipe, *, sandboxed: bool = True) -> tuple[Path, list[Path]]:
    """The program on PATH, as it is started, and the folders or files that it needs in a sandbox. EnvironmentProblem
    with the installation command if it is missing."""
    word = recipe.command[0]
    path = shutil.which(os.path.expanduser(word))
    if path is None:
        hint = recipe.install or "give its path in --set agent, and --set agent_readable for the folder it needs"
        raise EnvironmentProblem(f"the agent {word!r} is not installed here", hint=hint)
    program = Path(os.path.abspath(path))
    return located(program) if sandboxed else (program, [])


_SYSTEM = (Path("/usr"), Path("/bin"), Path("/nix/store"))
_PYTHON = re.compile(r"python[0-9.]*")


def is_shown(path: Path, readable: Iterable[Path] = ()) -> bool:
    """Whether a sandbox shows it, with these ``readable`` paths."""
    return any(path.is_relative_to(folder) for folder in (*_SYSTEM, *readable))


def located(program: Path) -> tuple[Path, list[Path]]:
    """A program as a sandbox starts it, and the files that it needs there outside /usr; nothing of it is executed.

    These are a virtual environment with its Python, npm's packages with the programs beside them (not the prefix, which
    may be ~/.local with logins in it), an installation of Python, or the file itself with its interpreter. Where
    `python` is a version manager's script, it stands for the Python that every sandbox has.
    """
    real = program.resolve()
    for path in (program, real):
        if (path.parent.parent / "pyvenv.cfg").is_file():
            return path, [path.parent.parent, *_base_python(path.parent.parent)]
    if is_shown(real):
        return program if is_shown(program) else real, []
    for parent in real.parents:
        if parent.name == "node_modules":
            prefix = parent.parent.parent if parent.parent.name == "lib" else parent.parent
            return real, [parent, *([prefix / "bin"] if (prefix / "bin").is_dir() else [])]
    with real.open("rb") as file:
        first_line = re.match(rb"#!\s*(/\S+)", file.readline(4096))
    if _PYTHON.fullmatch(program.name):
        return (Path(sys.executable), []) if first_line else (real, [real.parent.parent])
    interpreter = Path(os.fsdecode(first_line[1])) if first_line else real
    return real, [real, *(located(interpreter)[1] if first_line and interpreter.is_file() else [])]


def script_of(word: str, worktree: Path) -> Path | None:
    """The user's file that a word of their command line names; None for another word, and for a file that the agent
    has in its worktree."""
    path = Path(os.path.abspath(os.path.expanduser(word)))
    is_relative = ("/" in word or "." in word) and not (worktree / word).exists()
    return path if path.is_file() and (is_relative or str(path) == word) else None


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

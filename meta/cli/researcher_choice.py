"""The researcher, its models and their spending limits, from the flags; the estimated cost, and the consent to it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from meta.cli import resolve
from meta.cli.flags import ModelFlags
from meta.cli.options import parse_duration
from meta.cli.output import Output, ask
from meta.kinds.cost import Cost
from programs.charter import Charter
from programs.errors import NotFound, UsageError
from programs.shelf import in_library

if TYPE_CHECKING:
    from arena.study import Study
    from inner_loop.run_context import ModelConfig
    from programs.program import Program
    from trainer.task import Task

CAPS = ("max_usd", "max_tokens", "max_wall", "prices")
UNPRICED = "; its price: --set prices={}=IN/OUT, dollars per million tokens"
LIMITS = (*CAPS, "call_timeout", "patience", "calls_at_once")  # a resumed study may have others

MAY_COST = "this calls models, which may cost money"
CAPPED = "--yes, with --max-usd 5"
SECONDS = ("max_wall", "call_timeout", "patience")
_SANDBOX = ("agent_network", "agent_readable", "agent_home")


def _no_models() -> ModelConfig:
    from inner_loop.run_context import ModelConfig

    return ModelConfig()


@dataclass(frozen=True)
class ResearcherChoice:
    """The model flags of a command. ``named``: the researcher as named or implied; None: that of the study.

    ``config`` has what the flags say; a new study gets ``settled``. ``sandboxed``: whether an agent runs in a sandbox.
    """

    named: str | None = None
    config: ModelConfig = field(default_factory=_no_models)
    yes: bool = False
    sandboxed: bool = True

    @property
    def researcher(self) -> str:
        return self.named or "scripted"

    @cached_property
    def settled(self) -> ModelConfig:
        """With the context size of the models."""
        if not self.config.models:
            return self.config
        from inner_loop.models.prices import settled

        return settled(self.config)

    @classmethod
    def of(cls, models: ModelFlags, *, yes: bool) -> ResearcherChoice:
        """From the flags of a command. Naming a model implies the chat researcher."""
        from inner_loop.run_context import ModelConfig

        given: dict[str, Any] = {} if models.max_usd is None else {"max_usd": models.max_usd}
        given |= settings_of(models.more)
        config = ModelConfig(models=tuple(resolve.listed(models.model)), **given)
        _tapes()
        implied = "command" if config.agent else "chat" if config.models else None
        return cls(models.researcher or implied, config, yes)

    def of_own_study(self, sandboxed: bool) -> ResearcherChoice:
        """For a study of the user's own, where an agent may use the user's login."""
        return replace(self, config=with_login(self.researcher, self.config, sandboxed), sandboxed=sandboxed)

    def require_able(self, study: Study | None) -> None:
        """Raise where the researcher is unknown, its agent cannot start here or a model cannot be called."""
        from inner_loop.researchers import find_researcher

        researcher, config = self.of_study(study)
        find_researcher(researcher)
        if researcher.partition(":")[0] == "command":
            check_agent(researcher, config, self.sandboxed)
        if researcher != "chat" and not config.models:
            return
        if not os.environ.get("METALOOP_REPLAY"):
            from inner_loop.models.prices import require_ready

            require_ready(config)
        elif not config.models:
            raise UsageError("METALOOP_REPLAY needs the models of the recording", hint="-m NAME, as when recording")

    def ready(self, study: Study | None) -> None:
        """Called before a study is created or resumed: raises as `require_able` does; applies new limits.

        Where calls may cost money, the user has to agree, once: at a terminal, or with --yes.
        """
        self.require_able(study)
        if study is not None:
            _raise_caps(study, self.config)
        researcher, config = self.of_study(study)
        kind, _, name = researcher.partition(":")
        calls = config.models and not os.environ.get("METALOOP_REPLAY") and not _free(config)
        if kind == "command":
            from inner_loop.agents.recipe import may_cost, metered

            hint = CAPPED if calls or metered(name, config) else "--yes"
            unconfined = "this starts an agent without a sandbox: it can do all that you can, and may cost money"
            if not self.sandboxed or may_cost(name, config) or calls:
                self._consent(MAY_COST if self.sandboxed else unconfined, hint)
        elif calls:
            self._consent()

    def of_study(self, study: Study | None) -> tuple[str, ModelConfig]:
        """The researcher and its configuration: of the study that is resumed, with the limits given now, or of a new
        one."""
        if study is None:
            return self.researcher, self.config
        return study.config.researcher, _with_caps(study.config.staff, self.config)

    def _consent(self, what: str = MAY_COST, hint: str = CAPPED) -> None:
        if not self.yes:
            ask(f"{what}; continue?", f"{what}, and there is no terminal to confirm it", hint)

    def first_call(self, out: Output, task: Task, study: Study | None) -> None:
        """Call the models, or start the agent, once before anything is trained: raises if they refuse."""
        researcher = study.config.researcher if study else self.researcher
        config = study.config.staff if study else self.settled
        kind, _, name = researcher.partition(":")
        if os.environ.get("METALOOP_REPLAY"):
            return
        if kind == "command":
            from inner_loop.agents.launch import SECONDS, require_start
            from inner_loop.run_context import RunContext

            out.note(f"starting the agent once, to see that it answers (at most {SECONDS:.0f} s)")
            require_start(name, task, RunContext(config, sandboxed=self.sandboxed))
        elif config.models:
            from inner_loop.models.client import require_answer

            require_answer(config)

    def refuse_inert(self, out: Output, programs: Sequence[Program], tasks: Sequence[Task]) -> None:
        """The remarks of `note_others`; raises UsageError for a program that was evolved for a model or an agent, and
        in which a script finds nothing that differs from stock."""
        from meta.novelty import like_stock

        self.refuse_without_edits(programs, tasks)
        for program in programs if self.researcher == "scripted" else ():
            label = program.evolved_for
            if label is None or "scripted" in (label.kind, label.rewritten):
                continue
            if like_stock(program, tasks, self.researcher):
                raise UsageError(
                    f"{program.name} was evolved for {label}; a script reads none of it here, so it would run exactly "
                    "like stock",
                    hint="-m MODEL or -r command:NAME follows it; or write edits in backticks under Ideas",
                )
        self.note_others(out, programs)

    def refuse_without_edits(self, programs: Sequence[Program], tasks: Sequence[Task]) -> None:
        """Raise UsageError where a script would change nothing: it makes only the edits that a task declares, or that a
        program defines as a patch."""
        if self.researcher != "scripted" or any(program.patches for program in programs):
            return
        if none := [task.name for task in tasks if not task.edits.knobs]:
            raise UsageError(
                f"{none[0]} declares no edits, and the scripted researcher makes no others",
                hint="-m MODEL or -r command:NAME edits the files freely; or add [edits.NAME] to its task.toml",
            )

    def note_others(self, out: Output, programs: Sequence[Program], past: Path | None = None) -> None:
        """A remark for each program that was evolved for another researcher than the one that is to follow it, and for
        for the study of ``--from`` if its gains were measured with another one."""
        from arena.settings import StudyConfig
        from programs.evolved_for import EvolvedFor

        other = EvolvedFor.of(self.researcher, self.config.models)
        for program in programs:
            text = program.evolved_for.remark(program.name, other) if program.evolved_for else ""
            if not text and self.researcher == "scripted":
                text = unread_ideas(program)
            if text:
                out.note(text)
        if past:
            config = StudyConfig.read(past / resolve.MARK)
            own = EvolvedFor.of(config.researcher, config.staff.models)
            if own.remark("", other):
                out.note(f"--from {resolve.shown(past)}: its gains were measured with {own}, not with {other}")

    def billed(self, cost: Cost, task: Task, study: Study | None) -> Cost:
        """The cost with that of the models or the agent that follow the programs."""
        researcher = study.config.researcher if study else self.researcher
        config = _with_caps(study.config.staff, self.config) if study else self.settled
        if researcher.partition(":")[0] == "command":
            from inner_loop.agents.recipe import cost_line

            cost = cost.knowing(researcher=researcher)
            return cost.saying(price=cost_line(researcher.partition(":")[2], config))
        if not config.models:
            return cost
        cost = cost.knowing(researcher=researcher, models=", ".join(config.models), **limits(config))
        if researcher != "chat":
            return cost
        if os.environ.get("METALOOP_REPLAY"):
            return cost.saying(price="replayed, no model is called")
        from inner_loop.models.prices import bill_line, estimate, require_prices_of

        require_prices_of(config)
        whole = estimate(task, config, cost.experiments)
        return cost.knowing(tokens=whole.tokens, usd=whole.usd).saying(price=bill_line(whole, config))


def limits(config: ModelConfig) -> dict[str, Any]:
    """The limits of calls, as details of a cost; times in seconds."""
    limited = {"context_tokens": config.context_tokens or "unknown", "max_wall_s": config.max_wall}
    return {name: value for name, value in limited.items() if value} | {
        "reply_tokens": config.reply_limit,
        "call_timeout_s": config.call_timeout,
        "patience_s": config.patience,
        "calls_at_once": config.calls_at_once,
    }


def _tapes() -> None:
    """A recording belongs to a command, not to its study: it is named in the environment, which workers read."""
    record, replay = (os.environ.get(name) for name in ("METALOOP_RECORD", "METALOOP_REPLAY"))
    if record and replay:
        raise UsageError("METALOOP_RECORD and METALOOP_REPLAY exclude each other", hint="leave one of them out")
    if replay and not Path(replay).is_dir():
        raise NotFound(f"{replay}: not a folder with a recording", hint="METALOOP_RECORD=DIR makes one")
    for name, folder in (("METALOOP_RECORD", record), ("METALOOP_REPLAY", replay)):
        if folder:
            os.environ[name] = str(Path(folder).expanduser().resolve())


def _raise_caps(study: Study, given: ModelConfig) -> None:
    """Store the limits and prices given now in the settings of a resumed study."""
    config = _with_caps(study.config.staff, given)
    if config != study.config.staff:
        study.config = study.config.model_copy(update={"staff": config})
        study.config.dump(study.folder / "study.toml")


def _with_caps(config: ModelConfig, given: ModelConfig) -> ModelConfig:
    """``config`` with the requested spending limits, prices and call limits."""
    return config.model_copy(update={name: getattr(given, name) for name in LIMITS if name in given.model_fields_set})


def _free(config: ModelConfig) -> bool:
    """Whether all models are served by this machine, judging by the environment."""
    base = os.environ.get("OPENAI_BASE_URL") or os.environ.get("OPENAI_API_BASE") or ""
    local = urlsplit(base).hostname in ("127.0.0.1", "localhost", "::1")
    return all((model.startswith("openai/") and local) or model.startswith("ollama") for model in config.models)


def unread_ideas(program: Program) -> str:
    """How much of a program in prose a script can follow, and what follows the rest; empty where it follows all."""
    followed = sum(bool(idea.terms) for idea in program.ideas)
    settings = program.charter != Charter() or in_library(program)
    if followed == len(program.ideas) and (followed or settings):
        return ""
    ideas = f"{followed} of its {len(program.ideas)} ideas" if program.ideas else "no idea in it"
    return (
        f"{program.name}: a script can follow {ideas}: it needs an edit in backticks, as in `lr=0.1`, under a heading "
        "Ideas; -m MODEL or -r command:NAME follows prose"
    )


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


def check_agent(researcher: str, config: ModelConfig, sandboxed: bool) -> None:
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

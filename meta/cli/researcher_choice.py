"""Who researches, as the flags say: the researcher, its models, their caps; the bill, and the question before it."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import click

from meta.cli import resolve, staffing
from meta.cli.flags import ModelFlags
from meta.cli.staffing import AgentFlags
from meta.planned_work import PlannedWork
from programs.errors import NotFound, UsageError

if TYPE_CHECKING:
    from arena.study import Study
    from inner_loop.run_context import ModelConfig
    from trainer.task import Task

NO_AGENT = AgentFlags()
LOCAL = ("127.0.0.1", "localhost", "::1")
CAPS = ("max_usd", "max_tokens", "max_wall", "prices")
Traces = Literal["auto", "tools", "prompt", "none"]
LIMITS = ("reply_tokens", "call_timeout", "patience", "calls_at_once")  # of calls


def _no_models() -> ModelConfig:
    from inner_loop.run_context import ModelConfig

    return ModelConfig()


@dataclass(frozen=True)
class ResearcherChoice:
    """The config flags of a command. ``asked``: the researcher as named or implied; None: as the study has it."""

    named: str | None = None
    config: ModelConfig = field(default_factory=_no_models)
    yes: bool = False

    @property
    def researcher(self) -> str:
        return self.named or "scripted"

    @classmethod
    def of(
        cls, models: ModelFlags, agent: AgentFlags = NO_AGENT, *, traces: Traces | None = None, yes: bool
    ) -> ResearcherChoice:
        """As the flags of a command say. Naming a model asks for the chat researcher."""
        from inner_loop.run_context import ModelConfig

        calls = {name: value for name in LIMITS if (value := getattr(models, name)) is not None}
        config = ModelConfig(
            models=tuple(resolve.listed(models.model)),
            max_usd=models.max_usd,
            max_tokens=models.max_tokens,
            prices=dict(_price(text) for text in models.price),
            **agent.given(),
            **calls,
            traces=traces or "auto",
        )
        _tapes(models.record, models.replay)
        implied = "command" if config.agent else "chat" if config.models else None
        return cls(models.researcher or implied, config, yes)

    def ready(self, study: Study | None) -> None:
        """Before anything is founded: raise where a model cannot be asked; on a study that goes on, raise its caps.

        Where a call may cost money, it is asked for; without a terminal --yes has to say so.
        """
        from inner_loop.researchers import find_researcher

        researcher = study.config.researcher if study else self.researcher
        find_researcher(researcher)
        if study is not None:
            staffing.same(study.config.staff, self.config)
            _same_replies(study, self.config)
            _raise_caps(study, self.config)
        config = study.config.staff if study else self.config
        if researcher.partition(":")[0] == "command":
            from inner_loop.gateway import plan as agent_gateway_plan

            staffing.check(researcher, config)
            if not self.yes and agent_gateway_plan.may_cost(researcher.partition(":")[2], config):
                _consent()
        if researcher != "chat" and not config.models:
            return
        if os.environ.get("METALOOP_REPLAY"):
            if not config.models:
                raise UsageError("--replay needs the models of the recording", hint="-m NAME, as it was recorded")
            return
        from inner_loop.models.prices import require_ready

        require_ready(config)
        if not self.yes and not _free(config):
            _consent()

    def bill(self, task: Task, experiments: int, study: Study | None) -> PlannedWork:
        """What the models may take, in the words of a plan; nothing where none is called."""
        researcher = study.config.researcher if study else self.researcher
        config = _with_caps(study.config.staff, self.config) if study else self.config
        if researcher.partition(":")[0] == "command":
            from inner_loop.gateway.plan import cost_line as told_of_agent

            return {"researcher": researcher, "price": told_of_agent(researcher.partition(":")[2], config)}
        if not config.models:
            return {}
        if researcher != "chat":
            return limits(config)
        plan: PlannedWork = {"researcher": researcher, "models": ", ".join(config.models), **limits(config)}
        if config.max_wall is not None:
            plan["max_wall_s"] = config.max_wall
        if os.environ.get("METALOOP_REPLAY"):
            return plan | {"price": "replayed, no model is called"}
        from inner_loop.models.bill import bill_line, estimate
        from inner_loop.models.prices import require_prices_of

        require_prices_of(config)
        whole = estimate(task, config, experiments)
        return plan | {"tokens": whole.tokens, "usd": whole.usd, "price": bill_line(whole, config)}


def limits(config: ModelConfig) -> PlannedWork:
    """The limits of calls, in the words of a plan; times in seconds."""
    return {
        "reply_tokens": config.reply_tokens, "call_timeout_s": config.call_timeout, "patience_s": config.patience,
        "calls_at_once": config.calls_at_once,
    }  # fmt: skip


def _price(text: str) -> tuple[str, tuple[float, float] | tuple[float, float, float]]:
    name, equals, figures = text.rpartition("=")
    try:
        asked, said, *cached = (float(figure) for figure in figures.split("/"))
        if not (equals and name and len(cached) < 2):
            raise ValueError
        if not all(0 <= figure < 1e6 for figure in (asked, said, *cached)):
            raise ValueError
    except ValueError:
        hint = "--price openai/NAME=0.5/1.5 per million tokens in and out; a third figure is for cached ones"
        raise UsageError(f"--price {text}: is no price", hint=hint) from None
    return name, (asked, said, cached[0]) if cached else (asked, said)


def _tapes(record: str | None, replay: str | None) -> None:
    """Workers are told by the environment: where to record belongs to a command, not to its study."""
    if record and replay:
        raise UsageError("--record and --replay exclude each other", hint="leave one of them out")
    if replay and not Path(replay).is_dir():
        raise NotFound(f"{replay}: no recording found", hint="name the folder that --record wrote")
    for name, folder in (("METALOOP_RECORD", record), ("METALOOP_REPLAY", replay)):
        if folder:
            os.environ[name] = str(Path(folder).expanduser().resolve())


def _raise_caps(study: Study, requested: ModelConfig) -> None:
    """A study goes on under the caps and prices that are given now, where any are."""
    config = _with_caps(study.config.staff, requested)
    if config != study.config.staff:
        study.config = study.config.model_copy(update={"staff": config})
        study.config.dump(study.folder / "study.toml")


def _with_caps(config: ModelConfig, requested: ModelConfig) -> ModelConfig:
    """``config`` with the requested caps, prices and limits; the length of replies stays."""
    given = {name: getattr(requested, name) for name in CAPS if getattr(requested, name)}
    given |= {name: getattr(requested, name) for name in LIMITS if name in requested.model_fields_set}
    return config.model_copy(update=given)


def _same_replies(study: Study, requested: ModelConfig) -> None:
    """The length of replies is part of each request, by which recorded calls are known."""
    made = study.config.staff.reply_tokens
    if "reply_tokens" in requested.model_fields_set and requested.reply_tokens != made:
        raise resolve.made_otherwise(f"the study was made with --reply-tokens {made}", "--reply-tokens")


def _free(config: ModelConfig) -> bool:
    """Whether all models are served by this machine, as far as the environment tells."""
    base = os.environ.get("OPENAI_BASE_URL") or os.environ.get("OPENAI_API_BASE") or ""
    local = urlsplit(base).hostname in LOCAL
    return all((model.startswith("openai/") and local) or model.startswith("ollama") for model in config.models)


def _consent() -> None:
    if not sys.stdin.isatty() or not sys.stderr.isatty():
        raise UsageError("models may cost money, and nobody is there to be asked", hint="--yes, with --max-usd 5")
    click.confirm("models are called, which may cost money; go on?", abort=True, err=True)

"""The researcher, its models and their spending limits, from the flags; the estimated cost, and the consent to it."""

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
    from inner_loop.kit import Staff
    from trainer.task import Task

NO_AGENT = AgentFlags()
LOCAL = ("127.0.0.1", "localhost", "::1")
CAPS = ("max_usd", "max_tokens", "max_wall", "prices")
Traces = Literal["auto", "tools", "prompt", "none"]
LIMITS = ("reply_tokens", "call_timeout", "patience", "calls_at_once")  # of calls


def _no_models() -> Staff:
    from inner_loop.kit import Staff

    return Staff()


@dataclass(frozen=True)
class Crew:
    """The model flags of a command. ``requested``: the researcher as named or implied; None: that of the study."""

    requested: str | None = None
    staff: Staff = field(default_factory=_no_models)
    yes: bool = False

    @property
    def researcher(self) -> str:
        return self.requested or "scripted"

    @classmethod
    def of(cls, models: ModelFlags, agent: AgentFlags = NO_AGENT, *, traces: Traces | None = None, yes: bool) -> Crew:
        """From the flags of a command. Naming a model implies the chat researcher."""
        from inner_loop.kit import Staff

        calls = {name: value for name in LIMITS if (value := getattr(models, name)) is not None}
        staff = Staff(
            models=tuple(resolve.listed(models.model)),
            max_usd=models.max_usd,
            max_tokens=models.max_tokens,
            prices=dict(_price(text) for text in models.price),
            **agent.given(),
            **calls,
            traces=traces or "auto",
        )
        _tapes(models.record, models.replay)
        implied = "command" if staff.agent else "chat" if staff.models else None
        return cls(models.researcher or implied, staff, yes)

    def ready(self, study: Study | None) -> None:
        """Called before a study is created or resumed: raises where a model cannot be called; applies new limits.

        Where calls may cost money, the user has to agree: at a terminal, or with --yes.
        """
        from inner_loop.researchers import find_researcher

        researcher = study.config.researcher if study else self.researcher
        find_researcher(researcher)
        if study is not None:
            staffing.same(study.config.staff, self.staff)
            _same_replies(study, self.staff)
            _raise_caps(study, self.staff)
        staff = study.config.staff if study else self.staff
        if researcher.partition(":")[0] == "command":
            from inner_loop.gateway import plan as agent_gateway_plan

            staffing.check(researcher, staff)
            if not self.yes and agent_gateway_plan.may_cost(researcher.partition(":")[2], staff):
                _consent()
        if researcher != "chat" and not staff.models:
            return
        if os.environ.get("METALOOP_REPLAY"):
            if not staff.models:
                raise UsageError("--replay needs the models of the recording", hint="-m NAME, as when recording")
            return
        from inner_loop.models.prices import require_ready

        require_ready(staff)
        if not self.yes and not _free(staff):
            _consent()

    def bill(self, task: Task, experiments: int, study: Study | None) -> PlannedWork:
        """The estimated cost of the models, as keys of a plan; empty where none is called."""
        researcher = study.config.researcher if study else self.researcher
        staff = _with_caps(study.config.staff, self.staff) if study else self.staff
        if researcher.partition(":")[0] == "command":
            from inner_loop.gateway.plan import told as told_of_agent

            return {"researcher": researcher, "price": told_of_agent(researcher.partition(":")[2], staff)}
        if not staff.models:
            return {}
        if researcher != "chat":
            return limits(staff)
        named: PlannedWork = {"researcher": researcher, "models": ", ".join(staff.models), **limits(staff)}
        if staff.max_wall is not None:
            named["max_wall_s"] = staff.max_wall
        if os.environ.get("METALOOP_REPLAY"):
            return named | {"price": "replayed, no model is called"}
        from inner_loop.models.bill import estimate, told
        from inner_loop.models.prices import require_prices_of

        require_prices_of(staff)
        whole = estimate(task, staff, experiments)
        return named | {"tokens": whole.tokens, "usd": whole.usd, "price": told(whole, staff)}


def limits(staff: Staff) -> PlannedWork:
    """The limits of calls, as keys of a plan; times in seconds."""
    return {
        "reply_tokens": staff.reply_tokens, "call_timeout_s": staff.call_timeout, "patience_s": staff.patience,
        "calls_at_once": staff.calls_at_once,
    }  # fmt: skip


def _price(text: str) -> tuple[str, tuple[float, float] | tuple[float, float, float]]:
    name, equals, figures = text.rpartition("=")
    try:
        tokens_in, tokens_out, *cached = (float(figure) for figure in figures.split("/"))
        if not (equals and name and len(cached) < 2):
            raise ValueError
        if not all(0 <= figure < 1e6 for figure in (tokens_in, tokens_out, *cached)):
            raise ValueError
    except ValueError:
        hint = "--price openai/NAME=0.5/1.5: dollars per million input and output tokens; a third figure: cached input"
        raise UsageError(f"--price {text}: not a price", hint=hint) from None
    return name, (tokens_in, tokens_out, cached[0]) if cached else (tokens_in, tokens_out)


def _tapes(record: str | None, replay: str | None) -> None:
    """Passed to the workers through the environment: a recording belongs to a command, not to its study."""
    if record and replay:
        raise UsageError("--record and --replay exclude each other", hint="leave one of them out")
    if replay and not Path(replay).is_dir():
        raise NotFound(f"{replay}: not a folder with a recording", hint="name the folder that --record wrote")
    for name, folder in (("METALOOP_RECORD", record), ("METALOOP_REPLAY", replay)):
        if folder:
            os.environ[name] = str(Path(folder).expanduser().resolve())


def _raise_caps(study: Study, given: Staff) -> None:
    """Store the limits and prices given now in the settings of a resumed study."""
    staff = _with_caps(study.config.staff, given)
    if staff != study.config.staff:
        study.config = study.config.model_copy(update={"staff": staff})
        study.config.dump(study.folder / "study.toml")


def _with_caps(staff: Staff, given: Staff) -> Staff:
    """``staff`` with the requested spending limits, prices and call limits."""
    changes = {name: getattr(given, name) for name in CAPS if getattr(given, name)}
    changes |= {name: getattr(given, name) for name in LIMITS if name in given.model_fields_set}
    return staff.model_copy(update=changes)


def _same_replies(study: Study, given: Staff) -> None:
    """Raise NotComparable for another --reply-tokens: it is part of each request, by which recorded calls match."""
    made = study.config.staff.reply_tokens
    if "reply_tokens" in given.model_fields_set and given.reply_tokens != made:
        raise resolve.settings_differ(f"the study was created with --reply-tokens {made}", "--reply-tokens")


def _free(staff: Staff) -> bool:
    """Whether all models are served by this machine, judging by the environment."""
    base = os.environ.get("OPENAI_BASE_URL") or os.environ.get("OPENAI_API_BASE") or ""
    local = urlsplit(base).hostname in LOCAL
    return all((model.startswith("openai/") and local) or model.startswith("ollama") for model in staff.models)


def _consent() -> None:
    if not sys.stdin.isatty() or not sys.stderr.isatty():
        raise UsageError(
            "model calls may cost money, and there is no terminal to confirm them", hint="--yes, with --max-usd 5"
        )
    click.confirm("this calls models, which may cost money; continue?", abort=True, err=True)

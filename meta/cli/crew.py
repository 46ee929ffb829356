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
    from inner_loop.kit import Staff
    from trainer.task import Task

NO_AGENT = AgentFlags()
LOCAL = ("127.0.0.1", "localhost", "::1")
CAPS = ("max_usd", "max_tokens", "max_wall", "prices")
Traces = Literal["auto", "tools", "prompt", "none"]
LIMITS = ("reply_tokens", "call_timeout", "patience", "calls_at_once")  # of calls


def _nobody() -> Staff:
    from inner_loop.kit import Staff

    return Staff()


@dataclass(frozen=True)
class Crew:
    """The staff flags of a command. ``asked``: the researcher as named or implied; None: as the study has it."""

    asked: str | None = None
    staff: Staff = field(default_factory=_nobody)
    yes: bool = False

    @property
    def researcher(self) -> str:
        return self.asked or "scripted"

    @classmethod
    def of(cls, models: ModelFlags, agent: AgentFlags = NO_AGENT, *, traces: Traces | None = None, yes: bool) -> Crew:
        """As the flags of a command say. Naming a model asks for the chat researcher."""
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
        """Before anything is founded: raise where a model cannot be asked; on a study that goes on, raise its caps.

        Where a call may cost money, it is asked for; without a terminal --yes has to say so.
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
                raise UsageError("--replay needs the models of the recording", hint="-m NAME, as it was recorded")
            return
        from inner_loop.models.prices import require_ready

        require_ready(staff)
        if not self.yes and not _free(staff):
            _consent()

    def bill(self, task: Task, experiments: int, study: Study | None) -> PlannedWork:
        """What the models may take, in the words of a plan; nothing where none is called."""
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
    """The limits of calls, in the words of a plan; times in seconds."""
    return {
        "reply_tokens": staff.reply_tokens, "call_timeout_s": staff.call_timeout, "patience_s": staff.patience,
        "calls_at_once": staff.calls_at_once,
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
        raise NotFound(f"{replay}: no recording there", hint="name the folder that --record wrote")
    for name, folder in (("METALOOP_RECORD", record), ("METALOOP_REPLAY", replay)):
        if folder:
            os.environ[name] = str(Path(folder).expanduser().resolve())


def _raise_caps(study: Study, asked: Staff) -> None:
    """A study goes on under the caps and prices that are given now, where any are."""
    staff = _with_caps(study.config.staff, asked)
    if staff != study.config.staff:
        study.config = study.config.model_copy(update={"staff": staff})
        study.config.dump(study.folder / "study.toml")


def _with_caps(staff: Staff, asked: Staff) -> Staff:
    """``staff`` with the caps, prices and limits that were asked for; how long a reply may be stays as it is."""
    given = {name: getattr(asked, name) for name in CAPS if getattr(asked, name)}
    given |= {name: getattr(asked, name) for name in LIMITS if name in asked.model_fields_set}
    return staff.model_copy(update=given)


def _same_replies(study: Study, asked: Staff) -> None:
    """The length of replies is part of each request, by which recorded calls are known."""
    made = study.config.staff.reply_tokens
    if "reply_tokens" in asked.model_fields_set and asked.reply_tokens != made:
        raise resolve.made_otherwise(f"the study was made with --reply-tokens {made}", "--reply-tokens")


def _free(staff: Staff) -> bool:
    """Whether all models are served by this machine, as far as the environment tells."""
    base = os.environ.get("OPENAI_BASE_URL") or os.environ.get("OPENAI_API_BASE") or ""
    local = urlsplit(base).hostname in LOCAL
    return all((model.startswith("openai/") and local) or model.startswith("ollama") for model in staff.models)


def _consent() -> None:
    if not sys.stdin.isatty() or not sys.stderr.isatty():
        raise UsageError("models may cost money, and nobody is there to be asked", hint="--yes, with --max-usd 5")
    click.confirm("models are called, which may cost money; go on?", abort=True, err=True)

"""The context of a run that uses models or an agent: their configuration, its folders and its earlier events."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from inner_loop.events import CallEvent, Emit, Event

RECORD, REPLAY = "METALOOP_RECORD", "METALOOP_REPLAY"  # variables with folders of a command, not of its study
REPLY_SHARE = 5  # a reply gets at most this part of a small context
#: Fields of `ModelConfig` that may differ when a study is resumed: spending limits, prices, and limits of calls.
LIMITS = ("max_usd", "max_tokens", "max_wall", "prices", "call_timeout", "patience", "calls_at_once")


class ModelConfig(BaseModel, frozen=True, extra="forbid"):
    """[llm] of study.toml: the models or agent of a study, and the caps beside the device budget. Contains no
    secrets. ``models`` are LiteLLM names in order of preference; usd and tokens are caps of the whole study. Fields
    with a description can be set by ``--set``."""

    models: tuple[str, ...] = ()
    max_usd: float | None = Field(default=None, gt=0)
    max_tokens: int | None = Field(default=None, gt=0, description="token limit of the study, input and output")
    run_usd: float | None = Field(default=None, gt=0, description="dollars that one run may spend")
    run_tokens: int | None = Field(default=None, gt=0, description="tokens that one run may spend")
    max_wall: float | None = Field(default=None, gt=0, description="wall time of one run with a model or an agent: 20m")
    prices: dict[str, tuple[float, float] | tuple[float, float, float]] = Field(
        default_factory=dict,
        description="NAME=IN/OUT[/CACHED]: dollars per million tokens of a model for which LiteLLM has no price",
    )
    context_tokens: int | None = Field(
        default=None,
        ge=512,
        description="tokens of a prompt and its reply, of the smallest model; else by LiteLLM's table",
    )
    reply_tokens: int = Field(default=8192, ge=1, description="longest reply; at most a fifth of a small context")
    call_timeout: float = Field(default=300.0, gt=0, description="time of one attempt of a call: 5m")
    patience: float = Field(default=900.0, ge=0, description="time that a call is tried while no model answers: 15m")
    backoff: float = Field(default=1.0, ge=0)  # seconds, about: the first wait after a fault
    calls_at_once: int = Field(default=8, ge=1, description="calls of one provider at a time, over all workers")
    agent: str = Field(
        default="", description="command line of an agent; it gets the prompt on stdin, or in place of {prompt}"
    )
    agent_network: Literal["", "none", "full"] = Field(
        default="", description="what an agent reaches besides its models: none or full"
    )
    agent_direct: bool = Field(
        default=False, description="true: the agent has your key or login; no cost is recorded, no limit holds"
    )
    agent_readable: tuple[str, ...] = Field(default=(), description="PATH,…: more paths that the agent may read")
    agent_env: tuple[str, ...] = Field(default=(), description="NAME,…: your variables that the agent gets")
    agent_home: tuple[str, ...] = Field(default=(), description="NAME=FILE,…: your files, copied into the agent's home")

    @property
    def reply_limit(self) -> int:
        """The longest reply of a researcher: at most a fifth of a small context."""
        return min(self.reply_tokens, self.context_tokens // REPLY_SHARE) if self.context_tokens else self.reply_tokens

    def with_limits(self, other: ModelConfig) -> ModelConfig:
        """This configuration with those of LIMITS that were set in ``other``."""
        limits = {name: getattr(other, name) for name in LIMITS if name in other.model_fields_set}
        return self.model_copy(update=limits)

    def caps(self) -> str:
        """The study's caps as text; empty if there are none."""
        return _in_words(self.max_usd, self.max_tokens)

    def run_caps(self) -> str:
        """One run's caps as text; empty if there are none."""
        return _in_words(self.run_usd, self.run_tokens)


def _in_words(usd: float | None, tokens: int | None) -> str:
    caps = [f"${usd:g}"] if usd is not None else []
    return " and ".join([*caps, f"{tokens} tokens"] if tokens is not None else caps)


def tapes(study: Path | None = None) -> tuple[Path | None, Path | None]:
    """Where the calls of models are recorded with their prompts, and where their answers come from: METALOOP_RECORD,
    else the folder ``prompts`` of the study, and METALOOP_REPLAY, with which nothing is recorded by itself."""
    record, replay = (Path(path) if (path := os.environ.get(name)) else None for name in (RECORD, REPLAY))
    own_prompts = study / "prompts" if study and replay is None else None
    return record or own_prompts, replay


def is_replayed() -> bool:
    """Whether METALOOP_REPLAY gives the answers of models, so that none is called."""
    return bool(os.environ.get(REPLAY))


@dataclass(frozen=True)
class RunContext:
    """What one run has besides program, task and seed. ``study`` and ``folder`` (the run's) are None if nothing is
    stored.

    ``recorded``: this run's events of an earlier attempt, calls of models included. ``emit`` records an event.
    ``sandboxed``: whether an agent runs in a sandbox, else as the user's own process.
    """

    config: ModelConfig = field(default_factory=ModelConfig)
    run_id: str = ""
    study: Path | None = None
    folder: Path | None = None
    recorded: Sequence[Event] = ()
    emit: Emit = field(default=lambda _: None)
    should_stop: Callable[[], bool] = field(default=lambda: False)
    record: Path | None = None  # exchanges with models are written there, see `tapes`
    sandboxed: bool = True
    replay: Path | None = None  # METALOOP_REPLAY=DIR: answers come from there, and no socket is opened
    seat: tuple[int, int] = (0, 1)  # of a night's programs: which one, and how many take turns
    client: object = None  # what the programs that take turns share, see `TurnResearcher`

    def calls(self) -> list[CallEvent]:
        """The calls of an earlier attempt of this run."""
        return [e for e in self.recorded if isinstance(e, CallEvent) and (e.run_id or "") == self.run_id]

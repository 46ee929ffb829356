"""The context of a run that uses models or an agent: their configuration, its folders and its earlier events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from inner_loop.events import CallEvent, Emit, Event

REPLY_SHARE = 5  # a reply gets at most this part of a small context


class ModelConfig(BaseModel):
    """[staff] of study.toml: the models or agent of a study, and the caps beside the device budget. Contains no
    secrets.

    ``models`` are LiteLLM names in order of preference. usd and tokens are caps of the whole study; ``run_usd``,
    ``run_tokens`` and ``max_wall`` (seconds) are caps of one run, which then ends with its current head. ``prices`` are
    US dollars per million tokens (in, out and, if it differs, cached in) of models without a price in LiteLLM.
    ``agent`` is the command of a coding agent. An empty ``agent_network`` means "none" if the gateway serves the
    agent's models, else "proxy". ``agent_direct``: the agent has the user's key or login itself.

    ``context_tokens``: tokens of a prompt and its reply together, of the model with the smallest context; None if
    it is unknown. A reply has at most ``reply_tokens``. One attempt of a call takes at most ``call_timeout``
    seconds, all attempts with their waits at most ``patience``; the first wait after a fault is about ``backoff``.
    At most ``calls_at_once`` calls of one provider run in parallel, over all workers of the study. ``traces``: how
    models that write programs see the raw traces; evolve resolves `auto` when it creates a study. ``reflect``: whether
    a model notes what limited the parents' runs before each generation is written.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: tuple[str, ...] = ()
    max_usd: float | None = Field(default=None, gt=0)
    max_tokens: int | None = Field(default=None, gt=0)
    run_usd: float | None = Field(default=None, gt=0)
    run_tokens: int | None = Field(default=None, gt=0)
    max_wall: float | None = Field(default=None, gt=0)
    prices: dict[str, tuple[float, float] | tuple[float, float, float]] = Field(default_factory=dict)
    context_tokens: int | None = Field(default=None, ge=512)
    reply_tokens: int = Field(default=8192, ge=1)
    call_timeout: float = Field(default=300.0, gt=0)
    patience: float = Field(default=900.0, ge=0)
    backoff: float = Field(default=1.0, ge=0)
    calls_at_once: int = Field(default=8, ge=1)
    traces: Literal["auto", "tools", "prompt", "none"] = "auto"
    reflect: bool = False
    agent: str = ""
    agent_network: str = ""
    agent_direct: bool = False
    agent_allow: tuple[str, ...] = ()
    agent_readable: tuple[str, ...] = ()
    agent_env: tuple[str, ...] = ()
    agent_home: tuple[str, ...] = ()

    @property
    def reply_limit(self) -> int:
        """The longest reply of a researcher: at most a fifth of a small context."""
        return min(self.reply_tokens, self.context_tokens // REPLY_SHARE) if self.context_tokens else self.reply_tokens

    def caps(self) -> str:
        """The study's caps as text; empty if there are none."""
        caps_set = [f"${self.max_usd:g}"] if self.max_usd is not None else []
        caps_set += [f"{self.max_tokens} tokens"] if self.max_tokens is not None else []
        return " and ".join(caps_set)

    def run_caps(self) -> str:
        """One run's caps as text; empty if there are none."""
        caps_set = [f"${self.run_usd:g}"] if self.run_usd is not None else []
        caps_set += [f"{self.run_tokens} tokens"] if self.run_tokens is not None else []
        return " and ".join(caps_set)


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
    record: Path | None = None  # --record DIR: exchanges with models are written there
    sandboxed: bool = True
    replay: Path | None = None  # --replay DIR: answers come from there, and no socket is opened
    seat: tuple[int, int] = (0, 1)  # of a night's programs: which one, and how many take turns
    client: object = None  # the ModelClient of the programs that take turns

    def calls(self) -> list[CallEvent]:
        """The calls of an earlier attempt of this run."""
        return [e for e in self.recorded if isinstance(e, CallEvent) and (e.run_id or "") == self.run_id]

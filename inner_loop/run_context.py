"""What a researcher that is more than its program is given: how the study is staffed, where it works, what is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from inner_loop.events import CallEvent, Emit, Event


class ModelConfig(BaseModel):
    """[staff] of study.toml: who researches, and the caps beside the device budget. Nothing here is a secret.

    ``models`` are LiteLLM names, in the order in which they are fallen back on; usd and tokens are caps of the whole
    study, ``run_usd``, ``run_tokens`` and ``max_wall`` (in seconds) of one run, which ends there with what it has.
    ``prices`` are US dollars per million tokens, in, out and (where it
    differs) in from the cache, of models that LiteLLM has none for. ``agent`` is the command of a coding agent; an
    empty ``agent_network`` is "none" for one that the gateway of model APIs serves, else "proxy"; ``agent_direct``: it
    has the user's key or login itself.

    A reply has ``reply_tokens`` at most. One attempt of a call takes ``call_timeout`` seconds at most, all of them with
    the waits between them ``patience``; the first wait after a fault is about ``backoff``. Of one provider's calls
    ``calls_at_once`` run at a time, over all workers of the study. ``traces``: how models that write programs see the
    raw traces; evolve settles `auto` when a study is founded.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: tuple[str, ...] = ()
    max_usd: float | None = Field(default=None, gt=0)
    max_tokens: int | None = Field(default=None, gt=0)
    run_usd: float | None = Field(default=None, gt=0)
    run_tokens: int | None = Field(default=None, gt=0)
    max_wall: float | None = Field(default=None, gt=0)
    prices: dict[str, tuple[float, float] | tuple[float, float, float]] = Field(default_factory=dict)
    reply_tokens: int = Field(default=8192, ge=1)
    call_timeout: float = Field(default=300.0, gt=0)
    patience: float = Field(default=900.0, ge=0)
    backoff: float = Field(default=1.0, ge=0)
    calls_at_once: int = Field(default=8, ge=1)
    traces: Literal["auto", "tools", "prompt", "none"] = "auto"
    agent: str = ""
    agent_network: str = ""
    agent_direct: bool = False
    agent_allow: tuple[str, ...] = ()
    agent_readable: tuple[str, ...] = ()
    agent_env: tuple[str, ...] = ()
    agent_home: tuple[str, ...] = ()

    def caps(self) -> str:
        """The caps of the study in words; empty where there is none."""
        caps_set = [f"${self.max_usd:g}"] if self.max_usd is not None else []
        caps_set += [f"{self.max_tokens} tokens"] if self.max_tokens is not None else []
        return " and ".join(caps_set)

    def run_caps(self) -> str:
        """The caps of one run in words; empty where there is none."""
        caps_set = [f"${self.run_usd:g}"] if self.run_usd is not None else []
        caps_set += [f"{self.run_tokens} tokens"] if self.run_tokens is not None else []
        return " and ".join(caps_set)


@dataclass(frozen=True)
class RunContext:
    """Beside (program, task, seed), for one run. ``study`` and ``folder`` (the run's) are None where nothing is kept.

    ``recorded`` holds this run's events of an earlier attempt, calls of models among them; ``emit`` writes one down.
    """

    config: ModelConfig = field(default_factory=ModelConfig)
    run_id: str = ""
    study: Path | None = None
    folder: Path | None = None
    recorded: Sequence[Event] = ()
    emit: Emit = field(default=lambda _: None)
    should_stop: Callable[[], bool] = field(default=lambda: False)
    record: Path | None = None  # --record DIR: exchanges with models are written there
    replay: Path | None = None  # --replay DIR: they are answered from there, and no socket is opened

    def calls(self) -> list[CallEvent]:
        """The calls of an earlier attempt at this run."""
        return [e for e in self.recorded if isinstance(e, CallEvent) and (e.run_id or "") == self.run_id]

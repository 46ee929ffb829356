"""What a study's model calls have cost, its caps in dollars and tokens, and the calls in flight, of all its processes.

A call is noted with an estimate of its cost before it starts, and the reported cost replaces the estimate. No call
starts while the spending and the estimates of the calls in flight come to a cap. A call whose process was killed is
charged its estimate the next time that any process opens the file.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from inner_loop.run_context import ModelConfig, RunContext
from programs.common.errors import CapReached, Corrupt, ShareSpent
from programs.common.files import write_whole

LOOK_SECONDS = 0.02
FORGOTTEN_SECONDS = 3600.0  # after which a call of a process that cannot be seen here counts as killed
_numbers = itertools.count()


@dataclass(frozen=True)
class Cost:
    """Tokens, and US dollars; 0 dollars if no price is known."""

    tokens: Annotated[int, Field(ge=0)] = 0
    usd: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.tokens + other.tokens, self.usd + other.usd)


class OpenCall(BaseModel):
    """A call in flight: whose it is, since when (Unix time), and its estimated cost."""

    run_id: str
    provider: str
    since: float
    estimate: Cost


class Spending(BaseModel, extra="forbid"):  # not a file of another version, with its spending elsewhere
    """The content of purse.json: the cost of all ended calls, and the calls in flight by process and number."""

    spent: Cost = Cost()
    open: dict[str, OpenCall] = Field(default_factory=dict)


class SpendLimiter:
    """``purse.json`` in a folder, under its lock; without a folder the state is in this object. ``run_spent``: the cost
    of the run's calls of an earlier attempt."""

    def __init__(
        self, folder: Path | None, config: ModelConfig | None = None, run_id: str = "", run_spent: Cost = Cost()
    ) -> None:
        self._folder, self._config, self._run_id = folder, config or ModelConfig(), run_id
        self._run_spent = run_spent
        self._here = Spending()  # without a folder
        self._lock = threading.Lock()

    @classmethod
    def of(cls, context: RunContext) -> SpendLimiter:
        calls = context.calls()
        tokens = sum(call.tokens + call.lost_tokens for call in calls)
        usd = sum((call.usd or 0.0) + (call.lost_usd or 0.0) for call in calls)
        return cls(context.study, context.config, context.run_id, Cost(tokens, usd))

    def start(self, estimate: Cost, provider: str, pause: Callable[[float], None]) -> str:
        """Note a call in flight, once there is room for it; returns its key for `settle`. ``pause`` waits some seconds,
        and may raise to give up. Raises CapReached at the study's cap, ShareSpent at the run's."""
        key = f"{_process(os.getpid())} {next(_numbers)}"
        call = OpenCall(run_id=self._run_id, provider=provider, since=time.time(), estimate=estimate)
        while not self._admit(key, call):
            pause(LOOK_SECONDS)
        return key

    def settle(self, key: str, cost: Cost) -> None:
        """Replace the estimate of a call by its cost."""
        with self._opened() as state:
            if state.open.pop(key, None):
                state.spent += cost
                self._run_spent += cost

    def spent(self) -> Cost:
        """The cost of ended calls."""
        with self._opened() as state:
            return state.spent

    def _admit(self, key: str, call: OpenCall) -> bool:
        """False if the call has to wait for others: their estimates come to a cap, or they are too many."""
        config = self._config
        with self._opened() as state:
            if cap := _reached(state.spent, config.max_usd, config.max_tokens):
                raise CapReached(
                    f"{cap} is reached: {state.spent.tokens} tokens, ${state.spent.usd:.4f} are spent",
                    hint=f"the same command with a larger {cap.split()[0]} continues",
                )
            run_usd, run_tokens = (config.run_usd, config.run_tokens) if self._run_id else (None, None)
            if _reached(self._run_spent, run_usd, run_tokens):
                raise ShareSpent(f"one run may spend {config.run_caps()}, which this one has spent")
            others = state.open.values()
            whole = sum((other.estimate for other in others), state.spent)
            run = sum((other.estimate for other in others if other.run_id == self._run_id), self._run_spent)
            at_once = sum(other.provider == call.provider for other in others)
            if _reached(whole, config.max_usd, config.max_tokens) or _reached(run, run_usd, run_tokens):
                return False
            if at_once >= config.calls_at_once:
                return False
            state.open[key] = call
            return True

    @contextmanager
    def _opened(self) -> Iterator[Spending]:
        """The state, read and written back under an exclusive lock; calls of killed processes are charged."""
        if self._folder is None:
            with self._lock:
                yield self._here
            return
        path = self._folder / "purse.json"
        with open(self._folder / "purse.lock", "a", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before = path.read_bytes() if path.exists() else b"{}"
            try:
                state = Spending.model_validate_json(before)
            except ValidationError:
                hint = "restore it from a copy; without it the spending so far is lost"
                raise Corrupt(f"{path}: cannot be read", hint=hint) from None
            for key in [key for key, call in state.open.items() if not _alive(key, call.since)]:
                state.spent += state.open.pop(key).estimate
            yield state
            after = state.model_dump_json().encode()
            if after != before:
                write_whole(path, after)  # not synced: a file torn by a power cut is reported, and `calls` has the sums


def _reached(cost: Cost, max_usd: float | None, max_tokens: int | None) -> str:
    """The cap that a cost comes to, as an option; empty if there is room."""
    if max_usd is not None and cost.usd >= max_usd:
        return f"--max-usd {max_usd:g}"
    return f"--set max_tokens={max_tokens}" if max_tokens is not None and cost.tokens >= max_tokens else ""


@cache
def _process(pid: int) -> str:
    return f"{socket.gethostname()} {pid} {_started(pid)}"


def _started(pid: int) -> str:
    """When a process started, in clock ticks (proc(5), field 22), because numbers are reused; empty if it is dead."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def _alive(key: str, since: float) -> bool:
    host, pid, started, _ = key.split(" ")
    if host != socket.gethostname() or not started:  # or no /proc here
        return time.time() - since < FORGOTTEN_SECONDS
    return started == _started(int(pid))

"""What a study's model calls spent, and its caps in dollars and tokens, shared by its worker processes.

The worst case of an attempt is reserved before it starts and replaced by the actual cost after it. So spending never
exceeds a cap, however many calls are in flight. A call has an account from its first attempt until its event is in the
ledger: if its process is killed, its reservation stays until the run continues and writes the event.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from pydantic import JsonValue

from inner_loop.events import CallEvent
from programs.errors import CapReached, Corrupt

if TYPE_CHECKING:
    from inner_loop.run_context import RunContext

ROUNDING = 1e-6  # dollars; sums and differences of them


@dataclass(frozen=True)
class Cost:
    """Tokens, and US dollars; 0 dollars if no price is known."""

    tokens: int = 0
    usd: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.tokens + other.tokens, self.usd + other.usd)

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.tokens - other.tokens, self.usd - other.usd)


class OpenAccount(TypedDict):
    """A call that is not yet in the ledger: its process, the tokens and dollars reserved, its event so far."""

    by: str
    reserved: tuple[int, float]
    about: dict[str, JsonValue]


class SpendState(TypedDict):
    """The content of purse.json: the cost of ended attempts, accounts by name, and the names of recorded orphans."""

    tokens: int
    usd: float
    open: dict[str, OpenAccount]
    buried: list[str]


@dataclass(frozen=True)
class Orphan:
    """A call whose process was killed before it was recorded: its state so far, and its reservation."""

    account: str
    about: CallEvent
    reserved: Cost


class ShareSpent(CapReached):
    """One run has spent its share of the caps: it ends with its current head and is not resumed."""


class Share:
    """What one run may spend of a study's caps; kept in this process, because a run is in one process at a time.
    ``spent``: by its calls of an earlier attempt."""

    def __init__(self, max_usd: float | None, max_tokens: int | None, spent: Cost = Cost()) -> None:
        self._max_usd, self._max_tokens = max_usd, max_tokens
        self._spent = spent
        self._held: dict[str, Cost] = {}
        self._lock = threading.Lock()

    @classmethod
    def of(cls, context: RunContext) -> Share:
        if not context.run_id:  # the study's own calls belong to no run
            return cls(None, None)
        calls = context.calls()
        tokens = sum(call.tokens + call.lost_tokens for call in calls)
        usd = sum((call.usd or 0.0) + (call.lost_usd or 0.0) for call in calls)
        return cls(context.config.run_usd, context.config.run_tokens, Cost(tokens, usd))

    @property
    def capped(self) -> bool:
        return self._max_usd is not None or self._max_tokens is not None

    def reserve(self, account: str, worst: Cost) -> None:
        """Raises ShareSpent."""
        with self._lock:
            used = sum(self._held.values(), self._spent) + worst
            over = [f"${self._max_usd:g}"] if self._max_usd is not None and used.usd > self._max_usd else []
            if self._max_tokens is not None and used.tokens > self._max_tokens:
                over.append(f"{self._max_tokens} tokens")
            if over:
                raise ShareSpent(f"one run may spend {over[0]}, and the next call may exceed the rest of it")
            self._held[account] = worst

    def room(self) -> tuple[float, float]:
        """Tokens and dollars that can still be reserved."""
        with self._lock:
            return _room(self._max_tokens, self._max_usd, sum(self._held.values(), self._spent))

    def settle(self, account: str, cost: Cost) -> None:
        with self._lock:
            if self._held.pop(account, None) is not None or cost != Cost():
                self._spent += cost


class SpendLimiter:
    """``purse.json`` in a folder, under its lock; without a folder the state is in this object."""

    def __init__(
        self,
        folder: Path | None,
        *,
        max_usd: float | None = None,
        max_tokens: int | None = None,
        share: Share | None = None,
    ) -> None:
        self._max_usd, self._max_tokens = max_usd, max_tokens
        self._share = share or Share(None, None)
        self._folder = folder
        self._here = _empty()  # without a folder
        self._lock = threading.Lock()

    @property
    def capped(self) -> bool:
        return self._max_usd is not None or self._max_tokens is not None or self._share.capped

    def reserve(self, account: str, worst: Cost, about: CallEvent) -> None:
        """Reserve what an attempt may cost. ``about``: the call so far.

        Raises CapReached at the study's cap, ShareSpent at the run's.
        """
        self._share.reserve(account, worst)
        try:
            with self._open() as state:
                self._check(_used(state), worst)
                state["open"][account] = {
                    "by": _name(os.getpid()),
                    "reserved": (worst.tokens, worst.usd),
                    "about": about.to_record(),
                }
        except CapReached:
            self._share.settle(account, Cost())
            raise

    def room(self) -> tuple[float, float]:
        """Tokens and dollars that can still be reserved under all caps; infinite without one."""
        with self._open() as state:
            tokens, usd = _room(self._max_tokens, self._max_usd, _used(state))
        own_tokens, own_usd = self._share.room()
        return min(tokens, own_tokens), min(usd, own_usd)

    def others_hold(self, account: str) -> bool:
        """Whether attempts of other calls have reservations, parts of which will be free again."""
        with self._open() as state:
            accounts = state["open"].items()
            return any(name != account and any(e["reserved"]) and _alive(e["by"]) for name, e in accounts)

    def settle(self, account: str, cost: Cost, about: CallEvent) -> None:
        """Replace an attempt's reservation by its cost; the call continues."""
        self._share.settle(account, cost)
        with self._open() as state:
            _add(state, cost)
            state["open"][account] |= {"reserved": (0, 0.0), "about": about.to_record()}

    def finish(self, account: str, cost: Cost = Cost()) -> None:
        """As ``settle``, for a call whose event is recorded."""
        self._share.settle(account, cost)
        with self._open() as state:
            if state["open"].pop(account, None) is not None:
                _add(state, cost)

    def orphans(self, run_id: str) -> list[Orphan]:
        """Calls of a run whose process has died. They must be recorded, then finished."""
        with self._open() as state:
            return [
                Orphan(name, CallEvent.parse(entry["about"]), Cost(*entry["reserved"]))
                for name, entry in state["open"].items()
                if entry["about"].get("run_id", "") == run_id and not _alive(entry["by"])
            ]

    def bury(self, orphan: Orphan) -> None:
        """Finish a recorded orphan: its reservation counts as spent. Its account stays marked as used, for other
        clients of the same run that read the ledger earlier."""
        self.finish(orphan.account, orphan.reserved)
        with self._open() as state:
            state["buried"] = sorted({*state["buried"], orphan.account})

    def buried(self) -> frozenset[str]:
        """The accounts of recorded orphans."""
        with self._open() as state:
            return frozenset(state["buried"])

    def spent(self) -> Cost:
        """The cost of ended attempts."""
        with self._open() as state:
            return Cost(state["tokens"], state["usd"])

    def _check(self, used: Cost, worst: Cost) -> None:
        if self._max_usd is not None and used.usd + worst.usd > self._max_usd:
            raise CapReached(
                f"--max-usd {self._max_usd:g} is reached: ${used.usd:.4f} are spent or reserved, "
                f"the next call may cost ${worst.usd:.4f}",
                hint="the same command with a larger --max-usd continues",
            )
        if self._max_tokens is not None and used.tokens + worst.tokens > self._max_tokens:
            raise CapReached(
                f"--max-tokens {self._max_tokens} is reached: {used.tokens} are spent or reserved, "
                f"the next call may take {worst.tokens}",
                hint="the same command with a larger --max-tokens continues",
            )

    @contextmanager
    def _open(self) -> Iterator[SpendState]:
        """The state, read and written back under an exclusive lock."""
        if self._folder is None:
            with self._lock:
                yield self._here
            return
        path = self._folder / "purse.json"
        with open(self._folder / "purse.lock", "a", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            state = _read(path)
            before = json.dumps(state)
            yield state
            after = json.dumps(state)
            if after == before:
                return
            partial = path.with_suffix(".partial")
            partial.write_text(after, encoding="utf-8")
            partial.replace(path)  # not synced: a file torn by a power cut is reported, and `calls` has the sums


def _empty() -> SpendState:
    return {"tokens": 0, "usd": 0.0, "open": {}, "buried": []}


def _room(max_tokens: int | None, max_usd: float | None, used: Cost) -> tuple[float, float]:
    tokens = math.inf if max_tokens is None else max_tokens - used.tokens
    return tokens, math.inf if max_usd is None else max_usd - used.usd


def _add(state: SpendState, cost: Cost) -> None:
    state["tokens"] += cost.tokens
    state["usd"] += cost.usd


def _used(state: SpendState) -> Cost:
    """Spent or reserved, including reservations of dead processes, whose actual cost is unknown."""
    return sum((Cost(*entry["reserved"]) for entry in state["open"].values()), Cost(state["tokens"], state["usd"]))


def _read(path: Path) -> SpendState:
    try:
        state: SpendState = json.loads(path.read_bytes())
        costs = [(state["tokens"], state["usd"]), *(entry["reserved"] for entry in state["open"].values())]
        frozenset(state["buried"])
        for entry in state["open"].values():
            entry["about"].get, str(entry["by"])
        if not all(0 <= tokens < math.inf and -ROUNDING < usd < math.inf for tokens, usd in costs):
            raise ValueError
    except FileNotFoundError:
        return _empty()
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Corrupt(
            f"{path}: cannot be read", hint="restore it from a copy; without it the spending so far is lost"
        ) from None
    return state


@cache
def _name(pid: int) -> str:
    return f"{pid} {_started(pid)}"


def _started(pid: int) -> str:
    """When a process started, in clock ticks (proc(5), field 22); process numbers are reused, in containers soon."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]  # a zombie counts as dead


def _alive(name: str) -> bool:
    pid, _, started = name.partition(" ")
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return started == _started(int(pid))

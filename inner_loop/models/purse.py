"""The purse: caps in dollars and tokens for a whole study, shared by its worker processes.

The worst case of an attempt is reserved before it starts and settled by what it took. So spending never passes a
cap, however many calls are in flight; what is reserved by a process that was killed counts as spent.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from programs.errors import CapReached, Corrupt


@dataclass(frozen=True)
class Cost:
    """Tokens, and US dollars where a price is known, else 0."""

    tokens: int = 0
    usd: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.tokens + other.tokens, self.usd + other.usd)


class Purse:
    """``purse.json`` in a folder, under its lock; without a folder, or without a cap, nothing is kept."""

    def __init__(self, folder: Path | None, *, max_usd: float | None = None, max_tokens: int | None = None) -> None:
        self._max_usd, self._max_tokens = max_usd, max_tokens
        self._folder = folder if max_usd is not None or max_tokens is not None else None
        self._here: dict[str, Any] = _empty()  # where no folder is kept
        self._lock = threading.Lock()

    def reserve(self, worst: Cost) -> str:
        """Set aside what an attempt may cost; returns what to settle it by. Raises CapReached where it may not be."""
        name = f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
        with self._open() as state:
            _bury(state)
            reserved = [Cost(*pair) for pair in state["reserved"].values()]
            used = sum(reserved, Cost(state["tokens"], state["usd"]))
            self._check(used, worst)
            state["reserved"][name] = [worst.tokens, worst.usd]
        return name

    def settle(self, name: str, cost: Cost) -> None:
        """Replace what was reserved by what the attempt took."""
        with self._open() as state:
            state["reserved"].pop(name, None)
            state["tokens"] += cost.tokens
            state["usd"] += cost.usd

    def spent(self) -> Cost:
        with self._open() as state:
            return Cost(state["tokens"], state["usd"])

    def _check(self, used: Cost, worst: Cost) -> None:
        if self._max_usd is not None and used.usd + worst.usd > self._max_usd:
            raise CapReached(
                f"--max-usd {self._max_usd:g} is reached: ${used.usd:.4f} are spent or reserved, "
                f"the next call may take ${worst.usd:.4f}",
                hint="the same command with a larger --max-usd goes on",
            )
        if self._max_tokens is not None and used.tokens + worst.tokens > self._max_tokens:
            raise CapReached(
                f"--max-tokens {self._max_tokens} is reached: {used.tokens} are spent or reserved, "
                f"the next call may take {worst.tokens}",
                hint="the same command with a larger --max-tokens goes on",
            )

    @contextmanager
    def _open(self) -> Iterator[dict[str, Any]]:
        """The state, read and written back under an exclusive lock."""
        if self._folder is None:
            with self._lock:
                yield self._here
            return
        path = self._folder / "purse.json"
        with open(self._folder / "purse.lock", "a", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            state = _read(path)
            yield state
            partial = path.with_suffix(".partial")
            partial.write_text(json.dumps(state), encoding="utf-8")
            partial.replace(path)  # not synced: a file that a power cut tore is told of, and `calls` holds the sums


def _empty() -> dict[str, Any]:
    return {"tokens": 0, "usd": 0.0, "reserved": {}}


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return _empty()
    try:
        state = json.loads(path.read_text("utf-8"))
        Cost(int(state["tokens"]), float(state["usd"]))
        state["reserved"].values()
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Corrupt(f"{path}: cannot be read", hint="restore it from a copy; removing it forgets the spend") from None
    return dict(state)


def _bury(state: dict[str, Any]) -> None:
    """What processes that are no more had reserved may have been spent, and counts so."""
    for name in list(state["reserved"]):
        if not _alive(int(name.partition("-")[0])):
            tokens, usd = state["reserved"].pop(name)
            state["tokens"] += tokens
            state["usd"] += usd


def _alive(pid: int) -> bool:
    if pid == os.getpid():
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

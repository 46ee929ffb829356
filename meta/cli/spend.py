"""The usage of models: tokens, dollars, and the shares of device time and of tokens that were used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

NOT_PRICED = "not priced"
_SIZES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


class ModelUsage:
    """Sums of `call` events, or of rows of the view `calls`, taken in any order."""

    def __init__(self) -> None:
        self.calls = self.tokens = self.lost_tokens = 0
        self.usd: float | None = 0.0  # None: a call has no price
        self._answered: dict[tuple[str, int], int] = {}
        self._mended: set[tuple[str, int]] = set()

    @classmethod
    def of(cls, parts: Iterable[ModelUsage]) -> ModelUsage:
        """The sum of several."""
        whole = cls()
        for part in parts:
            whole.calls += part.calls
            whole.tokens += part.tokens
            whole.lost_tokens += part.lost_tokens
            whole.usd = None if whole.usd is None or part.usd is None else whole.usd + part.usd
            whole._answered |= part._answered
            whole._mended |= part._mended
        return whole

    def take(self, call: Mapping[str, Any]) -> None:
        tokens, usd = call.get("tokens") or 0, call.get("usd")
        self.calls += 1
        self.tokens += tokens
        self.lost_tokens += call.get("lost_tokens") or 0
        self.usd = None if self.usd is None or usd is None else self.usd + usd
        run, number = call.get("run_id") or "", call.get("number") or 0
        if call.get("status", "ok") == "ok":
            self._answered[run, number] = tokens
        if (call.get("purpose") or "").startswith("repair"):
            self._mended.add((run, number - 1))

    @property
    def used(self) -> float | None:
        """Share of the tokens in calls whose reply was accepted without a repair; lost calls count at their maximum."""
        whole = self.tokens + self.lost_tokens
        taken = sum(tokens for call, tokens in self._answered.items() if call not in self._mended)
        return taken / whole if whole else None


def tokens(count: int | None) -> str:
    """``831``, ``12.3k``, ``1.2M``."""
    size, letter = next(((size, letter) for size, letter in _SIZES if (count or 0) >= size), (1.0, ""))
    shown = (count or 0) / size
    return f"{shown:.{1 if shown < 99.95 else 0}f}{letter}" if letter else str(count or 0)


def dollars(usd: float | None) -> str:
    """Dollars as text; ``not priced`` where a price is unknown. A small amount is not shown as $0."""
    if usd is None:
        return NOT_PRICED
    return "<$0.01" if 0 < usd < 0.005 else f"${usd:.2f}" if usd else "$0"


def share(part: float | None) -> str:
    """A share in percent; a small one is not shown as 0%."""
    return "-" if part is None else "<1%" if 0 < part < 0.005 else f"{min(part, 1.0):.0%}"


def sentence(count: int | None, usd: float | None, device: float | None) -> str:
    """The model usage of one run in a line."""
    busy = "" if device is None else f", device used {share(device)}"
    return f"{tokens(count)} tokens, {dollars(usd)}{busy}"

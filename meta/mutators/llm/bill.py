"""What mutation by models may cost at most, told before anything starts."""

from __future__ import annotations

from dataclasses import dataclass

from inner_loop.kit import Staff
from inner_loop.models import prices
from meta.mutators.llm.desk import PROMPT_BYTES

TRIES = 2  # replies asked for per child, each of which may be repaired once
USUAL = (9_000, 1_500)  # tokens of a call in and out, before any was made


@dataclass(frozen=True)
class Bill:
    """Upper bounds. ``usd`` is None where a model has no known price."""

    calls: int
    tokens: int
    usd: float | None

    def sentence(self) -> str:
        dollars = "no price is known" if self.usd is None else f"${self.usd:.2f}"
        return f"mutation asks at most {self.calls} times, {self.tokens / 1e6:.2g} million tokens, {dollars}"


def calls(children: int) -> int:
    """Of one generation."""
    return 2 * TRIES * children


def bill(generations: int, children: int, staff: Staff) -> Bill:
    """A token is a byte at least, so a prompt of so many bytes has no more tokens."""
    number = generations * calls(children)
    tokens = number * (PROMPT_BYTES + staff.reply_tokens)
    each = [prices.price_of(model, staff) for model in staff.models]
    usd: float | None = None
    if all(price is not None for price in each):
        usd = number * max(price.of(PROMPT_BYTES, staff.reply_tokens) for price in each if price is not None)
    if staff.max_usd is not None and usd is not None:
        usd = min(usd, staff.max_usd)
    return Bill(number, min(tokens, staff.max_tokens or tokens), usd)


def usual_usd(staff: Staff) -> dict[str, float]:
    """What a call of each model is expected to cost; 0 where no price is known."""
    found = {model: prices.price_of(model, staff) for model in staff.models}
    return {model: price.of(*USUAL) if price else 0.0 for model, price in found.items()}

"""What mutation by models may cost at most, told before anything starts."""

from __future__ import annotations

from inner_loop.kit import Staff
from inner_loop.models import prices
from inner_loop.models.bill import Bill, at_most
from meta.mutators.llm.desk import PROMPT_BYTES

TRIES = 2  # replies asked for per child, each of which may be repaired once
USUAL = (9_000, 1_500)  # tokens of a call in and out, before any was made


def calls(children: int) -> int:
    """Of one generation."""
    return 2 * TRIES * children


def bill(generations: int, children: int, staff: Staff) -> Bill:
    """A token is a byte at least, so a prompt of so many bytes has no more tokens."""
    return at_most(staff, generations * calls(children), PROMPT_BYTES)


def sentence(whole: Bill) -> str:
    return f"mutation asks at most {whole.calls} times, {whole.words()}"


def usual_usd(staff: Staff) -> dict[str, float]:
    """What a call of each model is expected to cost; 0 where no price is known."""
    found = {model: prices.price_of(model, staff) for model in staff.models}
    return {model: price.of(*USUAL) if price else 0.0 for model, price in found.items()}

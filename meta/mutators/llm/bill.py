"""The highest cost of programs written by models, computed before anything starts."""

from __future__ import annotations

from inner_loop.models import prices
from inner_loop.models.bill import Bill, at_most
from inner_loop.run_context import ModelConfig
from meta.mutators.bandit import SECONDS_PER_USD
from meta.mutators.llm.generation_calls import PROMPT_BYTES
from meta.mutators.llm.reflection import TRACE_BYTES
from meta.mutators.llm.toolbox import READ_BYTES
from meta.mutators.llm.trace_access import TraceAccess, trace_access_of

SELDOM = 3.0  # times the cost of racing a child: a dearer call is hardly ever worth it
TRIES = 2  # replies per child, each of which may be repaired once
TOOLS = 4_000  # bytes of the tools' descriptions and of their error messages
USUAL = (9_000, 1_500)  # tokens of a call in and out, before any was made


def replies(children: int) -> int:
    """Of one generation, repairs included."""
    return 2 * TRIES * children


def calls(children: int, access: TraceAccess, reflect: bool = False) -> int:
    """Of one generation; before a reply that is not a repair there may be rounds of tools."""
    return replies(children) + access.turns * TRIES * children + reflect * (1 + access.turns)


def prompt_tokens(config: ModelConfig, access: TraceAccess) -> int:
    """Upper bound per call: a token has at least one byte."""
    talk = READ_BYTES + TOOLS + access.turns * config.reply_tokens if access.turns else 0
    return PROMPT_BYTES + max(access.bytes, TRACE_BYTES if config.reflect else 0) + talk


def bill(generations: int, children: int, config: ModelConfig) -> Bill:
    """The total if everything takes its worst case."""
    return bill_of(config, generations * calls(children, trace_access_of(config), config.reflect))


def bill_of(config: ModelConfig, count: int) -> Bill:
    """The total of so many calls if each takes its worst case."""
    return at_most(config, count, prompt_tokens(config, trace_access_of(config)))


def sentence(whole: Bill, config: ModelConfig, race_seconds: float) -> str:
    """``race_seconds``: device time of racing one child, which the choice of an operator compares with the cost of a
    call."""
    line = f"new programs take at most {whole.calls} calls, {whole.words()}"
    call = SECONDS_PER_USD * min(usual_usd(config).values())
    if call <= SELDOM * race_seconds:
        return line
    return (
        f"{line}; models rarely write more than one program a generation: a call costs as much as {call:.2g} s of "
        f"device time and racing a new program takes {race_seconds:.2g} s; --run-budget makes runs longer"
    )


def usual_usd(config: ModelConfig) -> dict[str, float]:
    """The expected cost of a call of each model; 0 if no price is known."""
    prices_of = {model: prices.price_of(model, config) for model in config.models}
    return {model: price.of(*USUAL) if price else 0.0 for model, price in prices_of.items()}

"""The expected and the highest cost of a study's model calls, before any is made; for both loops."""

from __future__ import annotations

import math
from dataclasses import dataclass

from inner_loop.models.prices import price_of
from inner_loop.run_context import ModelConfig
from trainer.task import Task

CHARACTERS = 4  # per token, in English and in code
FRAME, PROGRAM, HISTORY, LOG, SAID = 900, 800, 500, 700, 500  # tokens of the parts of a call, and of its reply
KNOB = 60  # tokens per known edit
LEAST_CACHED = 1024  # tokens; providers cache no shorter beginnings (platform.openai.com/docs/guides/prompt-caching)


@dataclass(frozen=True)
class Bill:
    """The total of all calls; ``usd`` is None if a model has no price."""

    calls: int
    tokens: int
    usd: float | None

    def words(self, about: str = "") -> str:
        """Tokens and dollars. An unknown price is shown as such, never as $0.00."""
        money = "not priced" if self.usd is None else f"{about}${self.usd:.2f}"
        return f"{about}{self.tokens / 1e6:.2g}M tokens, {money}"


def expected(config: ModelConfig, calls: int, tokens_in: int, tokens_out: int, *, head: int = 0) -> Bill:
    """Calls of ``tokens_in`` and ``tokens_out`` tokens, all answered by the first model. The first ``head`` tokens
    are the same in all calls, so after the first call they come from the provider's cache."""
    price = price_of(config.models[0], config)
    cached = head if head >= LEAST_CACHED else 0
    usd = None
    if price is not None:
        first = price.of(tokens_in, tokens_out, 0, cached) if calls else 0.0
        usd = first + max(calls - 1, 0) * price.of(tokens_in, tokens_out, cached)
    return Bill(calls, calls * (tokens_in + tokens_out), usd)


def at_most(config: ModelConfig, calls: int, tokens_in: int) -> Bill:
    """Calls of ``tokens_in`` tokens with the longest reply, at the dearest model, within the caps."""
    tokens = calls * (tokens_in + config.reply_tokens)
    each = [price_of(model, config) for model in config.models]
    usd: float | None = None
    if all(price is not None for price in each):
        usd = calls * max(price.of(tokens_in, config.reply_tokens, 0, tokens_in) for price in each if price is not None)
        usd = min(usd, config.max_usd or usd)
    return Bill(calls, min(tokens, config.max_tokens or tokens), usd)


def estimate(task: Task, config: ModelConfig, experiments: int) -> Bill:
    """One call per experiment, without repairs: right to a factor of about two."""
    source = sum(len(text) for _, text in task.baseline().files) // CHARACTERS
    head = FRAME + PROGRAM + KNOB * len(task.edits.knobs)
    return expected(config, experiments, head + HISTORY + LOG + source, SAID, head=head)


def bill_line(whole: Bill, config: ModelConfig) -> str:
    """One line for the plan, with the caps."""
    short = (whole.usd or 0) > (config.max_usd or math.inf) or whole.tokens > (config.max_tokens or math.inf)
    ends = ": it stops there, and continues with a larger cap" if short else ""
    return f"{whole.words('about ')}{f', at most {config.caps()}{ends}' if config.caps() else ''}"

"""What is known of models before any call: prices, sizes of contexts, and the expected and highest cost of a study."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

from inner_loop.models.provider import TokenUsage, litellm, marked
from inner_loop.models.spend_limiter import Cost
from inner_loop.run_context import REPLY_SHARE, ModelConfig, is_replayed
from programs.common.errors import CredentialMissing, UsageError
from trainer.task import Task

WRITING, WRITING_HOUR = 1.25, 2.0  # times the input price: Anthropic's of a token written to its cache, for an hour
CHARACTERS = 4  # per token, in English and in code
FRAME, PROGRAM, HISTORY, LOG, SAID = 900, 800, 500, 700, 500  # tokens of the parts of a call, and of its reply
KNOB = 60  # tokens per known edit
UNPRICED = "; its price: --set prices={}=IN/OUT, dollars per million tokens"
_SECRET = re.compile(r"KEY|TOKEN|SECRET|CREDENTIAL")


@dataclass(frozen=True)
class TokenPrice:
    """A model's price: dollars per million tokens in, out and (optional) cached that the user ``given``, else
    LiteLLM's."""

    model: str
    given: tuple[float, ...] = ()

    def cost(self, usage: TokenUsage) -> float:
        """Dollars."""
        if self.given:
            rate_in, rate_out, rate_cached = (*self.given, self.given[0])[:3]
            plain = (usage.tokens_in - usage.cached - usage.written) * rate_in + usage.tokens_out * rate_out
            writing = WRITING if marked(self.model) else 1.0
            written = (usage.written - usage.written_hour) * writing + usage.written_hour * WRITING_HOUR
            return (plain + usage.cached * rate_cached + written * rate_in) / 1e6
        details: dict[str, Any] = {"cached_tokens": usage.cached, "cache_creation_tokens": usage.written}
        if usage.written:
            hour = usage.written_hour
            parts = {"ephemeral_5m_input_tokens": usage.written - hour, "ephemeral_1h_input_tokens": hour}
            details["cache_creation_token_details"] = parts
        counts = litellm().Usage(usage.tokens_in, usage.tokens_out, usage.tokens, prompt_tokens_details=details)
        return float(sum(litellm().cost_per_token(model=self.model, usage_object=counts)))


def price_of(model: str, config: ModelConfig) -> TokenPrice | None:
    """The price given for a model, else LiteLLM's; None if neither is known. LiteLLM's price of 0 counts as unknown."""
    if model in config.prices:
        return TokenPrice(model, config.prices[model])
    price = TokenPrice(model)
    try:
        return price if price.cost(TokenUsage(1000, 1000)) else None
    except Exception:  # the library may raise anything for an unknown model
        return None


def estimated(price: TokenPrice | None, tokens_in: int, tokens_out: int, *, cached_hour: bool = False) -> Cost:
    """What a call is charged as long as its provider has reported nothing: its prompt, also if all of it is written to
    a cache (``cached_hour``: for an hour), and the longest reply."""
    hour = tokens_in if cached_hour else 0
    usages = TokenUsage(tokens_in, tokens_out), TokenUsage(tokens_in, tokens_out, 0, tokens_in, hour)
    return Cost(tokens_in + tokens_out, max(map(price.cost, usages)) if price else 0.0)


def require_ready(config: ModelConfig) -> None:
    """Raise UsageError or CredentialMissing if a model cannot be called, or a cap in dollars cannot be enforced. Where
    a recording answers, only the names of its models are needed.

    A price for an unused model is probably a typo that would leave a model unpriced; agents name their models
    themselves.
    """
    if not config.models:
        raise UsageError("a chat researcher needs a model", hint="-m gpt-4o-mini, or -m openai/NAME for a local server")
    strange = [] if config.agent else [name for name in config.prices if name not in config.models]
    if strange:
        raise UsageError(
            f"--set prices={strange[0]}: no model of that name is used",
            hint=f"write the name as --model has it: {', '.join(config.models)}",
        )
    for model in () if is_replayed() else config.models:
        provider_of(model)
        check = litellm().validate_environment(model)
        missing = [name for name in check.get("missing_keys", ()) if _SECRET.search(name)]
        if missing and not check.get("keys_in_environment"):
            raise CredentialMissing(
                f"{model} needs {' and '.join(missing)}, which is not set",
                hint=f"export {missing[0]}=…; for a local server, any value will do",
            )
        if config.max_usd is not None and price_of(model, config) is None:
            raise unpriced(model, model)


def unpriced(model: str, name: str) -> UsageError:
    """The problem of a cap in dollars and a model without a price, which can be given for its full ``name``."""
    hint = f"dollars per million tokens: --set prices={name}=0.5/1.5; or cap by --set max_tokens=N"
    return UsageError(f"--max-usd: no price is known for {model}", hint=hint)


def provider_of(model: str) -> str:
    """LiteLLM's name of a model's provider. Raises UsageError if the name does not determine one."""
    try:
        return str(litellm().get_llm_provider(model)[1])
    except Exception:  # the library may raise anything for an unknown name
        hint = "write PROVIDER/NAME; openai/NAME is a server that speaks the OpenAI protocol, see OPENAI_API_BASE"
        near = get_close_matches(model, litellm().model_cost, n=1, cutoff=0.8)
        hint = f"did you mean {near[0]}? Else {hint}" if near else hint
        raise UsageError(f"no provider is known for the model {model!r}", hint=hint) from None


@dataclass(frozen=True)
class Bill:
    """The cost of a study's calls, before any is made; ``usd`` is None if a model has no price."""

    calls: int
    tokens: int
    usd: float | None

    def words(self, about: str = "") -> str:
        """Tokens and dollars. An unknown price is shown as such, never as $0.00."""
        money = "not priced" if self.usd is None else f"{about}${self.usd:.2f}"
        return f"{about}{self.tokens / 1e6:.2g}M tokens, {money}"


def at_most(config: ModelConfig, calls: int, tokens_in: int) -> Bill:
    """Calls of ``tokens_in`` tokens with the longest reply, at the dearest model, within the caps."""
    usage = TokenUsage(tokens_in, config.reply_tokens, written=tokens_in)
    costs = [price.cost(usage) if (price := price_of(model, config)) else math.inf for model in config.models]
    usd, tokens = calls * max(costs), calls * usage.tokens
    most = None if usd == math.inf else min(usd, config.max_usd or usd)
    return Bill(calls, min(tokens, config.max_tokens or tokens), most)


def estimate(task: Task, config: ModelConfig, experiments: int) -> Bill:
    """One call of the first model per experiment, without repairs: right to a factor of about two. After the first
    call, the beginning that all prompts have in common comes from the provider's cache: it is longer than the shortest
    that is cached, 1024 tokens (platform.openai.com/docs/guides/prompt-caching)."""
    source = sum(len(text) for _, text in task.baseline().files) // CHARACTERS
    head = FRAME + PROGRAM + KNOB * len(task.edits.knobs)
    tokens_in = head + HISTORY + LOG + source
    first, later = TokenUsage(tokens_in, SAID, 0, head), TokenUsage(tokens_in, SAID, head)
    price = price_of(config.models[0], config)
    usd = min(experiments, 1) * price.cost(first) + max(experiments - 1, 0) * price.cost(later) if price else None
    return Bill(experiments, experiments * first.tokens, usd)


def bill_line(whole: Bill, config: ModelConfig) -> str:
    """One line for the plan, with the caps, and how to give a price that is not known."""
    short = (whole.usd or 0) > (config.max_usd or math.inf) or whole.tokens > (config.max_tokens or math.inf)
    ends = ": it stops there, and continues with a larger cap" if short else ""
    most = f", at most {config.caps()}{ends}" if config.caps() else ""
    unpriced = UNPRICED.format(config.models[0]) if whole.usd is None else ""
    return f"{whole.words('about ')}{most}{unpriced}"


def settled(config: ModelConfig) -> ModelConfig:
    """The configuration with the smallest known context size of its models, and with replies that fit into it; as it
    is without models.

    Raises UsageError where a reply of --set reply_tokens leaves no room for a prompt.
    """
    if not config.models:
        return config
    known = [tokens for model in config.models if (tokens := longest(model, "input"))]
    tokens = config.context_tokens or min(known, default=None)
    if tokens is None:
        return config
    share = max(1, tokens // REPLY_SHARE)
    changes = {"context_tokens": tokens}
    if "reply_tokens" not in config.model_fields_set:
        changes["reply_tokens"] = min(config.reply_tokens, share)
    elif config.reply_tokens >= tokens:
        raise UsageError(
            f"--set reply_tokens={config.reply_tokens} leaves no room for a prompt in a context of {tokens} tokens",
            hint=f"--set reply_tokens={share}, or a server with a larger context",
        )
    return config.model_copy(update=changes)


def longest(model: str, side: Literal["input", "output"]) -> int | None:
    """The most tokens of a model's prompt or reply in LiteLLM's table; None if they are unknown."""
    try:
        return int(litellm().get_model_info(model)[f"max_{side}_tokens"]) or None
    except Exception:  # the library may raise anything for an unknown model
        return None

"""Checks before any call: is a model's key set, and what does it cost?"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches

from inner_loop.models import provider
from inner_loop.models.provider import litellm
from inner_loop.run_context import ModelConfig
from programs.errors import CredentialMissing, UsageError

_SECRET = re.compile(r"KEY|TOKEN|SECRET|CREDENTIAL")


WRITING = 1.25  # times the input price: Anthropic's price of a token written to its cache


@dataclass(frozen=True)
class TokenPrice:
    """US dollars per token: in, out, read from the provider's cache, written to it; ``given`` by the user, or from
    LiteLLM's map."""

    tokens_in: float
    tokens_out: float
    cached: float
    written: float
    given: bool = False

    def of(self, tokens_in: int, tokens_out: int, cached: int = 0, written: int = 0) -> float:
        """``cached`` and ``written`` are part of ``tokens_in``."""
        plain = tokens_in - cached - written
        input_usd = plain * self.tokens_in + cached * self.cached + written * self.written
        return input_usd + tokens_out * self.tokens_out

    def most(self, tokens_in: int, tokens_out: int) -> float:
        """The highest cost, whatever the cache does."""
        return tokens_in * max(self.tokens_in, self.cached, self.written) + tokens_out * self.tokens_out


def require_ready(config: ModelConfig) -> None:
    """Raise UsageError or CredentialMissing if a model cannot be called, or a cap in dollars cannot be enforced."""
    if not config.models:
        raise UsageError("a chat researcher needs a model", hint="-m gpt-4o-mini, or -m openai/NAME for a local server")
    require_prices_of(config)
    for model in config.models:
        provider_of(model)
        _require_key(model)
        if config.max_usd is not None and price_of(model, config) is None:
            raise UsageError(
                f"--max-usd: no price is known for {model}",
                hint=f"give one in dollars per million tokens, --set prices={model}=0.5/1.5; or cap by --max-tokens",
            )


def require_prices_of(config: ModelConfig) -> None:
    """A price for an unused model is probably a typo that would leave a model unpriced. Agents name their models
    themselves."""
    strange = [] if config.agent else [name for name in config.prices if name not in config.models]
    if strange:
        raise UsageError(
            f"--set prices={strange[0]}: no model of that name is used",
            hint=f"write the name as --model has it: {', '.join(config.models)}",
        )


def _require_key(model: str) -> None:
    check = litellm().validate_environment(model)
    missing = [name for name in check.get("missing_keys", ()) if _SECRET.search(name)]
    if missing and not check.get("keys_in_environment"):
        raise CredentialMissing(
            f"{model} needs {' and '.join(missing)}, which is not set",
            hint=f"export {missing[0]}=…; for a local server, any value will do",
        )


def provider_of(model: str) -> str:
    """LiteLLM's name of a model's provider. Raises UsageError if the name does not determine one."""
    try:
        return str(litellm().get_llm_provider(model)[1])
    except Exception:  # the library may raise anything for an unknown name
        hint = "write PROVIDER/NAME; openai/NAME is a server that speaks the OpenAI protocol, see OPENAI_API_BASE"
        near = get_close_matches(model, litellm().model_cost, n=1, cutoff=0.8)
        hint = f"did you mean {near[0]}? Else {hint}" if near else hint
        raise UsageError(f"no provider is known for the model {model!r}", hint=hint) from None


def price_of(model: str, config: ModelConfig) -> TokenPrice | None:
    """The price given for a model, else LiteLLM's; None if neither is known. LiteLLM's price of 0 counts as unknown."""
    if model in config.prices:
        given = [per_million / 1e6 for per_million in config.prices[model]]
        return TokenPrice(
            given[0], given[1], given[-1] if given[2:] else given[0], _written(model, given[0]), given=True
        )
    try:
        info = litellm().get_model_info(model)
    except Exception:  # the library may raise anything for an unknown model
        return None
    price_in, price_out = (float(info.get(f"{way}_cost_per_token") or 0.0) for way in ("input", "output"))
    cached = float(info.get("cache_read_input_token_cost") or price_in)
    written = float(info.get("cache_creation_input_token_cost") or _written(model, price_in))
    return TokenPrice(price_in, price_out, cached, written) if price_in or price_out else None


def _written(model: str, price_in: float) -> float:
    return price_in * WRITING if provider.marked(model) else price_in

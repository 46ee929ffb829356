"""What calls cost: the tokens that a provider reports, a model's price, and the checks before any call."""

from __future__ import annotations

import re
from dataclasses import astuple, dataclass
from difflib import get_close_matches
from typing import Any

from inner_loop.models.provider import litellm, marked
from inner_loop.models.spend_limiter import Cost
from inner_loop.models.usage import TokenUsage
from inner_loop.run_context import ModelConfig
from programs.errors import CredentialMissing, UsageError

WRITING = 1.25  # times the input price: Anthropic's price of a token written to its cache
_SECRET = re.compile(r"KEY|TOKEN|SECRET|CREDENTIAL")


@dataclass(frozen=True)
class TokenPrice:
    """A model's price: dollars per million tokens in, out and (optional) cached that the user ``given``, else
    LiteLLM's."""

    model: str
    given: tuple[float, ...] = ()

    def of(self, tokens_in: int, tokens_out: int, cached: int = 0, written: int = 0, written_hour: int = 0) -> float:
        """Dollars. ``cached`` (read from the provider's cache), ``written`` to it and ``written_hour`` (for an hour)
        are parts of ``tokens_in``."""
        if self.given:
            rate_in, rate_out = self.given[:2]
            rate_cached, rate_written = self.given[-1] if self.given[2:] else rate_in, rate_in * _writing(self.model)
            plain = (tokens_in - cached - written) * rate_in + tokens_out * rate_out
            return (plain + cached * rate_cached + written * rate_written) / 1e6
        usage = _litellm_usage(tokens_in, tokens_out, cached, written, written_hour)
        return float(sum(litellm().cost_per_token(model=self.model, usage_object=usage)))

    def cost(self, usage: TokenUsage) -> float:
        return self.of(*astuple(usage))


def _writing(model: str) -> float:
    return WRITING if marked(model) else 1.0


def _litellm_usage(tokens_in: int, tokens_out: int, cached: int, written: int, written_hour: int) -> Any:
    litellm()
    from litellm.types.utils import CacheCreationTokenDetails, PromptTokensDetailsWrapper, Usage

    stored = CacheCreationTokenDetails(
        ephemeral_5m_input_tokens=written - written_hour, ephemeral_1h_input_tokens=written_hour
    )
    details = PromptTokensDetailsWrapper(
        cached_tokens=cached,
        cache_creation_tokens=written,
        cache_creation_token_details=stored if written else None,
    )
    total = tokens_in + tokens_out
    return Usage(
        prompt_tokens=tokens_in, completion_tokens=tokens_out, total_tokens=total, prompt_tokens_details=details
    )


def price_of(model: str, config: ModelConfig) -> TokenPrice | None:
    """The price given for a model, else LiteLLM's; None if neither is known. LiteLLM's price of 0 counts as unknown."""
    if model in config.prices:
        return TokenPrice(model, config.prices[model])
    price = TokenPrice(model)
    try:
        return price if price.of(1000, 1000) else None
    except Exception:  # the library may raise anything for an unknown model
        return None


def estimated(price: TokenPrice | None, tokens_in: int, longest: int) -> Cost:
    """What a call is charged as long as its provider has reported nothing: its prompt and the longest reply."""
    return Cost(tokens_in + longest, price.of(tokens_in, longest) if price else 0.0)


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

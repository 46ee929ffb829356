"""Before anything is asked: is a model's key there, and what may a call of it cost?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from inner_loop.kit import Staff
from inner_loop.models.contract import Message
from inner_loop.models.provider import litellm
from inner_loop.models.tools import NOTHING, Offer
from programs.errors import CredentialMissing, UsageError

_SECRET = re.compile(r"KEY|TOKEN|SECRET|CREDENTIAL")


@dataclass(frozen=True)
class Price:
    """US dollars per token; ``given`` by the user, or from LiteLLM's map."""

    tokens_in: float
    tokens_out: float
    given: bool = False

    def of(self, tokens_in: int, tokens_out: int) -> float:
        return tokens_in * self.tokens_in + tokens_out * self.tokens_out


def require_ready(staff: Staff) -> None:
    """Raise UsageError or CredentialMissing where a model cannot be asked, or a cap in dollars cannot be kept."""
    if not staff.models:
        raise UsageError("a chat researcher needs a model", hint="-m gpt-4o-mini, or -m openai/NAME for a local server")
    for model in staff.models:
        provider_of(model)
        _require_key(model)
        if staff.max_usd is not None and price_of(model, staff) is None:
            raise UsageError(
                f"--max-usd: no price is known for {model}",
                hint=f"give one in dollars per million tokens, --price {model}=0.5/1.5; or cap by --max-tokens",
            )


def _require_key(model: str) -> None:
    found = litellm().validate_environment(model)
    missing = [name for name in found.get("missing_keys", ()) if _SECRET.search(name)]
    if missing and not found.get("keys_in_environment"):
        raise CredentialMissing(
            f"{model} needs {' and '.join(missing)}, which is not set",
            hint=f"export {missing[0]}=…; a local server takes any value",
        )


def provider_of(model: str) -> str:
    """LiteLLM's name of who serves a model. Raises UsageError where the name tells none."""
    try:
        return str(litellm().get_llm_provider(model)[1])
    except Exception:  # whatever the library raises for a name that it does not know
        hint = "write PROVIDER/NAME; openai/NAME is a server that speaks the OpenAI protocol, see OPENAI_API_BASE"
        raise UsageError(f"no provider is known for the model {model!r}", hint=hint) from None


def price_of(model: str, staff: Staff) -> Price | None:
    """The price given for a model, else LiteLLM's; None where neither knows one: free is a price nobody tells."""
    if model in staff.prices:
        per_million = staff.prices[model]
        return Price(per_million[0] / 1e6, per_million[1] / 1e6, given=True)
    try:
        told = litellm().get_model_info(model)
    except Exception:  # whatever the library raises for a model that it does not know
        return None
    asked = max(told.get("input_cost_per_token") or 0.0, told.get("cache_creation_input_token_cost") or 0.0)
    said = told.get("output_cost_per_token") or 0.0
    return Price(float(asked), float(said)) if asked or said else None


def most_tokens(messages: Sequence[Message], offer: Offer = NOTHING) -> int:
    """Tokens that a prompt has at most: none is shorter than a byte, and a chat template adds a few per message."""
    texts = [message.whole + "".join(str(call.wire) for call in message.calls) for message in messages]
    texts += [str(tool.wire) for tool in offer.tools]
    return sum(len(text.encode("utf-8", "replace")) + 16 for text in texts) + 16

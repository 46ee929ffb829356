"""The context size of models, as the user set it, else from LiteLLM's table; and whether a prompt fits into it."""

from __future__ import annotations

from collections.abc import Sequence

from inner_loop.models.contract import Message
from inner_loop.models.provider import litellm
from inner_loop.models.tools import NOTHING, Offer
from inner_loop.run_context import REPLY_SHARE, ModelConfig
from programs.errors import UsageError

SAFE_BYTES = 3  # per token: English has 4 to 5, code and numbers 3 to 4
FRAME = 16  # tokens that a chat template adds around each message and around all of them; OpenAI's adds 3 or 4


def settled(config: ModelConfig) -> ModelConfig:
    """The configuration with the smallest known context size of its models, and with replies that fit into it.

    Raises UsageError where a reply of --set reply_tokens leaves no room for a prompt.
    """
    known = [tokens for model in config.models if (tokens := of_model(model))]
    tokens = config.context_tokens or min(known, default=None)
    if tokens is None:
        return config
    longest = max(1, tokens // REPLY_SHARE)
    changes = {"context_tokens": tokens}
    if "reply_tokens" not in config.model_fields_set:
        changes["reply_tokens"] = min(config.reply_tokens, longest)
    elif config.reply_tokens >= tokens:
        raise UsageError(
            f"--set reply_tokens={config.reply_tokens} leaves no room for a prompt in a context of {tokens} tokens",
            hint=f"--set reply_tokens={longest}, or a server with a larger context",
        )
    return config.model_copy(update=changes)


def of_model(model: str) -> int | None:
    """The context size in LiteLLM's table; None if it is unknown."""
    try:
        return int(litellm().get_model_info(model)["max_input_tokens"]) or None
    except Exception:  # the library may raise anything for an unknown model
        return None


def prompt_tokens(messages: Sequence[Message], offer: Offer = NOTHING) -> int:
    """About how many tokens a prompt has with any tokenizer in use, on the safe side."""
    return FRAME + sum(FRAME - (-bytes_of([message]) // SAFE_BYTES) for message in messages) + offer_tokens(offer)


def offer_tokens(offer: Offer) -> int:
    """The same for the descriptions of tools."""
    return -(-sum(len(str(tool.wire)) for tool in offer.tools) // SAFE_BYTES)


def fits(messages: Sequence[Message], context_tokens: int | None, reply_tokens: int, spare: int = 0) -> bool:
    """Whether messages and the longest reply fit into a context; into one of unknown size everything does."""
    return context_tokens is None or prompt_tokens(messages) + reply_tokens + spare <= context_tokens


def bytes_of(messages: Sequence[Message]) -> int:
    return sum(len(message.whole.encode("utf-8", "replace")) for message in messages)

"""Upper bounds for the tokens of a prompt, before it is sent: what a cap reserves."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from inner_loop.models.contract import Message
from inner_loop.models.provider import litellm
from inner_loop.models.tools import NOTHING, Offer

#: Tokens that a chat template adds around each message and around all of them; OpenAI's adds 3 or 4, and 3
#: (https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken).
FRAME = 16
ENCODINGS = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"


def most_tokens(messages: Sequence[Message], offer: Offer = NOTHING) -> int:
    """Upper bound of a prompt's tokens with any tokenizer: no token is shorter than a byte."""
    return FRAME + sum(_bytes(message.whole) + FRAME for message in messages) + _tool_bytes(messages, offer)


def counted_tokens(model: str, messages: Sequence[Message], offer: Offer = NOTHING) -> int:
    """As ``most_tokens``, but counted by the model's tokenizer if that is known for certain and at hand: OpenAI's
    own models at OpenAI. Counting takes milliseconds (tiktoken), so it is used only if the bound by bytes does not
    fit under a cap."""
    loose = most_tokens(messages, offer)
    encoding = _encoding(model.removeprefix("openai/")) if _at_openai() else None
    if encoding is None:
        return loose
    texts = (message.whole.encode("utf-8", "replace").decode() for message in messages)
    counted = FRAME + sum(len(encoding.encode(text, disallowed_special=())) + FRAME for text in texts)
    return min(loose, counted + _tool_bytes(messages, offer))


def _tool_bytes(messages: Sequence[Message], offer: Offer) -> int:
    """Bytes of the offered tools and of the tool calls in the prompt; how a provider encodes them is unknown."""
    wires = [call.wire for message in messages for call in message.calls] + [tool.wire for tool in offer.tools]
    return sum(_bytes(str(wire)) + FRAME for wire in wires)


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def _at_openai() -> bool:
    """Whether names like gpt-4o mean OpenAI's models, judging by the environment; another server may use any name."""
    base = os.environ.get("OPENAI_BASE_URL") or os.environ.get("OPENAI_API_BASE")
    host = urlsplit(base).hostname or "" if base else "api.openai.com"
    return host == "api.openai.com" or host.endswith(".api.openai.com")


@cache
def _encoding(name: str) -> Any:
    """The tokenizer of an OpenAI model from LiteLLM's files; None if it would have to be downloaded."""
    litellm()
    import tiktoken
    from litellm.litellm_core_utils import default_encoding  # noqa: F401 - points tiktoken to its files
    from tiktoken.model import encoding_name_for_model

    try:
        encoding = encoding_name_for_model(name)
    except KeyError:
        return None
    key = hashlib.sha1(ENCODINGS.format(encoding).encode(), usedforsecurity=False).hexdigest()
    at_hand = (Path(os.environ.get("TIKTOKEN_CACHE_DIR", "")) / key).is_file()
    return tiktoken.get_encoding(encoding) if at_hand else None

"""The token usage that a provider reports with a reply; providers may report anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_MOST = 1 << 40  # tokens of one reply, on either side


@dataclass(frozen=True)
class TokenUsage:
    """Tokens of one reply. ``tokens_in`` is the whole prompt: tokens read from a cache, written to one
    (``written_hour`` for an hour), and the others."""

    tokens_in: int
    tokens_out: int
    cached: int = 0
    written: int = 0
    written_hour: int = 0

    @property
    def tokens(self) -> int:
        return self.tokens_in + self.tokens_out


def reported(usage: Any) -> TokenUsage | None:
    """The usage in a reply of OpenAI's chat completions or responses, or of Anthropic's messages, which counts cached
    tokens apart. None if it is missing, invalid or zero."""
    counts = as_dict(usage)
    details = as_dict(counts.get("prompt_tokens_details") or counts.get("input_tokens_details"))
    try:
        tokens_in = _count(counts, "prompt_tokens") or _count(counts, "input_tokens")
        tokens_out = _count(counts, "completion_tokens") or _count(counts, "output_tokens")
        cached = _count(details, "cached_tokens") or _count(counts, "cache_read_input_tokens")
        written = _count(details, "cache_creation_tokens") or _count(counts, "cache_creation_input_tokens")
        hour = _count(as_dict(counts.get("cache_creation")), "ephemeral_1h_input_tokens")
    except ValueError:
        return None
    if not details and "input_tokens" in counts:
        tokens_in += cached + written
    cached = min(cached, tokens_in)
    written = min(written, tokens_in - cached)
    found = TokenUsage(tokens_in, tokens_out, cached, written, min(hour, written))
    return found if found.tokens else None


def as_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(counts: dict[str, Any], name: str) -> int:
    value = counts.get(name)
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _MOST:
        raise ValueError
    return value

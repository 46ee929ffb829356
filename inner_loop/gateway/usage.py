"""The token usage that an API reports, in three protocols, in one body or as server-sent events.

OpenAI chat completions report it in the last chunk (``stream_options``), OpenAI responses in ``response.completed``,
Anthropic messages in ``message_start`` and, as new totals, in each ``message_delta``. Usage of an incomplete reply is
not reliable.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from pydantic import JsonValue

from inner_loop.gateway.fields import Kind
from programs.text import one_line

_MOST = 1 << 40


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


class ReplyReader:
    """Reads a whole body, or event by event; ``usage`` is None until the reply is complete and has reported it.

    ``finish`` is one of OpenAI's words (stop, length, content_filter) or another that the API uses; ``model`` the API's
    name of it. ``ended``: the reply is complete; some servers close a broken stream like a complete one.
    """

    def __init__(self, kind: Kind) -> None:
        self.usage: TokenUsage | None = None
        self.finish = self.model = ""
        self.ended = False
        self._kind = kind
        self._counts: dict[str, JsonValue] = {}

    def whole(self, data: bytes) -> None:
        body = _object(data)
        self.ended = bool(body)
        self._close(body)

    def event(self, data: bytes) -> bool:
        """One server-sent event; True if it has only usage, as OpenAI's last chunk does."""
        text = b"\n".join(line[5:].strip() for line in data.splitlines() if line.startswith(b"data:"))
        body = _object(text)
        self.ended = self.ended or text == b"[DONE]"
        if self._kind == "chat":
            return self._chunk(body)
        kind = body.get("type")
        if self._kind == "responses":
            if kind in ("response.completed", "response.incomplete"):
                self.ended = True
                self._close(_dict(body.get("response")))
        elif kind == "message_start":
            message = _dict(body.get("message"))
            self.model = _word(message.get("model"), 200)
            self._counts = _dict(message.get("usage"))
        elif kind == "message_delta":
            counts = _dict(body.get("usage"))
            self._counts = self._counts | {name: value for name, value in counts.items() if value is not None}
            self.finish = _finish(_dict(body.get("delta"))) or self.finish
        elif kind == "message_stop":
            self.ended = True
            self.usage = _usage("messages", self._counts)
        return False

    def _chunk(self, body: dict[str, JsonValue]) -> bool:
        self.model = self.model or _word(body.get("model"), 200)
        choices = body.get("choices")
        if isinstance(choices, list) and choices:
            self.finish = _finish(_dict(choices[0])) or self.finish
        if body.get("usage"):
            self.usage = _usage("chat", _dict(body["usage"]))
            self.ended = self.ended or not choices
            return not choices
        return False

    def _close(self, body: dict[str, JsonValue]) -> None:
        self.model = _word(body.get("model"), 200)
        choices = body.get("choices")
        self.finish = _finish(_dict(choices[0]) if isinstance(choices, list) and choices else body)
        self.usage = _usage(self._kind, _dict(body.get("usage")))


def _usage(kind: Kind, counts: dict[str, JsonValue]) -> TokenUsage | None:
    """None if the numbers are invalid or all zero."""
    try:
        if kind == "chat":
            cached = _count(_dict(counts.get("prompt_tokens_details")).get("cached_tokens"))
            tokens_in = _count(counts.get("prompt_tokens"))
            usage = TokenUsage(tokens_in, _count(counts.get("completion_tokens")), min(cached, tokens_in))
        elif kind == "responses":
            cached = _count(_dict(counts.get("input_tokens_details")).get("cached_tokens"))
            tokens_in = _count(counts.get("input_tokens"))
            usage = TokenUsage(tokens_in, _count(counts.get("output_tokens")), min(cached, tokens_in))
        else:
            cached = _count(counts.get("cache_read_input_tokens"))
            written = _count(counts.get("cache_creation_input_tokens"))
            hour = _count(_dict(counts.get("cache_creation")).get("ephemeral_1h_input_tokens"))
            tokens_in = _count(counts.get("input_tokens")) + cached + written
            usage = TokenUsage(tokens_in, _count(counts.get("output_tokens")), cached, written, min(hour, written))
    except ValueError:
        return None
    return usage if usage.tokens else None


def _finish(body: dict[str, JsonValue]) -> str:
    """Why a reply ended, in OpenAI's words if there is one."""
    word = body.get("finish_reason") or body.get("stop_reason") or body.get("status") or ""
    if word == "incomplete":
        word = _dict(body.get("incomplete_details")).get("reason") or word
    known = {
        "end_turn": "stop",
        "stop_sequence": "stop",
        "completed": "stop",
        "max_tokens": "length",
        "max_output_tokens": "length",
        "refusal": "content_filter",
    }
    return known.get(str(word), _word(word, 40))


def _word(value: JsonValue, most: int) -> str:
    """A word from a server, safe for terminals and files."""
    return one_line(str(value or "")[:most])


def _count(value: JsonValue) -> int:
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _MOST:
        raise ValueError
    return value


def _dict(value: JsonValue) -> dict[str, JsonValue]:
    return value if isinstance(value, dict) else {}


def _object(data: bytes) -> dict[str, JsonValue]:
    try:
        return _dict(json.loads(data))
    except (ValueError, RecursionError):
        return {}

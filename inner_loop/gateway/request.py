"""Requests of an agent to a model API: which ones the gateway forwards, in which form, and the usage in their replies.

A body is parsed and written again, so that exactly what was checked is sent. `fields` lists what may be in it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from inner_loop.gateway.fields import APIS, Kind, check, model_of
from inner_loop.gateway.route import Protocol, Route
from inner_loop.gateway.serving import RequestRefused
from inner_loop.models.provider import TokenUsage, as_dict, reported
from programs.common.bounded import BeyondLimits, json_value
from programs.common.text import one_line

METERED: dict[Protocol, dict[str, Kind]] = {
    "openai": {"chat/completions": "chat", "responses": "responses"},
    "anthropic": {"v1/messages": "messages"},
}
_FREE: dict[Protocol, re.Pattern[str]] = {
    "openai": re.compile(r"GET models(/[A-Za-z0-9][A-Za-z0-9._:-]{0,100})?"),
    "anthropic": re.compile(r"GET v1/models(/[A-Za-z0-9][A-Za-z0-9._:-]{0,100})?|POST v1/messages/count_tokens"),
}
_QUERY = re.compile(r"[A-Za-z0-9_=&.-]{0,200}")
_HIDDEN = 2048  # tokens that vendors add to a prompt: templates, descriptions of tools
_LONGEST = 10_000_000  # tokens; most that a request may set
#: Why a reply ended, in OpenAI's words.
_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "completed": "stop",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "refusal": "content_filter",
}


@dataclass(frozen=True)
class ModelRequest:
    """A request that costs money. ``tokens_in``: the most tokens that its prompt can have; ``length``: the longest
    reply, None if the body sets none; ``hides_usage``: whether the agent has not asked for usage in a stream."""

    kind: Kind
    model: str
    content: bytes
    tokens_in: int
    length: int | None
    hides_usage: bool

    @property
    def caches_for_an_hour(self) -> bool:
        """Whether the prompt may be written to a cache at the price of an hour. In a text the marks are escaped."""
        return b'"1h"' in self.content


def find(method: str, target: str, routes: tuple[Route, ...]) -> tuple[Route, str, Kind | None]:
    """The route, the path to append to its URL, and the kind of a metered request, None for a free one.

    Raises RequestRefused for everything else: paths are compared exactly, so none leaves an API.
    """
    path, _, query = target.partition("?")
    route = next((one for one in routes if path.startswith(one.prefix)), None)
    if route is None:
        raise RequestRefused(404, f"there is no API at {path[:80]!r}: {', '.join(one.prefix for one in routes)}")
    rest = path[len(route.prefix) :]
    if not _QUERY.fullmatch(query):
        raise RequestRefused(400, "this query is not forwarded")
    kind = METERED[route.protocol].get(rest) if method == "POST" else None
    if kind is None and not _FREE[route.protocol].fullmatch(f"{method} {rest}"):
        raise RequestRefused(404, f"{method} {rest[:80]} is not forwarded: only model calls are")
    return route, f"/{rest}{'?' if query else ''}{query}", kind


def ask(kind: Kind, data: bytes | bytearray) -> ModelRequest:
    """The request in a body, in the form in which it is forwarded. Raises RequestRefused."""
    try:
        body = json_value(data)
        if not isinstance(body, dict):
            raise RequestRefused(400, "the body is not a JSON object")
        model, pictures, hides = model_of(body), check(kind, body), False
        if kind == "chat" and body.get("stream"):
            options = body.get("stream_options") or {}
            if not isinstance(options, dict):
                raise RequestRefused(400, "stream_options: an object is expected")
            hides = options.get("include_usage") is not True
            body["stream_options"] = options | {"include_usage": True}
        lengths = [length for name in APIS[kind].lengths if (length := _number(body, name)) is not None]
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except BeyondLimits as error:
        raise RequestRefused(413, f"the body is too large: {error}") from None
    except (ValueError, RecursionError):
        raise RequestRefused(400, "the body is not JSON, or nested too deeply") from None
    sent = content.encode("utf-8", "replace")
    return ModelRequest(kind, model, sent, len(sent) + _HIDDEN + pictures, max(lengths, default=None), hides)


def _number(body: dict[str, JsonValue], name: str) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= _LONGEST:
        raise RequestRefused(400, f"{name}: not a valid number")
    return value


class ReplyReader:
    """Reads a whole body, or event by event; ``usage`` is None until the reply is complete and has reported it.

    OpenAI chat completions report it in the last chunk (``stream_options``), OpenAI responses in
    ``response.completed``, Anthropic messages in ``message_start`` and, as new totals, in each ``message_delta``.
    ``finish`` is one of OpenAI's words (stop, length, content_filter) or another that the API uses; ``model`` the API's
    name of it. ``ended``: the reply is complete; some servers close a broken stream like a complete one.
    """

    def __init__(self, kind: Kind) -> None:
        self.usage: TokenUsage | None = None
        self.finish = self.model = ""
        self.ended = False
        self._kind = kind
        self._counts: dict[str, Any] = {}

    def whole(self, data: bytes) -> None:
        self._whole(_object(data))

    def _whole(self, body: dict[str, Any]) -> None:
        self.ended = bool(body)
        self._look(body)
        self.usage = reported(body.get("usage"))

    def event(self, data: bytes) -> bool:
        """One server-sent event; True if it has only usage, as OpenAI's last chunk does."""
        text = b"\n".join(line[5:].strip() for line in data.splitlines() if line.startswith(b"data:"))
        body = _object(text)
        named = body.get("type")
        self.ended = self.ended or text == b"[DONE]"
        if self._kind == "chat":
            self._look(body)
            if body.get("usage"):
                self.usage = reported(body["usage"])
                self.ended = self.ended or not body.get("choices")
                return not body.get("choices")
        elif named in ("response.completed", "response.incomplete"):
            self._whole(as_dict(body.get("response")))
        elif named in ("message_start", "message_delta"):
            message = as_dict(body.get("message"))
            self._look(message or as_dict(body.get("delta")))
            counts = as_dict(message.get("usage") or body.get("usage"))
            self._counts |= {name: value for name, value in counts.items() if value is not None}
        elif named == "message_stop":
            self.ended, self.usage = True, reported(self._counts)
        return False

    def _look(self, body: dict[str, Any]) -> None:
        """The model's name, and why the reply ended."""
        self.model = self.model or _word(body.get("model"), 200)
        choices = body.get("choices")
        at = as_dict(choices[0]) if isinstance(choices, list) and choices else body
        word = at.get("finish_reason") or at.get("stop_reason") or at.get("status") or ""
        if word == "incomplete":
            word = as_dict(at.get("incomplete_details")).get("reason") or word
        self.finish = _FINISH.get(str(word), _word(word, 40)) or self.finish


def _word(value: JsonValue, most: int) -> str:
    """A word from a server, safe for terminals and files."""
    return one_line(str(value or "")[:most])


def _object(data: bytes) -> dict[str, Any]:
    try:
        return as_dict(json_value(data, finite=False))
    except ValueError:
        return {}

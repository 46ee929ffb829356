"""Requests of an agent to a model API: which ones the gateway forwards, in which form, and their highest possible cost.

A body is parsed and written again, so that exactly what was checked is sent. `fields` lists what may be in it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from pydantic import JsonValue

from inner_loop.gateway.fields import Kind, RequestRefused, check, model_of
from inner_loop.gateway.prompt_size import PromptParts, parts_of
from inner_loop.gateway.route import Protocol, Route

METERED: dict[Protocol, dict[str, Kind]] = {
    "openai": {"chat/completions": "chat", "responses": "responses"},
    "anthropic": {"v1/messages": "messages"},
}
_FREE: dict[Protocol, re.Pattern[str]] = {
    "openai": re.compile(r"GET models(/[A-Za-z0-9][A-Za-z0-9._:-]{0,100})?"),
    "anthropic": re.compile(r"GET v1/models(/[A-Za-z0-9][A-Za-z0-9._:-]{0,100})?|POST v1/messages/count_tokens"),
}
_QUERY = re.compile(r"[A-Za-z0-9_=&.-]{0,200}")
_LENGTHS: dict[Kind, tuple[str, ...]] = {
    "chat": ("max_completion_tokens", "max_tokens"),
    "responses": ("max_output_tokens",),
    "messages": ("max_tokens",),
}
_HIDDEN = 2048  # tokens that vendors add to a prompt: templates, descriptions of tools
#: Tokens of the dearest picture: 2,833 + 8 tiles of 5,667, https://platform.openai.com/docs/guides/images-vision
_PICTURE = 50_000
_LONGEST = 10_000_000  # tokens; most that a request may set


@dataclass
class ModelRequest:
    """A request that costs money. ``most_in``: upper bound of the prompt's tokens by its bytes; ``parts``: for a
    tighter one. ``length``: the longest of ``replies`` replies, None if the body sets none; ``thinking``: tokens of it
    that the body gives to the model's thinking. ``lengths``: the fields that limit a reply."""

    kind: Kind
    model: str
    body: dict[str, JsonValue]
    replies: int
    most_in: int
    parts: PromptParts | None
    length: int | None
    thinking: int
    lengths: tuple[str, ...]
    streams: bool
    hides_usage: bool

    def bound(self, tokens: int) -> None:
        """Limit each reply to ``tokens``."""
        self.body |= dict.fromkeys(self.lengths, tokens)

    def content(self) -> bytes:
        return write(self.body)


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


def read(data: bytes) -> dict[str, JsonValue]:
    """The JSON object of a body. Raises RequestRefused."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        raise RequestRefused(400, "the body is not JSON") from None
    if not isinstance(body, dict):
        raise RequestRefused(400, "the body is not a JSON object")
    return body


def write(body: dict[str, JsonValue]) -> bytes:
    try:
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (ValueError, RecursionError):
        raise RequestRefused(400, "the body contains values that JSON cannot express") from None
    return text.encode("utf-8", "replace")


def ask(kind: Kind, body: dict[str, JsonValue], route: Route) -> ModelRequest:
    """The request in a body, in the form in which it is forwarded. Raises RequestRefused."""
    model, pictures = model_of(body, route), check(kind, body)
    streams, hides = body.get("stream") is True, False
    if kind == "chat" and streams:
        options = body.get("stream_options")
        options = dict(options) if isinstance(options, dict) else {}
        hides = options.get("include_usage") is not True
        body["stream_options"] = options | {"include_usage": True}
    replies = _number(body, "n") or 1
    named = {name: length for name in _LENGTHS[kind] if (length := _number(body, name)) is not None}
    return ModelRequest(
        kind,
        model,
        body,
        replies,
        most_in=len(write(body)) + _HIDDEN + pictures * _PICTURE,  # no token of a text is shorter than a byte
        parts=parts_of(kind, body, pictures),
        length=max(named.values(), default=None),
        thinking=_thinking(body),
        lengths=tuple(named) or (_own_length(kind, route),),
        streams=streams,
        hides_usage=hides,
    )


def counted(body: dict[str, JsonValue], route: Route) -> bytes:
    """A request to count the tokens of a message, as it is forwarded: it is free and has the same restrictions."""
    model_of(body, route)
    check("messages", body)
    return write(body)


def _own_length(kind: Kind, route: Route) -> str:
    """The field that limits a reply where the agent sets none. OpenAI's newer models refuse ``max_tokens``, which other
    servers of its protocol understand: https://platform.openai.com/docs/api-reference/chat/create"""
    return _LENGTHS[kind][0 if route.at_openai else -1]


def _thinking(body: dict[str, JsonValue]) -> int:
    """Tokens of a reply that are set aside for thinking; a reply that is not longer is an error at the API."""
    settings = [body.get("thinking"), body.get("reasoning")]
    fields = [one.get(name) for one in settings if isinstance(one, dict) for name in ("budget_tokens", "max_tokens")]
    return max((n for n in fields if isinstance(n, int) and n > 0), default=0)


def _number(body: dict[str, JsonValue], name: str) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= _LONGEST:
        raise RequestRefused(400, f"{name}: not a valid number")
    return value

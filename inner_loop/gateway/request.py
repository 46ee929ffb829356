"""Requests of an agent to a model API: which the gateway passes on, in which form, and what they may cost at most.

A body is read and written anew, so that what was looked at is what is sent. What an API would do or ask money for
beside the tokens of this request is taken out or refused: tools that run at the vendor's, other tiers of service, work
in the background, and references to texts or files that lie elsewhere and whose length nobody sees here.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Literal

from inner_loop.gateway.route import Protocol, Route

Kind = Literal["chat", "responses", "messages"]
METERED: dict[Protocol, dict[str, Kind]] = {
    "openai": {"chat/completions": "chat", "responses": "responses"},
    "anthropic": {"v1/messages": "messages"},
}
_FREE: dict[Protocol, re.Pattern[str]] = {
    "openai": re.compile(r"GET models(/[A-Za-z0-9][A-Za-z0-9._:-]{0,100})?"),
    "anthropic": re.compile(r"GET v1/models(/[A-Za-z0-9][A-Za-z0-9._:-]{0,100})?|POST v1/messages/count_tokens"),
}
_MODEL = re.compile(r"[!-~]{1,200}")  # it is told on the user's terminal
_QUERY = re.compile(r"[A-Za-z0-9_=&.-]{0,200}")
_LENGTHS: dict[Kind, tuple[str, ...]] = {
    "chat": ("max_completion_tokens", "max_tokens"), "responses": ("max_output_tokens",), "messages": ("max_tokens",),
}  # fmt: skip
#: Types of tools that the agent carries out itself; all others run at the vendor's, with a network and a price.
_OWN_TOOLS = re.compile(r"function|custom|namespace|local_shell|apply_patch|(bash|text_editor|memory|computer)_\d+")
#: Tiers, tools at the vendor's, and what is billed as other tokens than those of a text.
_TIERS = (
    "service_tier", "speed", "web_search_options", "mcp_servers", "container", "prediction", "modalities", "audio",
)  # fmt: skip
_ELSEWHERE = ("previous_response_id", "conversation", "prompt")
_REFERENCES = ("file_id", "file_url", "video_url")
_HIDDEN = 2048  # tokens that vendors add to a prompt: templates, the preamble of tools
_LONGEST = 10_000_000  # tokens; no request names more


class Refused(Exception):
    """A request that is answered here. ``status`` is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass
class Ask:
    """A request that costs money. ``most_in``: tokens of the prompt at most, ``most_out``: of all replies at most, None
    where the body does not say."""

    kind: Kind
    model: str
    body: dict[str, Any]
    replies: int
    most_in: int
    most_out: int | None
    streams: bool
    hides_usage: bool

    @property
    def named(self) -> bool:
        """Whether the agent itself says how long a reply may be."""
        return self.most_out is not None

    def bound(self, tokens: int) -> None:
        """Let no reply be longer."""
        self.body[_LENGTHS[self.kind][-1]] = tokens

    def content(self) -> bytes:
        return write(self.body)


def find(method: str, target: str, routes: tuple[Route, ...]) -> tuple[Route, str, Kind | None]:
    """The route, what to append to its URL, and the kind of a metered request, None for one that is free.

    Raises Refused for everything else: paths are compared letter by letter, so none leads out of an API.
    """
    path, _, query = target.partition("?")
    route = next((one for one in routes if path.startswith(one.prefix)), None)
    if route is None:
        raise Refused(404, f"there is no API at {path[:80]!r}: {', '.join(one.prefix for one in routes)}")
    rest = path[len(route.prefix) :]
    if not _QUERY.fullmatch(query):
        raise Refused(400, "this query is not passed on")
    kind = METERED[route.protocol].get(rest) if method == "POST" else None
    if kind is None and not _FREE[route.protocol].fullmatch(f"{method} {rest}"):
        raise Refused(404, f"{method} {rest[:80]} is not passed on: only models are asked here")
    return route, f"/{rest}{'?' if query else ''}{query}", kind


def read(data: bytes) -> dict[str, Any]:
    """The object of a body. Raises Refused."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        raise Refused(400, "the body is no JSON") from None
    if not isinstance(body, dict):
        raise Refused(400, "the body is no JSON object")
    return body


def write(body: dict[str, Any]) -> bytes:
    try:
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (ValueError, RecursionError):
        raise Refused(400, "the body holds what JSON has no word for") from None
    return text.encode("utf-8", "replace")


def ask(kind: Kind, body: dict[str, Any]) -> Ask:
    """What a body asks for, brought into the form in which it is passed on. Raises Refused."""
    model = body.get("model")
    if not isinstance(model, str) or not _MODEL.fullmatch(model):
        raise Refused(400, "the body names no model")
    _check(body)
    for name in _TIERS:
        body.pop(name, None)
    if isinstance(tools := body.get("tools"), list):
        body["tools"] = [tool for tool in tools if _own(tool)]
        if not body["tools"]:
            del body["tools"]
            body.pop("tool_choice", None)
    streams, hides = body.get("stream") is True, False
    if kind == "chat" and streams:
        options = body.get("stream_options")
        options = dict(options) if isinstance(options, dict) else {}
        hides = options.get("include_usage") is not True
        body["stream_options"] = options | {"include_usage": True}
    replies = _number(body, "n") or 1
    lengths = [length for name in _LENGTHS[kind] if (length := _number(body, name)) is not None]
    most_in = len(write(body)) + _HIDDEN  # no token is shorter than a byte
    return Ask(kind, model, body, replies, most_in, max(lengths) * replies if lengths else None, streams, hides)


def _check(body: dict[str, Any]) -> None:
    """Raise Refused where the cost of a request cannot be seen in it."""
    if body.get("background"):
        raise Refused(400, "background: nobody would tell what such a reply cost")
    for name in _ELSEWHERE:
        if body.get(name):
            raise Refused(400, f"{name}: send the whole conversation, what lies elsewhere cannot be metered")
    stack: list[Any] = [value for name, value in body.items() if name != "tools"]
    while stack:
        one = stack.pop()
        if isinstance(one, list):
            stack += one
        elif isinstance(one, dict):
            stack += [value for name, value in one.items() if (one.get("type"), name) != ("tool_use", "input")]
            link = one.get("image_url")
            link = link.get("url") if isinstance(link, dict) else link
            far = [link, one.get("url") if one.get("type") == "url" else None]
            away = any(isinstance(text, str) and not text.startswith("data:") for text in far)
            if away or any(isinstance(one.get(name), str) for name in _REFERENCES):
                raise Refused(400, "files and pictures are sent in the body, what lies elsewhere cannot be metered")


def _own(tool: Any) -> bool:
    kind = tool.get("type") if isinstance(tool, dict) else None
    return isinstance(tool, dict) and (kind is None or (isinstance(kind, str) and bool(_OWN_TOOLS.fullmatch(kind))))


def _number(body: dict[str, Any], name: str) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= _LONGEST:
        raise Refused(400, f"{name}: no usable number")
    return value

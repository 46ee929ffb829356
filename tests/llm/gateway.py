"""A gateway in front of a test server, and a client that reaches it as an agent's would."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from inner_loop.gateway.route import COMMON, Upstream, routes
from inner_loop.gateway.server import Gateway
from tests.llm.apis import ApiServer
from tests.llm.kits import kit
from tests.llm.wild import WildServer

OPENAI_KEY, ANTHROPIC_KEY = "sk-openai-0123456789", "sk-ant-9876543210"
TEXT = "It is a matter of taste, and of patience; try the smaller steps first."
PATHS = {"chat": "openai/v1/chat/completions", "responses": "openai/v1/responses", "messages": "anthropic/v1/messages"}
KINDS = tuple(PATHS)
PRICES = {"openai/m": (1.0, 2.0), "anthropic/m": (1.0, 2.0)}
MODELS = (
    "m", "openrouter/nousresearch/hermes-4-70b", "openrouter/a/m", "openrouter/a/m:free", "qwen3:7b",
    "claude-sonnet-4-5", "gpt-5", "nobody-knows",
)  # fmt: skip
UPSTREAMS = {
    **COMMON,
    "openrouter": Upstream(
        protocol="openai", url="https://openrouter.ai/api/v1", base=["OPENROUTER_BASE_URL"], keys=["OPENROUTER_API_KEY"]
    ),
}


def ours(server: ApiServer | WildServer) -> dict[str, str]:
    """The environment of a user."""
    return {
        "OPENAI_API_KEY": OPENAI_KEY, "OPENAI_BASE_URL": server.url,
        "ANTHROPIC_API_KEY": ANTHROPIC_KEY, "ANTHROPIC_BASE_URL": server.root,
        "OPENROUTER_API_KEY": OPENAI_KEY, "OPENROUTER_BASE_URL": server.url,
    }  # fmt: skip


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with ApiServer(lambda _: TEXT) as server:
        yield server


@dataclass
class Caller:
    """``events`` are the calls that were told."""

    gateway: Gateway
    client: httpx.Client
    events: list[dict[str, Any]]

    def ask(self, kind: str, **more: Any) -> httpx.Response:
        return self.client.post(PATHS[kind], json=body(kind, **more), headers=self.key(kind))

    def key(self, kind: str) -> dict[str, str]:
        token = self.gateway.token
        return {"x-api-key": token} if kind == "messages" else {"Authorization": f"Bearer {token}"}


def body(kind: str, model: str = "m", **more: Any) -> dict[str, Any]:
    text = "Say what you think of it."
    said: dict[str, Any] = {"messages": [{"role": "user", "content": text}]}
    if kind == "responses":
        said = {"input": [{"role": "user", "content": [{"type": "input_text", "text": text}]}]}
    length = {"chat": "max_tokens", "responses": "max_output_tokens", "messages": "max_tokens"}[kind]
    return {"model": model, length: 200, **said, **more}


@contextmanager
def calling(server: ApiServer | WildServer, **how: Any) -> Iterator[Caller]:
    """A gateway on its socket; ``how`` goes into the kit. Whatever is left in flight is settled at the end."""
    events: list[dict[str, Any]] = []
    context = kit(events, **{"models": MODELS} | how)
    with Gateway(UPSTREAMS, routes(UPSTREAMS, ours(server)), context, shared=False) as gateway:
        transport = httpx.HTTPTransport(uds=str(gateway.path))
        with httpx.Client(transport=transport, base_url="http://127.0.0.1/", timeout=200) as client:
            yield Caller(gateway, client, events)


def fails(kind: str) -> Callable[[int, Any], str]:
    return lambda _number, _body: kind


def said(response: httpx.Response, kind: str) -> str:
    """The text of a whole or streamed reply, as a client of the protocol reads it."""
    if not response.headers["content-type"].startswith("text/event-stream"):
        told = response.json()
        if kind == "chat":
            return str(told["choices"][0]["message"]["content"])
        return str((told if kind == "messages" else told["output"][0])["content"][0]["text"])
    events = [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: {")]
    if kind == "chat":
        return "".join(event["choices"][0]["delta"].get("content", "") for event in events)
    if kind == "messages":
        return "".join(event["delta"].get("text", "") for event in events if event["type"] == "content_block_delta")
    return "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")


def until(true: Callable[[], bool]) -> bool:
    """Whether it comes true in a while."""
    end = time.monotonic() + 200
    while time.monotonic() < end:
        with suppress(httpx.HTTPError):
            if true():
                return True
        time.sleep(0.05)
    return False

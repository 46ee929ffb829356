"""A gateway in front of a test server, and a client that reaches it as an agent's would."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from inner_loop.agent_gateway import Gateway
from inner_loop.agent_gateway_route import COMMON, routes
from tests.llm.apis import ApiServer
from tests.llm.kits import kit

OPENAI_KEY, ANTHROPIC_KEY = "sk-openai-0123456789", "sk-ant-9876543210"
PATHS = {"chat": "openai/v1/chat/completions", "responses": "openai/v1/responses", "messages": "anthropic/v1/messages"}


def ours(server: ApiServer) -> dict[str, str]:
    """The environment of a user."""
    return {
        "OPENAI_API_KEY": OPENAI_KEY, "OPENAI_BASE_URL": server.url,
        "ANTHROPIC_API_KEY": ANTHROPIC_KEY, "ANTHROPIC_BASE_URL": server.root,
    }  # fmt: skip


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
def calling(server: ApiServer, **how: Any) -> Iterator[Caller]:
    """A gateway on its socket; ``how`` goes into the kit. Whatever is left in flight is settled at the end."""
    events: list[dict[str, Any]] = []
    with Gateway(COMMON, routes(COMMON, ours(server)), kit(events, **how), shared=False) as gateway:
        transport = httpx.HTTPTransport(uds=str(gateway.socket))
        with httpx.Client(transport=transport, base_url="http://127.0.0.1/", timeout=30) as client:
            yield Caller(gateway, client, events)

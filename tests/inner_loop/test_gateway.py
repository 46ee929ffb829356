"""The gateway of model APIs, over real HTTP on both sides: what passes, and what never does."""

from __future__ import annotations

import socket
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from inner_loop.gateway.serving import private_socket
from programs.common.errors import EnvironmentProblem
from tests.llm.apis import ApiServer
from tests.llm.fixtures import litellm_loaded
from tests.llm.gateway import (
    ANTHROPIC_KEY,
    KINDS,
    OPENAI_KEY,
    PATHS,
    PRICES,
    TEXT,
    api,
    body,
    calling,
    fails,
    said,
    until,
)

__all__ = ["api", "litellm_loaded"]
pytestmark = pytest.mark.usefixtures("litellm_loaded")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_call_with_the_token_gets_the_key_and_is_metered(api: ApiServer, kind: str, stream: bool) -> None:
    with calling(api, prices=PRICES, max_usd=1.0) as caller:
        response = caller.ask(kind, stream=stream)
        assert response.status_code == 200 and said(response, kind) == TEXT
    key = f"Bearer {OPENAI_KEY}" if kind != "messages" else ANTHROPIC_KEY
    assert api.heard[0]["authorization" if kind != "messages" else "x-api-key"] == key
    assert caller.gateway.token not in str(api.heard)
    [call] = caller.events
    assert [call["tokens_in"], call["tokens_out"]] == api.billed and call["tokens"] == sum(api.billed)
    assert call["usd"] == pytest.approx(api.billed[0] * 1e-6 + api.billed[1] * 2e-6)
    about = {"kind": "call", "run_id": "r0", "number": 0, "purpose": "agent", "model": "m", "status": "ok"}
    assert {name: call[name] for name in about} == about and call["lost_tokens"] == 0 and call["finish"] == "stop"


def test_stream_without_usage_asks_for_it_unseen(api: ApiServer) -> None:
    """And what it did not ask for it is not told: some clients read `choices[0]` of every chunk."""
    with calling(api) as caller:
        bare = caller.ask("chat", stream=True)
        asked = caller.ask("chat", stream=True, stream_options={"include_usage": True})
    assert [seen["stream_options"] for seen in api.seen] == [{"include_usage": True}] * 2
    assert '"usage"' not in bare.text and '"usage"' in asked.text and bare.text.endswith("data: [DONE]\n\n")
    assert [call["tokens"] for call in caller.events] == [sum(api.billed) // 2] * 2


@pytest.mark.parametrize("kind", ["chat", "messages"])
def test_stream_is_forwarded_as_it_comes(api: ApiServer, kind: str) -> None:
    api.fault, heard = fails("slow"), 0
    with calling(api) as caller:
        asked: dict[str, Any] = {"json": body(kind, stream=True), "headers": caller.key(kind)}
        with caller.client.stream("POST", PATHS[kind], **asked) as response:
            for _ in response.iter_text():
                heard += 1
                if not api.release.is_set():
                    assert not caller.events  # half of it is here, and its end was not sent yet
                    api.release.set()
        assert heard > 1 and caller.events[0]["tokens"] == sum(api.billed)


@pytest.mark.parametrize("stream", [False, True])
def test_cached_prompt_costs_its_own_price(api: ApiServer, stream: bool) -> None:
    api.cached = 12
    with calling(api) as caller:
        caller.ask("messages", model="claude-sonnet-4-5", stream=stream)
    (call,) = caller.events
    assert call["tokens_cached"] == 12
    assert call["usd"] == pytest.approx(12 * 0.3e-6 + (call["tokens_in"] - 12) * 3e-6 + call["tokens_out"] * 15e-6)


def test_header_that_names_an_account_is_not_forwarded(api: ApiServer) -> None:
    account = {"Cookie": "a=b", "OpenAI-Organization": "org-mine", "X-Forwarded-For": "1.2.3.4",
               "Proxy-Authorization": "Basic abc", "TE": "trailers"}  # fmt: skip
    mine = account | {"Host": "evil.example", "anthropic-version": "2023-06-01", "anthropic-beta": "x"}
    with calling(api) as caller:
        for kind in ("chat", "messages"):
            caller.client.post(PATHS[kind], json=body(kind), headers=caller.key(kind) | mine)
    for heard in api.heard:
        assert heard["anthropic-version"] == "2023-06-01" and heard["host"].startswith("127.0.0.1:")
        assert not {"transfer-encoding", *map(str.lower, account)} & heard.keys()
    assert "x-api-key" not in api.heard[0] and "authorization" not in api.heard[1]


def test_request_without_the_token_of_its_run_is_refused(api: ApiServer) -> None:
    with calling(api) as caller, calling(api) as other:
        token, another = caller.gateway.token, other.gateway.token
        for headers in ({}, {"x-api-key": token[:-1]}, {"Authorization": f"Bearer {another}"}):
            response = caller.client.post(PATHS["chat"], json=body("chat"), headers=headers)
            assert response.status_code == 401 and response.json()["error"]["code"] == "invalid_api_key"
    assert not api.seen and not caller.events


def test_socket_in_a_folder_too_deep_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with pytest.raises(EnvironmentProblem, match="path too long"):
        private_socket()
    assert not list(deep.iterdir())


def test_connections_beyond_the_limit_are_503(api: ApiServer) -> None:
    with calling(api) as caller, ExitStack() as idle:
        for _ in range(70):
            one = idle.enter_context(socket.socket(socket.AF_UNIX))
            one.connect(str(caller.gateway.path))
            one.settimeout(100)
        assert b"503" in one.recv(100)  # and the others are let go when they say nothing
        idle.close()
        assert until(lambda: caller.ask("chat").status_code == 200)

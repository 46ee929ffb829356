"""Replies in pieces, as agents ask for them, from the test server: whole, cut, dropped, refused; all nine faults."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.llm.kits import KEY
from tests.llm.server import FAULTS, REFUSAL, LlmServer

SAID = "line of the reply\n" * 20
Reply = tuple[str, str | None, int]  # text, why it ended, tokens of in and out


@pytest.fixture
def server() -> Iterator[LlmServer]:
    with LlmServer(lambda _: SAID) as running:
        yield running


def stream(server: LlmServer, timeout: float = 200.0) -> Reply:
    """All pieces of one reply, by the library that most agents use."""
    from openai import OpenAI

    text, finish, tokens = "", None, 0
    with OpenAI(base_url=server.url, api_key=KEY, max_retries=0, timeout=timeout) as client:
        pieces = client.chat.completions.create(
            model="test", messages=[{"role": "user", "content": "hello?"}], stream=True,
            stream_options={"include_usage": True},
        )  # fmt: skip
        with pieces:
            for piece in pieces:
                for choice in piece.choices:
                    text += choice.delta.content or ""
                    finish = choice.finish_reason or finish
                tokens = piece.usage.total_tokens if piece.usage else tokens
    return text, finish, tokens


ANSWERED: dict[str | None, tuple[str, str]] = {
    None: (SAID, "stop"), "truncated": (SAID[: len(SAID) // 2], "length"), "refusal": (REFUSAL, "stop"),
    "empty": ("", "stop"),
}  # fmt: skip
FAILED = {"429": 429, "500": 500, "503": 503, "hang": None}
CUT = {"drop", "malformed"}


@pytest.mark.parametrize("kind", ANSWERED)
def test_a_reply_in_pieces(server: LlmServer, kind: str | None) -> None:
    server.fault = lambda *_: kind
    assert stream(server) == (*ANSWERED[kind], sum(server.billed)) and server.seen[0]["stream"] is True


@pytest.mark.parametrize("kind", FAILED)
def test_a_stream_that_never_begins_is_an_error(server: LlmServer, kind: str) -> None:
    from openai import APIError

    server.fault = lambda *_: kind
    with pytest.raises(APIError) as failed:
        stream(server, 2.0 if kind == "hang" else 200.0)
    assert getattr(failed.value, "status_code", None) == FAILED[kind]


@pytest.mark.parametrize("kind", sorted(CUT))
def test_a_stream_that_is_cut_has_no_end(server: LlmServer, kind: str) -> None:
    server.fault = lambda *_: kind
    text, finish, tokens = stream(server)
    assert SAID.startswith(text) and len(text) < len(SAID) and finish is None and tokens == 0


def test_all_faults_are_among_them() -> None:
    assert {*ANSWERED, *FAILED, *CUT} == {None, *FAULTS} and len(FAULTS) == 9

"""Limits of what a model's server may answer, for each client of HTTP that LiteLLM makes.

No redirect, because prompt and key would follow it; no compression, because a few bytes would become gigabytes; and a
number of bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx

MOST_BYTES = 8 << 20  # of a reply; the longest real ones are 20 times smaller


class Refused(Exception):
    """An answer beyond the limits; its text says which."""


def limit(library: Any) -> None:
    """Make the clients that ``library`` (LiteLLM) will make, and the one that it has, keep the limits."""
    from litellm.llms.custom_httpx.http_handler import HTTPHandler
    from litellm.llms.openai.common_utils import BaseOpenAILLM

    HTTPHandler.create_client = _limited(HTTPHandler.create_client)  # type: ignore[method-assign]
    BaseOpenAILLM._get_sync_http_client = staticmethod(  # type: ignore[method-assign]
        _limited(BaseOpenAILLM._get_sync_http_client)
    )
    _hook(library.module_level_client.client)


def _limited(make: Callable[..., Any]) -> Callable[..., httpx.Client]:
    return lambda *args: _hook(make(*args))


def _hook(client: httpx.Client) -> httpx.Client:
    client.event_hooks = {"request": [_ask_plain], "response": [_look]}
    return client


def _ask_plain(request: httpx.Request) -> None:
    request.headers["accept-encoding"] = "identity"


def _look(response: httpx.Response) -> None:
    """Called with the head of an answer, before its body is read."""
    if response.has_redirect_location:
        raise Refused("a redirect to another address, which is not followed")
    if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise Refused("a compressed reply, which was not asked for")
    response.stream = _Counted(response.stream)


class _Counted(httpx.SyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        read = 0
        for piece in self._stream:
            read += len(piece)
            if read > MOST_BYTES:
                raise Refused(f"a reply of more than {MOST_BYTES} bytes")
            yield piece

    def close(self) -> None:
        self._stream.close()

"""Limits of what a model's server may answer, for the gateway and each client of HTTP that LiteLLM makes.

No redirect, because prompt and key would follow it; no compression, because a few bytes would become gigabytes; and a
number of bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import httpx

MOST_BYTES = 8 << 20  # of a reply; the longest real ones are 20 times smaller


class Refused(httpx.RequestError):
    """An answer beyond the limits; its text says which."""


class Redirected(Refused):
    """A redirect, which is not followed."""


def limit(library: Any) -> None:
    """Make the clients that ``library`` (LiteLLM) will make, and the one that it has, keep the limits."""
    from litellm.llms.custom_httpx.http_handler import HTTPHandler
    from litellm.llms.openai.common_utils import BaseOpenAILLM

    HTTPHandler.create_client = _with_limits(HTTPHandler.create_client)  # type: ignore[method-assign]
    BaseOpenAILLM._get_sync_http_client = staticmethod(  # type: ignore[method-assign]
        _with_limits(BaseOpenAILLM._get_sync_http_client)
    )
    limited(library.module_level_client.client)


def _with_limits(make: Callable[..., Any]) -> Callable[..., httpx.Client]:
    return lambda *args: limited(make(*args))


def limited(client: httpx.Client, most: int = MOST_BYTES) -> httpx.Client:
    """The client, with the limits; ``most`` bytes of a reply."""
    client.event_hooks = {"request": [_ask_plain], "response": [partial(_look, most)]}
    return client


def _ask_plain(request: httpx.Request) -> None:
    request.headers["accept-encoding"] = "identity"


def _look(most: int, response: httpx.Response) -> None:
    """Called with the head of an answer, before its body is read."""
    if response.has_redirect_location:
        raise Redirected("a redirect to another address, which is not followed")
    if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise Refused("a compressed reply, which was not asked for")
    response.stream = _Counted(response.stream, most)


class _Counted(httpx.SyncByteStream):
    def __init__(self, stream: Any, most: int) -> None:
        self._stream, self._most = stream, most

    def __iter__(self) -> Iterator[bytes]:
        read = 0
        for piece in self._stream:
            read += len(piece)
            if read > self._most:
                raise Refused(f"a reply of more than {self._most} bytes")
            yield piece

    def close(self) -> None:
        self._stream.close()

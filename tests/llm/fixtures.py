"""Fixtures for tests that call models: LiteLLM loaded once, a server, and an environment that points to it."""

from __future__ import annotations

import gc
import inspect
from collections.abc import Iterator

import pytest

from inner_loop.models.provider import litellm
from tests.llm.kits import environment
from tests.llm.server import LlmServer

dropped = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture(scope="session")
def litellm_loaded() -> None:
    """Loading LiteLLM takes seconds, which belong to no time-out of a test."""
    litellm()


def close_connections() -> None:
    """LiteLLM keeps a client per server; those of a test go with it.

    Where threads make the first call together, each makes a client and all but one are dropped unclosed: collected
    here, while the filter below holds.
    """
    cache = litellm().in_memory_llm_clients_cache
    for client in list(cache.cache_dict.values()):
        if not inspect.iscoroutinefunction(getattr(client, "close", None)):
            client.close()
    cache.flush_cache()
    gc.collect()


@pytest.fixture
def server(litellm_loaded: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[LlmServer]:
    """A server with the scripted researcher behind it."""
    with LlmServer() as running:
        environment(monkeypatch, running.url)
        yield running
        close_connections()

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.llm.fixtures import close_connections, litellm_loaded
from tests.llm.kits import environment
from tests.llm.server import LlmServer

__all__ = ["litellm_loaded"]


@pytest.fixture
def server(litellm_loaded: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[LlmServer]:
    """A server that answers `hello`, and an environment that points to it."""
    with LlmServer(lambda _: "hello") as running:
        environment(monkeypatch, running.url)
        yield running
        close_connections()

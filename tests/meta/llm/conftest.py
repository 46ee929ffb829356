"""A server with the scripted mutator behind it."""

from __future__ import annotations

import pytest

from tests.llm import fixtures, writer
from tests.llm.server import LlmServer

litellm_loaded = fixtures.litellm_loaded
_server = fixtures.server


@pytest.fixture
def server(_server: LlmServer) -> LlmServer:
    _server.answer = writer.answer
    return _server

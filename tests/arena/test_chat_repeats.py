"""A model that has nothing else to say, under a program that wants many candidates at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from inner_loop.researchers.chat import LOST
from tests.arena.test_chat import alone
from tests.llm.fixtures import dropped, litellm_loaded, server
from tests.llm.researcher import answer
from tests.llm.server import LlmServer
from tests.llm.studies import planted

__all__ = ["litellm_loaded", "server"]
pytestmark = dropped
WAVES = "---\nmetaloop:\n  wave: 8\n---\n# Waves\n\nLower the loss.\n"


@pytest.mark.timeout(60)
def test_a_model_that_repeats_itself_is_not_asked_for_ever(tmp_path: Path, server: LlmServer) -> None:
    first: list[str] = []

    def same(body: dict[str, object]) -> str:
        first.append(first[0] if first else answer(body))
        assert len(first) < 500
        return first[-1]

    server.answer = same
    result, events = alone(planted(tmp_path / "task"), WAVES)
    asked = sum(event["kind"] == "call" for event in events)
    assert result.state == "finished" and result.experiments >= 2
    assert asked <= (LOST + 4) * result.experiments * 3

"""Usage as each API reports it: the whole prompt, and its cached parts."""

from __future__ import annotations

from typing import Any

import pytest

from inner_loop.models.provider import TokenUsage, reported

ANTHROPIC: dict[str, Any] = {
    "input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 40,
    "cache_creation": {"ephemeral_1h_input_tokens": 30, "ephemeral_5m_input_tokens": 10},
}  # fmt: skip


@pytest.mark.parametrize(
    ("usage", "found"),
    [
        (ANTHROPIC, TokenUsage(70, 5, 20, 40, 30)),  # it counts cached tokens apart
        (ANTHROPIC | {"cache_creation": {"ephemeral_1h_input_tokens": 99}}, TokenUsage(70, 5, 20, 40, 40)),
        ({"input_tokens": 0, "output_tokens": 5}, TokenUsage(0, 5)),
        (
            {"input_tokens": 10, "output_tokens": 5, "input_tokens_details": {"cached_tokens": 4}},
            TokenUsage(10, 5, 4),
        ),
        (
            {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}},
            TokenUsage(10, 5, 4),
        ),
        (  # LiteLLM, of Anthropic's
            {
                "prompt_tokens": 70, "completion_tokens": 5, "cache_creation_input_tokens": 40,
                "prompt_tokens_details": {"cached_tokens": 20, "cache_creation_tokens": 40},
            },
            TokenUsage(70, 5, 20, 40),
        ),
        ({"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 99}}, TokenUsage(10, 0, 10)),
        (ANTHROPIC | {"output_tokens": -1}, None),
        (ANTHROPIC | {"cache_read_input_tokens": True}, None),
        (ANTHROPIC | {"output_tokens": 1 << 40}, None),
        (ANTHROPIC | {"cache_creation": {"ephemeral_1h_input_tokens": "1"}}, None),
        ({"prompt_tokens": 0, "completion_tokens": 0}, None),
        ([1], None),
        (None, None),
    ],
)  # fmt: skip
def test_what_is_reported(usage: Any, found: TokenUsage | None) -> None:
    assert reported(usage) == found

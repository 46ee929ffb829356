"""Kits that point at a test server, as a user's environment would."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from inner_loop.models.client import ModelClient
from inner_loop.run_context import ModelConfig, RunContext
from tests.events import into, typed

KEY = "sk-test-0123456789abcdef"
MODEL = "openai/test"
Event = dict[str, Any]


def environment(patch: pytest.MonkeyPatch, url: str, key: str = KEY) -> None:
    """What a user of a local server sets."""
    patch.setenv("OPENAI_API_BASE", url)
    patch.setenv("OPENAI_API_KEY", key)


def staff(**how: Any) -> ModelConfig:
    """Back at once after a fault, and patient enough for a busy machine: no call of a test is given up by the way."""
    defaults: dict[str, Any] = {
        "models": (MODEL,), "call_timeout": 60.0, "patience": 1000.0, "backoff": 0.005, "reply_tokens": 500,
    }  # fmt: skip
    return ModelConfig(**(defaults | how))


def kit(
    events: list[Event] | None = None, *, run_id: str = "r0", study: Path | None = None,
    recorded: Sequence[Event] = (), record: Path | None = None, replay: Path | None = None, **how: Any,
) -> RunContext:  # fmt: skip
    """A kit whose events go to a list."""
    emit = into([] if events is None else events)
    files: dict[str, Any] = {"study": study, "record": record, "replay": replay}
    return RunContext(config=staff(**how), run_id=run_id, recorded=typed(recorded), emit=emit, **files)


def model_client(events: list[Event] | None = None, **how: Any) -> ModelClient:
    """One whose events go to a list."""
    return ModelClient(kit(events, **how), 1)

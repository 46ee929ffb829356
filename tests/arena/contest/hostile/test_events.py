"""Live updates go on after the database could not be read for a while."""

from __future__ import annotations

import asyncio

import pytest

from arena.serving import events
from arena.serving.events import Changes


@pytest.mark.parametrize("failures", [1, 3])
def test_an_exception_while_polling_does_not_end_the_updates(failures: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "LOOK_SECONDS", 0.01)
    looks = [0]

    def look() -> tuple[int, int]:
        looks[0] += 1
        if 1 < looks[0] <= 1 + failures:
            raise OSError("database is locked")
        return (looks[0] > 1 + failures, 0)

    async def read() -> list[str]:
        stream = Changes(look).stream("a")
        async with asyncio.timeout(30):
            return [await anext(stream), await anext(stream)]

    first, second = asyncio.run(read())
    assert '"board": 0' in first.lower().replace("false", "0") and "change" in second


def test_a_first_look_that_fails_ends_only_that_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "LOOK_SECONDS", 0.01)
    states = [OSError("no such table"), (1, 1), (2, 2)]

    def look() -> tuple[int, int]:
        state = states.pop(0) if len(states) > 1 else states[0]
        if isinstance(state, Exception):
            raise state
        return state  # type: ignore[return-value]

    async def read() -> str:
        changes = Changes(look)
        with pytest.raises(OSError, match="no such table"):
            await anext(changes.stream("a"))
        assert changes.readers == 0
        stream = changes.stream("b")
        async with asyncio.timeout(30):
            await anext(stream)
            return await anext(stream)

    assert '"board": 2' in asyncio.run(read())

"""One server for the attacks of one file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.arena.contest.hostile.ground import Ground, ground_in


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with ground_in(tmp_path_factory.mktemp("ground")) as found:
        yield found
        assert found.errors == []

"""The starter programs."""

from __future__ import annotations

import pytest

from programs import shelf
from programs.charter import Charter
from programs.common.errors import NotFound


def test_starters_without_a_charter_are_the_controls_alone() -> None:
    charters = {program.name: program.charter.model_dump_json() for program in shelf.starters()}
    plain = Charter().model_dump_json()
    assert {name for name, text in charters.items() if text == plain} == {"stock", "one-line"}
    assert len({*charters.values()}) == len(charters) - 2  # idea-queue and traps-first differ in their lists only
    good, both = ([idea.text for idea in shelf.starter(name).ideas] for name in ("idea-queue", "traps-first"))
    assert len(good) >= 20 and both[-len(good) :] == good and len(both) >= len(good) + 8
    with pytest.raises(NotFound) as caught:
        shelf.starter("idea-que")
    assert caught.value.hint == "did you mean idea-queue?"

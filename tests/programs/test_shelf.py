"""The starter programs."""

from __future__ import annotations

import pytest

from programs import shelf
from programs.charter import Charter
from programs.common.errors import NotFound


def test_an_unknown_starter_suggests_one() -> None:
    with pytest.raises(NotFound) as caught:
        shelf.starter("idea-que")
    assert caught.value.hint == "did you mean idea-queue?"


def test_the_controls_have_no_charter_and_the_others_are_diverse() -> None:
    charters = [program.charter for program in shelf.starters()]
    assert shelf.starter("stock").charter == shelf.starter("one-line").charter == Charter()
    assert len(shelf.starter("one-line").directives) == 1
    others = [charter.model_dump_json() for charter in charters if charter != Charter()]
    assert len(set(others)) == len(others) - 1  # idea-queue and traps-first differ in their lists only


def test_traps_first_is_the_idea_queue_behind_its_traps() -> None:
    good = [idea.text for idea in shelf.starter("idea-queue").ideas]
    both = [idea.text for idea in shelf.starter("traps-first").ideas]
    assert len(good) >= 20
    assert both[-len(good) :] == good
    assert len(both) >= len(good) + 8

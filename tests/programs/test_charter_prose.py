"""The charter as sentences: every field has one, in a section that is written anew each time."""

from __future__ import annotations

from typing import Any

import pytest

from programs.charter import Charter, Keep, fields
from programs.charter_prose import HEADING, sentences, with_sentences
from programs.program import Program
from programs.settings import set_charter

TEXT = "# Research\n\nFind a better model.\n\n## Ideas\n- try `lr=0.1`\n"
# two values of each field, and what the sentence must hold of each
VALUES: dict[str, tuple[tuple[Any, str], tuple[Any, str]]] = {
    "proposers": (({"queue": 3.0, "local": 1.0}, "every 3 ideas, make 1 of another"), ({"tpe": 1.0}, "better half")),
    "keep.rule": (("margin", "more than 1 SD"), ("paired", "same 2 fresh seeds")),
    "keep.least": ((0.002, "more than 0.002"), (0.0, "more than 0,")),
    "replicates": ((4, "4 seeds"), (1, "one seed")),
    "screen.fraction": ((0.25, "25% of the time"), (1.0, "full time at once")),
    "wave": ((6, "6 candidates"), (1, "before you make the next")),
    "confirm": ((0.2, "last 20% of the budget"), (0.0, "whole budget on the search")),
    "no_repeat": ((True, "Never run the same code twice"), (False, "may be run again")),
    "avoid_failures": ((True, "Never try a value again"), (False, "may be tried again")),
    "doubt_ideas": ((True, "the less often take one"), (False, "however many of them fail")),
    "focus": ((["optimizer", "model"], "optimizer, model"), ([], "Any setting")),
    "simplicity": ((0.01, "gain 0.01 units"), (0.0, "does not count")),
    "history": ((50, "last 50 experiments"), (0, "without looking")),
    "standups": ((0, "never see"), (6, "every 6 experiments")),
}
WITH_ANOTHER = {"version", "keep.margin", "keep.pairs", "screen.promote"}  # said by another field's sentence


def of(text: str, given: str = "") -> list[str]:
    names = [given] if given else [name for name, _ in fields()]
    return sentences(Program.parse(text).charter, names)


def test_every_field_of_the_charter_is_known() -> None:
    assert {name for name, _ in fields()} == {*VALUES, *WITH_ANOTHER}


@pytest.mark.parametrize("field", VALUES)
def test_a_field_that_is_set_is_one_sentence(field: str) -> None:
    for value, wanted in VALUES[field]:
        (said,) = of(set_charter(TEXT, field, value), field)
        assert wanted in said and said.endswith(".") and "\n" not in said


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"keep.rule": "margin", "keep.margin": 2.5}, ["more than 2.5 SD"]),
        ({"keep.margin": 2.5}, ["however little"]),
        ({"keep.rule": "paired", "keep.pairs": 3}, ["same 3 fresh seeds"]),
        ({"screen.fraction": 0.5, "screen.promote": 0.1}, ["50% of the time", "best 10%"]),
        ({"screen.promote": 0.1}, []),
        ({"proposers": {"queue": 0.25, "random": 0.75}}, ["after each idea, make 3 of another kind: a random change"]),
        ({"proposers": {"queue": 1e6, "local": 1e-11}}, ["one in each experiment."]),
        ({"proposers": {"queue": 1e-9, "local": 1.0}}, ["In each experiment, try a small step"]),
        ({"proposers": {"random": 1, "local": 3}}, ["one setting (in 25% of cases) or a small step"]),
    ],
)
def test_what_the_sentences_of_some_settings_contain(settings: dict[str, Any], wanted: list[str]) -> None:
    text = TEXT
    for field, value in settings.items():
        text = set_charter(text, field, value)
    said = with_sentences(text)
    assert all(each in said for each in wanted)
    assert said.count("\n- ") - text.count("\n- ") == len(wanted)


def test_parts_of_other_packages_have_a_sentence_too() -> None:
    own = Charter().model_copy(update={"proposers": {"my-own": 1.0}, "keep": Keep.model_construct(rule="my-own")})
    source, rule = sentences(own, ["proposers", "keep.rule"])
    assert "what the proposer my-own proposes" in source and "by the rule my-own" in rule


def test_the_section_is_written_anew_and_nothing_else_changes() -> None:
    once = with_sentences(set_charter(set_charter(TEXT, "wave", 6), "confirm", 0.2))
    assert with_sentences(once) == once and once.count(HEADING) == 1 and once.index("Ideas") < once.index(HEADING)
    assert "6 candidates" in once and "last 20%" in once and Program.parse(once).charter.wave == 6
    again = with_sentences(set_charter(once, "wave", 9))
    assert "9 candidates" in again and "6 candidates" not in again and again.count(HEADING) == 1
    assert with_sentences(again.replace("\n", "\r\n")) == again.replace("\n", "\r\n")


def test_without_settings_the_text_stays() -> None:
    for text in (TEXT, "no newline at the end", "---\nother: tool\n---\n# x\n"):
        assert with_sentences(text) == text

"""Sentences with their numbers and lines."""

from __future__ import annotations

import pytest

from meta.conformance.markdown import FIXTURES
from programs.sentences import sentences_of, split
from programs.shelf import starters


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("Use 0.25 of it. Then stop", ["Use 0.25 of it.", "Then stop"]),
        ("Rates, e.g. Adam's, i.e. 0.1. Go", ["Rates, e.g. Adam's, i.e. 0.1.", "Go"]),
        ('Say "a. B" and `x. Y` once. Go.', ['Say "a. B" and `x. Y` once.', "Go."]),
        ("He said (well.) Then `x`. `y` too.", ["He said (well.)", "Then `x`.", "`y` too."]),
        ("学習率を変える。良ければ残す。", ["学習率を変える。", "良ければ残す。"]),
        ('An open " quote. Next.', ['An open " quote.', "Next."]),
        ("", []),
    ],
)
def test_where_a_sentence_ends(text: str, parts: list[str]) -> None:
    assert list(split(text)) == parts


def test_lines_are_those_of_the_file_whatever_stands_around() -> None:
    text = (
        "---\nmetaloop:\n  wave: 2\n---\n# Title\n\n<!-- Hidden. -->\n\nOne is\nhere. Two\nis there. Three.\n\n"
        "- Item one.\n  More. Last.\n  - Nested. Deep.\n\n  Para of one.\n\n> Quoted one.\n> Two\n> of it.\n\n"
        "```bash\nrun me\n\nagain\n```\n\n| a | b |\n|---|---|\n| c. | d |\n"
    )
    found = sentences_of(text)
    assert [s.number for s in found] == list(range(1, len(found) + 1))
    assert [(s.line, s.text) for s in found] == [
        (5, "Title"), (9, "One is here."), (10, "Two is there."), (11, "Three."), (13, "Item one."), (14, "More."),
        (14, "Last."), (15, "Nested."), (15, "Deep."), (17, "Para of one."), (19, "Quoted one."), (20, "Two of it."),
        (24, "run me"), (26, "again"), (29, "a | b"), (31, "c. | d"),
    ]  # fmt: skip


@pytest.mark.parametrize("text", [*FIXTURES.values(), *(p.text for p in starters())])
def test_every_sentence_begins_in_its_line(text: str) -> None:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for said in sentences_of(text):
        assert said.text and "\n" not in said.text
        first = "".join(said.text.split())[:6]
        nearby = "".join("".join(lines[said.line - 1 : said.line + 1]).split()).replace(">", "")
        assert first.replace(">", "") in nearby, said

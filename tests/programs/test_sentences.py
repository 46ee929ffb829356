"""Where a program's sentences begin and end."""

from __future__ import annotations

import pytest

from programs.sentences import sentences_of, split
from programs.shelf import starters
from tests.programs.markdown import FIXTURES


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


def test_the_sentences_of_each_kind_of_block_in_order() -> None:
    text = (
        "---\nmetaloop:\n  wave: 2\n---\n# Title\n\n<!-- Hidden. -->\n\nOne is\nhere. Two\nis there. Three.\n\n"
        "- Item one.\n  More. Last.\n  - Nested. Deep.\n\n  Para of one.\n\n> Quoted one.\n> Two\n> of it.\n\n"
        "```bash\nrun me\n\nagain\n```\n\n| a | b |\n|---|---|\n| c. | d |\n"
    )
    assert sentences_of(text) == [
        "Title", "One is here.", "Two is there.", "Three.", "Item one.", "More.", "Last.", "Para of one.", "Nested.",
        "Deep.", "Quoted one.", "Two of it.", "run me", "again", "a | b", "c. | d",
    ]  # fmt: skip


@pytest.mark.parametrize("text", [*FIXTURES.values(), *(p.text for p in starters())])
def test_every_sentence_is_in_the_text(text: str) -> None:
    squeezed = "".join(text.split()).replace(">", "")
    for said in sentences_of(text):
        assert said and "\n" not in said
        assert "".join(said.split())[:6].replace(">", "") in squeezed, said

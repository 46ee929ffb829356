"""Edits are read to the letter: what is not exactly right is an error that says what to do."""

from __future__ import annotations

import pytest

from inner_loop.chat.reply import BadEdit, parse
from trainer.source import Source

TEXT = "a = 1\nb = 2\n\ndef f():\n    a = 1\n    return a\n"
SOURCE = Source((("train.py", TEXT), ("model.py", "x = 1\n")))
TWICE = Source((*SOURCE.files, ("twice.py", "d = 1\nd = 1\n")))


def block(old: str, new: str, name: str = "train.py") -> str:
    return f'<edit file="{name}">\n<<<<<<< SEARCH\n{old}\n=======\n{new}\n>>>>>>> REPLACE\n</edit>'


def edited(reply: str, name: str = "train.py") -> str:
    return parse(reply).apply(SOURCE).text(name)


@pytest.mark.parametrize(
    ("reply", "old", "new"),
    [
        (block("b = 2", "b = 3"), "b = 2", "b = 3"),
        (block("b = 2", "b = 3").replace("\n", "\r\n"), "b = 2", "b = 3"),
        (block("a = 1\nb = 2", "c = 3\nc = 4"), "a = 1\nb = 2", "c = 3\nc = 4"),
        (block("b = 2", ""), "b = 2\n", ""),
        (block("b = 2", "b = 3\n=======").replace("=======\n>>>", "#\n>>>"), "b = 2", "b = 3\n#"),
        (block("b = 2", "b = 3") + "\n" + block("x = 1", "x = 2", "model.py"), "b = 2", "b = 3"),
    ],
)
def test_block_of_a_reply_replaces_its_lines(reply: str, old: str, new: str) -> None:
    assert edited(reply) == TEXT.replace(old, new, 1)
    assert edited(reply, "model.py") == ("x = 2\n" if "model.py" in reply else "x = 1\n")


def test_file_of_a_reply_is_whole_and_blocks_follow_each_other() -> None:
    assert edited('<file name="model.py">\ny = 2\nz = 3\n</file>', "model.py") == "y = 2\nz = 3\n"
    two = block("b = 2", "b = 3\nc = 3")[: -len("\n</edit>")] + "\n" + block("c = 3", "c = 4").split("\n", 1)[1]
    assert edited(two) == TEXT.replace("b = 2", "b = 3\nc = 4")


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        ("I'm sorry, but I can't help with that.", "contains no <edit"),
        ("", "contains no <edit"),
        (block("z = 9", "z = 1"), "occurs 0 times"),
        (block("d = 1", "d = 2", "twice.py"), "occurs 2 times"),
        (block("a = 1\n    return a", "x"), "occurs 0 times"),
        (block("= 2", "= 3"), "occurs 0 times"),
        (block("    a = 1", "    a = 1"), "changes nothing"),
        (block("", "x"), "search text is empty"),
        (block("b = 2", "b = 3", "prepare.py"), "is not editable; these files are: model.py, train.py"),
        (block("b = 2", "b = 3", "../../etc/passwd"), "is not editable"),
        (block("b = 2", "b = 3")[:-8], "no </edit>"),
        ('<file name="train.py">\nx = 1', "no </file>"),
        ('<edit file="train.py">\nb = 3\n</edit>', "a block is"),
        ('<edit file="train.py">\n</edit>', "contains no block"),
        (f'<file name="train.py">\n{"x = 1  # long" * 6000}\n</file>', "limit for all files together is 65536"),
    ],
)
def test_what_cannot_be_carried_out_says_why(reply: str, told: str) -> None:
    with pytest.raises(BadEdit, match=told):
        parse(reply).apply(TWICE if "twice" in reply else SOURCE)


def test_reply_applies_to_a_changed_source_where_its_lines_stand() -> None:
    kept = SOURCE.with_text("train.py", TEXT.replace("b = 2", "b = 9\nc = 1"))
    assert parse(block("a = 1\nb = 2", "a = 3\nb = 2")).apply(SOURCE).text().startswith("a = 3\nb = 2")
    with pytest.raises(BadEdit, match="occurs 0 times"):
        parse(block("a = 1\nb = 2", "a = 3\nb = 2")).apply(kept, SOURCE)
    both = parse(block("    return a", "    return 2 * a")).apply(kept, SOURCE).text()
    assert both == kept.text().replace("return a", "return 2 * a")
    whole = '<file name="{}">\ny = 2\n</file>'
    assert parse(whole.format("model.py")).apply(kept, SOURCE).text("model.py") == "y = 2\n"
    with pytest.raises(BadEdit, match=r"train\.py has changed since you saw it"):
        parse(whole.format("train.py")).apply(kept, SOURCE)


def test_fields_of_a_reply_are_bounded_and_not_read_inside_edits() -> None:
    inside = block("b = 2", "b = 3  # <title>no</title> <note>no</note>")
    said = f"<title>{'t' * 500}\x1b[31m</title><follows>d3, q1 d3 nonsense d999999</follows><note>a\nb</note>"
    answer = parse(said + "".join(f"<idea>{n}</idea>" for n in range(9)) + "\n" + inside)
    assert len(answer.title) == 120 and "\x1b" not in answer.title
    assert answer.follows == ("d3", "q1") and answer.note == "a b" and answer.ideas == ("0", "1", "2")
    assert parse(f"<note>{'n' * 600}</note>\n{inside}").note == "n" * 499 + "…"
    assert parse(inside).title == "" and parse(inside).note == ""

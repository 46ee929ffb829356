"""Program.parse over programs of many shapes."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import pytest

from programs.common.errors import NotFound, ProgramError
from programs.common.ids import content_id, normalise
from programs.common.text import MAX_BYTES
from programs.folder import load
from programs.program import Program
from tests.programs.markdown import FIXTURES, MIXED

EVERY = pytest.mark.parametrize("text", FIXTURES.values(), ids=FIXTURES.keys())


@EVERY
def test_program_of_any_shape_is_read_and_keeps_its_bytes(text: str, tmp_path: Path) -> None:
    path = tmp_path / "program.md"
    path.write_bytes(text.encode())
    program = load(path)
    assert program.raw == path.read_bytes() and (program.name == "program" or "name:" in text)
    assert program.program_id == content_id("p", normalise(text.removeprefix("\ufeff")))
    ids, lines = ([getattr(d, name) for d in program.directives] for name in ("directive_id", "line"))
    assert len(set(ids)) == len(ids) and [d.position for d in program.directives] == list(range(len(ids)))
    assert lines == sorted(lines)
    assert all(1 <= line <= text.count("\n") + text.count("\r") + 1 for line in lines)


@EVERY
def test_ids_do_not_depend_on_trailing_blanks_or_line_ends(text: str) -> None:
    if "\r" in text:
        return
    program = Program.parse(text)
    for other in (text.replace("\n", "\r\n"), text.replace("\n", " \n")):  # two blanks would be a hard break
        again = Program.parse(other)
        assert again.program_id == program.program_id
        assert [d.directive_id for d in again.directives] == [d.directive_id for d in program.directives]


@pytest.mark.parametrize(
    ("one", "other", "which"),
    [
        ("a b\nc d\n", "a\nb c d\n", 1),
        ("# Local\n\n## Loop\n\nGo on.\n", "# Careful\n\n## Loop\n\nGo on.\n", 1),  # a title heads nothing
        ("- same\n", "- same\n- same\n- same\n", 1),  # the first one; the others get an ordinal
    ],
    ids=["wrapped", "title", "twice"],
)
def test_directives_whose_ids_stay(one: str, other: str, which: int) -> None:
    first, second = ([d.directive_id for d in Program.parse(text).directives] for text in (one, other))
    assert first[:which] == second[:which] and len(first) == which


def test_ids_of_other_parts_differ() -> None:
    """Each part stands with its length before it: moved letters and empty parts make another id."""
    told = [("ab", "c"), ("a", "bc"), ("abc",), ("abc", ""), ("", "abc"), ("a", "b", "c")]
    assert len({content_id("p", *parts) for parts in told}) == len(told)
    assert content_id("p", "ab", "c") == content_id("p", b"ab", b"c")
    assert Program.parse("Go.").program_id == Program.parse("Go.  \n\n").program_id
    assert Program.parse("e\u0301").program_id == Program.parse("\u00e9").program_id
    assert Program.parse("\ufeffGo.").program_id == Program.parse("Go.").program_id


def test_mixed_program_is_read_as_its_directives() -> None:
    program = Program.parse(MIXED)
    assert [(d.heading, d.kind, d.text) for d in program.directives] == [
        ("charter", "charter", 'proposers: {"queue": 0.7, "local": 0.3}'),
        ("charter", "charter", "screen.fraction: 0.25"),
        ("", "paragraph", "Intro text wrapped here."),
        ("Setup", "item", "one `a`\n\nsecond paragraph"),
        ("Setup", "item", "nested"),
        ("Setup", "item", "[ ] two"),
        ("Setup", "paragraph", "quoted text"),
        ("Setup", "table-row", "a | b"),
        ("Setup", "table-row", "1 | `x`"),
        ("Setup", "table-row", "2 | y"),
        ("Setup", "code", "bash\nls"),
        ("Setup > Ideas", "order", "\n".join(idea.directive_id for idea in program.ideas)),
        ("Setup > Ideas", "idea", "Try `lr=2e-3`, `momentum=0.9`."),
        ("Setup > Ideas", "idea", "Second"),
        ("Setup > Ideas", "paragraph", "<!-- a comment -->"),
    ]
    assert [idea.terms for idea in program.ideas] == [("lr=2e-3", "momentum=0.9"), ()]
    by_id = {d.directive_id: (d.text, d.line) for d in program.directives}
    assert all(by_id[idea.directive_id] == (idea.text, idea.line) for idea in program.ideas)


@pytest.mark.parametrize("heading", ["# Ideas", "###### IDEAS", "## 3. ideas:", "## **Ideas**", "Ideas\n-----"])
def test_heading_of_ideas_in_any_dress_is_known(heading: str) -> None:
    assert len(Program.parse(f"# T\n\n## S\n\n{heading}\n\n- `a=1`\n- b\n").ideas) == 2


def test_headings_below_that_of_ideas_have_ideas_and_others_none() -> None:
    program = Program.parse("## Ideas\n\n### Optimizer\n- `a=1`\n  - `b=2`\n\n## Else\n- `c=3`\n")
    assert [idea.terms for idea in program.ideas] == [("a=1",), ("b=2",)]
    assert not Program.parse("## Ideas of others\n\n- `a=1`\n").ideas
    assert Program.parse("# A\n\nx\n\n# B\n\ny\n").directives[0].heading == "A"


def test_words_of_unspaced_scripts_are_counted() -> None:
    assert Program.parse("Keep what's better, don't-stop 0.5.").words == 5
    assert Program.parse("学習率を下げて試す").words == 5
    assert Program.parse("---\nmetaloop: {wave: 2}\n---\nGo on\n").words == 2


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "p.md:1: the file is empty"),
        (b" \n\t\n", "p.md:1: the file is empty"),
        (b"ok\n\xff\n", "p.md:2: byte 0xff is not UTF-8"),
        (b"a\nb\n\0\n", "p.md:3: the file is binary (NUL byte)"),
        (b"\x89PNG\r\n\x1a\n", "p.md:1: byte 0x89 is not UTF-8"),
        ("text".encode("utf-16"), "p.md:1: the file is binary (NUL byte)"),
        (b"x" * (MAX_BYTES + 1), "p.md:1: the file is larger than 262,144 bytes, the maximum for a program"),
        (b"---\nmetaloop:\n  wave: 2\n\nbody\n", "p.md:1: the front matter is not closed"),
    ],
)
def test_file_that_is_no_program_is_an_error_with_its_place(raw: bytes, message: str) -> None:
    with pytest.raises(ProgramError) as caught:
        Program.parse(raw, "p.md")
    assert caught.value.message == message
    assert caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "# " + "." * 200_000 + " x\n",
        "- a" + " " * 200_000 + "b\n",
        "---\nmetaloop: {wave: " + "{" * 100_000 + "\n---\n",
    ],
    ids=["dots in a heading", "blanks in an item", "brackets in the charter"],
)
def test_time_to_read_does_not_grow_with_the_square(text: str) -> None:
    began = time.process_time()
    with suppress(ProgramError):
        Program.parse(text)
    assert time.process_time() - began < 20


def test_path_without_a_file_is_no_program(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such file"):
        load(tmp_path / "none.md")
    with pytest.raises(ProgramError):
        load("/dev/zero")


@pytest.mark.parametrize("path", ["../up.md", "/abs.md", "program.md", "a//b.md", "script.py", ""])
def test_further_file_that_is_no_markdown_beneath_is_refused(path: str) -> None:
    with pytest.raises(ProgramError, match="not a markdown file of a program"):
        Program.parse("Go.\n", others={path: "x\n"})

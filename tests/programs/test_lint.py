"""Lint: what is said, at which line, how loud."""

from __future__ import annotations

from pathlib import Path

import pytest

from programs import shelf
from programs.lint import CODES, LintMessage, check, lint
from programs.measured import MeasuredSentence, measured_sentences
from programs.program import Program
from tests.programs.markdown import FIXTURES

HEAD = "---\nmetaloop:\n"


@pytest.mark.parametrize(
    ("text", "line", "level", "code"),
    [
        (HEAD + "  keep: {margin: 2.0}\n---\nGo.\n", 3, "warning", "no-effect"),
        (HEAD + "  wave: 6\n  screen: {promote: 0.2}\n---\nGo.\n", 4, "warning", "no-effect"),
        (HEAD + "  proposers: {queue: 1}\n---\nGo.\n", 3, "warning", "no-effect"),
        (HEAD + "  wave: 2\n---\n", 5, "warning", "no-prose"),
        ("---\nMetaloop:\n  wave: 2\n---\nGo.\n", 2, "warning", "settings-ignored"),
        ("---\ntitle: A\nmetalop:\n  wave: 2\n---\nGo.\n", 3, "warning", "settings-ignored"),
        ("# hi\n\n---\nmetaloop:\n  wave: 3\n---\nGo.\n", 4, "warning", "settings-ignored"),
        (HEAD + "  wave: 3\n---\nGo.\n\n---\nmetaloop:\n  wave: 4\n---\n", 8, "warning", "settings-ignored"),
        ("\nmetaloop:\nwave: 3\n\nGo.\n", 2, "warning", "settings-ignored"),
        ("## Ideas\n\n- `a=1`\n", 3, "info", "ideas-not-queued"),
        ("## Ideas\n\n- think\n", 3, "info", "no-edit"),
        ("## Ideas\n\n- `a=1\n", 3, "warning", "open-backtick"),
        ("## Ideas\n\n- `a=1 and `b=2` (don`t)\n", 3, "warning", "open-backtick"),
        ("## Ideas\n\n- `a=1` then `A=2`\n", 3, "warning", "set-twice"),
        (HEAD + "  wave: 2\nreplicates: 2\n---\nGo.\n", 4, "warning", "settings-ignored"),
        ("## My ideas\n\n- Set `a=1`.\n", 1, "warning", "heading-not-ideas"),
        ("## The ideas:\n\n### Rates\n\n- Set `a=1`.\n", 1, "warning", "heading-not-ideas"),
        ("## Ideas\n\nSoon.\n", 1, "info", "no-list"),
        ("## Ideas\n\n- Set `lr=2`.\n- ```\n  lr=3\n  ```\n", 4, "info", "code-no-idea"),
        ("## Ideas\n\n- <script>alert(1)</script>\n", 3, "info", "no-edit"),
        ("a\n\n```\ncode\n", 3, "warning", "open-fence"),
    ],
)
def test_each_message_has_its_line(text: str, line: int, level: str, code: str) -> None:
    found = {(m.line, m.level, m.code) for m in lint(Program.parse(text))}
    assert (line, level, code) in found


OPENS_NO_EDIT = ("`a=1` (don`t)", "don`t: `a=1`", "`muon`and don`t", r"a \` and `a=1`", "``a ` b`` `a=1`")
OF_OTHER_TOOLS = ("metadata: x", "loop: x", "history: 3\nversion: 1", "metaloop: {wave: 2}\nscreen: x\nhistory: 3")
ABOUT_IDEAS = ("Do not try these ideas", "Ideas that failed before", "How to choose ideas")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        *((f"## Ideas\n\n- {idea}\n", "open-backtick") for idea in OPENS_NO_EDIT),
        *((f"---\n{front}\n---\nGo.\n", "settings-ignored") for front in OF_OTHER_TOOLS),
        ("Go.\n\n```yaml\n---\nmetaloop:\n  wave: 3\n---\n```\n", "settings-ignored"),  # shown as code
        *((f"## {title}\n\n- Not `a=1`.\n", "heading-not-ideas") for title in ABOUT_IDEAS),
        ("## Idea\n\n- Read `train.py`.\n", "heading-not-ideas"),
    ],
)
def test_text_that_only_looks_like_a_mistake_has_no_message(text: str, code: str) -> None:
    assert code not in {m.code for m in lint(Program.parse(text))}


def test_terms_that_a_task_lacks() -> None:
    program = Program.parse(HEAD + "  proposers: {queue: 1}\n---\n## Ideas\n- `lr=1`\n- `depth=2`\n")
    messages = lint(program, unread=lambda term: "" if term.startswith("lr") else f"no edit `{term}`")
    assert messages == [LintMessage(7, "warning", "unknown-term", "no edit `depth=2`: idea skipped")]


def test_check_turns_what_is_no_program_into_a_message() -> None:
    assert [(m.line, m.level, m.code) for m in check(b"ok\n\xff", "p.md")] == [(2, "error", "unreadable")]
    (message,) = check(HEAD + "  wave: 0\n---\nGo.\n", "p.md")
    assert (message.line, message.message) == (3, "wave: Input should be greater than or equal to 1, not 0")


def test_text_without_settings_and_ideas_runs_like_stock() -> None:
    text = "# A\n\n- Try a larger batch.\n- Keep what helps.\n"
    (said,) = lint(Program.parse(text))
    assert (said.line, said.level, said.code) == (1, "info", "like-stock")
    for other in (HEAD + "  wave: 2\n---\n" + text, text + "\n## Ideas\n\n- Set `lr=1`.\n"):
        assert "like-stock" not in {m.code for m in lint(Program.parse(other))}
    found = [(program.name, m.code) for program in shelf.starters() for m in lint(program)]
    found = [message for message in found if message[1] != "measured"]
    assert found == [("one-line", "like-stock"), ("stock", "like-stock")]


@pytest.mark.parametrize("tag", ["<script>alert(1)</script>", "<!-- first -->", "<div>"])
def test_idea_that_begins_with_a_tag_is_an_idea(tag: str) -> None:
    ideas = Program.parse(f"## Ideas\n\n- Set `lr=2`.\n- {tag} Set `lr=1`.\n- Set `lr=3`.\n").ideas
    assert [idea.terms for idea in ideas] == [("lr=2",), ("lr=1",), ("lr=3",)]


def test_every_code_is_tested_here_or_beside_what_it_is_about() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parents[1].rglob("test_*.py"))
    assert [code for code in CODES if f'"{code}"' not in tests] == []


@pytest.mark.parametrize("text", FIXTURES.values(), ids=FIXTURES.keys())
def test_messages_come_in_order_and_none_is_an_error(text: str) -> None:
    messages = lint(Program.parse(text), unread=lambda term: f"no edit `{term}`")
    assert [m.line for m in messages] == sorted(m.line for m in messages)
    assert all(m.level != "error" for m in messages)


@pytest.mark.parametrize("measured", measured_sentences())
def test_measured_sentence_is_named_with_its_effect(measured: MeasuredSentence) -> None:
    found = [m for m in lint(Program.parse(f"# Mine\n\n- Go.\n- {measured.text}\n", "mine")) if m.code == "measured"]
    if measured.alike is None:
        assert not found
        return
    [message] = found
    assert (message.line, message.level) == (4, "info") and message.message.startswith(f"like {measured.text!r}")
    assert f"{measured.effect:+.2f} a turn [{measured.low:+.2f}, {measured.high:+.2f}]" in message.message


def test_measured_sentence_is_known_by_other_words() -> None:
    text = HEAD + "  wave: 2\n---\n# Mine\n\nDo NOT   stop\nto ask. Keep simple things.\n\n1. State a hypothesis.\n"
    assert [(m.line, m.message.split("'")[1]) for m in lint(Program.parse(text, "mine")) if m.code == "measured"] == [
        (7, "Never stop and never ask: nobody is watching."),
        (10, "Write down your hypothesis and the effect that you expect before each change."),
    ]

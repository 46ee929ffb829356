"""Lint: what is said, at which line, how loud."""

from __future__ import annotations

import pytest

from programs import shelf
from programs.lint import UNMARKED, LintMessage, check, lint, unmarked_settings
from programs.program import Program
from tests.programs.markdown import FIXTURES

HEAD = "---\nmetaloop:\n"


@pytest.mark.parametrize(
    ("text", "line", "level", "code"),
    [
        (HEAD + "  keep: {margin: 2.0}\n---\nGo.\n", 3, "warning", "no-effect"),
        (HEAD + "  keep: {rule: margin, pairs: 2}\n---\nGo.\n", 3, "warning", "no-effect"),
        (HEAD + "  wave: 6\n  screen: {promote: 0.2}\n---\nGo.\n", 4, "warning", "no-effect"),
        (HEAD + "  screen: {fraction: 0.2}\n---\nGo.\n", 3, "warning", "no-effect"),
        (HEAD + "  proposers: {queue: 1}\n---\nGo.\n", 3, "warning", "no-effect"),
        (HEAD + "  phases:\n  - until: 0.5\n    keep: {pairs: 3}\n  - wave: 2\n---\nGo.\n", 5, "warning", "no-effect"),
        (
            HEAD + "  phases:\n  - until: 0.5\n    wave: 2\n  - until: 0.6\n    wave: 2\n  - {}\n---\nGo.\n",
            6,
            "warning",
            "no-effect",
        ),
        (HEAD + "  confirm: 0.2\n  phases:\n  - until: 0.8\n  - wave: 2\n---\nGo.\n", 6, "warning", "no-effect"),
        (HEAD + "  wave: 3\n  phases:\n  - {until: 0.8, wave: 1}\n  - wave: 2\n---\nGo.\n", 3, "warning", "no-effect"),
        (HEAD + "  wave: 2\n---\n", 5, "warning", "no-prose"),
        ("---\nMetaloop:\n  wave: 2\n---\nGo.\n", 2, "warning", "not-ours"),
        ("---\ntitle: A\nmetalop:\n  wave: 2\n---\nGo.\n", 3, "warning", "not-ours"),
        ("---\nproposers: {queue: 1}\n---\nGo.\n", 2, "warning", "not-ours"),
        ("# hi\n\n---\nmetaloop:\n  wave: 3\n---\nGo.\n", 3, "warning", "charter-not-first"),
        ("\n" + HEAD + "  wave: 3\n---\nGo.\n", 2, "warning", "charter-not-first"),
        (HEAD + "  wave: 3\n---\nGo.\n\n---\nmetaloop:\n  wave: 4\n---\n", 7, "warning", "charter-not-first"),
        ("\nmetaloop:\nwave: 3\n\nGo.\n", 2, "warning", "charter-unmarked"),
        ("## Ideas\n\n- `a=1`\n", 3, "info", "ideas-not-queued"),
        ("## Ideas\n\n- think\n", 3, "info", "no-term"),
        ("## Ideas\n\n- `a=1\n", 3, "warning", "open-backtick"),
        ("## Ideas\n\n- `a=1` and `b=2\n", 3, "warning", "open-backtick"),
        ("## Ideas\n\n- `a=1` then `A=2`\n", 3, "warning", "set-twice"),
        (HEAD + "  wave: 2\nreplicates: 2\n---\nGo.\n", 4, "warning", "not-ours"),
        (HEAD + "  wave: 2\nscreen:\n  fraction: 0.2\n---\nGo.\n", 4, "warning", "not-ours"),
        ("# A\n\n## Idea\n\n- `a=1`\n", 3, "warning", "heading-not-ideas"),
        ("## My ideas\n\n- Set `a=1`.\n", 1, "warning", "heading-not-ideas"),
        ("## The ideas:\n\n### Rates\n\n- Set `a=1`.\n", 1, "warning", "heading-not-ideas"),
        (HEAD + "  wave: 2\nreplicates: two\n---\nGo.\n", 4, "warning", "not-ours"),
        (HEAD + "  wave: 2\nproposers: {queue: 1\n---\nGo.\n", 4, "warning", "not-ours"),
        (HEAD + "  wave: 2\nphases:\n- until: 0.5\n  wave: 2\n- wave: 3\n---\nGo.\n", 4, "warning", "not-ours"),
        ("## Ideas\n\nSoon.\n", 1, "info", "no-list"),
        ("- one\n- two\n- one\n", 3, "warning", "repeated"),
        ("# T\n\n## Empty\n\n## Full\n\nx\n", 3, "info", "empty-section"),
        ("Improve {metric}.\n", 1, "info", "placeholder"),
        ("a\n\n```\ncode\n", 3, "warning", "open-fence"),
        ("word " * 2001, 1, "info", "long"),
    ],
)
def test_each_message_has_its_line(text: str, line: int, level: str, code: str) -> None:
    found = {(m.line, m.level, m.code) for m in lint(Program.parse(text))}
    assert (line, level, code) in found


@pytest.mark.parametrize(
    "idea", ["`a=1` (don`t)", "don`t: `a=1`", "`muon`and don`t", r"a \` and `a=1`", "``a ` b`` `a=1`"]
)
def test_a_backtick_that_opens_no_edit_is_not_an_open_one(idea: str) -> None:
    assert "open-backtick" not in {m.code for m in lint(Program.parse(f"## Ideas\n\n- {idea}\n"))}
    assert "open-backtick" in {m.code for m in lint(Program.parse("## Ideas\n\n- `a=1 and `b=2` (don`t)\n"))}


@pytest.mark.parametrize(
    "front",
    ["metadata: x", "loop: x", "history: 3\nversion: 1", "metaloop: {wave: 2}\nscreen: x\nphases:\n- dev\nhistory: 3"],
)
def test_keys_of_other_tools_are_left_alone(front: str) -> None:
    assert "not-ours" not in {m.code for m in lint(Program.parse(f"---\n{front}\n---\nGo.\n"))}


@pytest.mark.parametrize("title", ["Do not try these ideas", "Ideas that failed before", "How to choose ideas"])
def test_a_heading_about_ideas_need_not_be_their_list(title: str) -> None:
    assert "heading-not-ideas" not in {m.code for m in lint(Program.parse(f"## {title}\n\n- Not `a=1`.\n"))}
    assert "heading-not-ideas" not in {m.code for m in lint(Program.parse("## Idea\n\n- Read `train.py`.\n"))}


@pytest.mark.parametrize("bracket", ["{queue: 1", "[queue, local"])
def test_an_open_bracket_is_named_where_it_was_opened(bracket: str) -> None:
    (said,) = check(f"{HEAD}  proposers: {bracket}\n  wave: 2\n---\nGo.\n", "p.md")
    assert said.line == 3 and f"the {bracket[0]} opened here is not closed" in said.message


@pytest.mark.parametrize(
    ("shares", "line"),
    [("{queue: 1 local: 2}", 3), ("{queue: 1; local: 2}", 3), ("{\n    queue: 1\n    local: 2\n  }  # }", 5)],
)
def test_a_missing_comma_is_no_open_bracket(shares: str, line: int) -> None:
    (said,) = check(f"{HEAD}  proposers: {shares}\n  wave: 2\n---\nGo.\n", "p.md")
    assert said.line == line and said.message.startswith("expected ',' or '}'")


def test_errors_are_among_the_other_messages_by_line() -> None:
    text = "---\nmetalop: 1\nmetaloop:\n  wave: 0\n---\nImprove {metric}.\n"
    assert [(m.line, m.level) for m in check(text, "p.md")] == [
        (2, "warning"),
        (4, "error"),
        (6, "info"),
    ]


def test_a_misspelt_key_is_told_the_right_one() -> None:
    told = [m.message for m in lint(Program.parse("---\nmetalop:\n  wave: 2\n---\nGo.\n")) if m.code == "not-ours"]
    assert len(told) == 1 and told[0].endswith("did you mean metaloop?")


def test_settings_without_dashes_are_given_as_they_have_to_be_typed() -> None:
    right = ["---", "metaloop:", "  wave: 2", "---"]
    assert unmarked_settings("metaloop:\nwave: 2\n# x\n") == unmarked_settings("wave: 2\n\nGo.\n") == right
    assert unmarked_settings("\nmetaloop:\n  wave: 2\n") == right
    assert unmarked_settings("wave: 2\nGo on.\n") == right
    prose = "keep: it simple, and\nmeasure: often\n"
    assert not any(map(unmarked_settings, (prose, "", "Go: x\n", "# wave: 2\n", "\n".join(right))))
    (told,) = [m.message for m in lint(Program.parse("metaloop:\n  wave: 2\n\nGo.\n")) if m.code == UNMARKED]
    assert told == "these settings are ignored: write a line --- above and below them"
    (told,) = [m.message for m in lint(Program.parse("wave: 2\n\nGo.\n")) if m.code == UNMARKED]
    assert told.endswith("below them, metaloop: above the first, and two spaces before each setting")


def test_a_charter_shown_as_code_is_no_misplaced_one() -> None:
    text = "Go.\n\n```yaml\n---\nmetaloop:\n  wave: 3\n---\n```\n"
    assert "charter-not-first" not in {m.code for m in lint(Program.parse(text))}


def test_terms_that_a_task_lacks() -> None:
    program = Program.parse(HEAD + "  proposers: {queue: 1}\n---\n## Ideas\n- `lr=1`\n- `depth=2`\n")
    messages = lint(program, unread=lambda term: "" if term.startswith("lr") else f"no edit `{term}`")
    assert messages == [LintMessage(7, "warning", "unknown-term", "no edit `depth=2`: idea skipped")]


def test_a_field_is_judged_in_the_phases_that_leave_it_alone() -> None:
    text = HEAD + "  keep: {margin: 2.0}\n  phases:\n  - {until: 0.5, keep: {rule: margin}}\n  - wave: 2\n---\nGo.\n"
    assert lint(Program.parse(text)) == []
    (message,) = lint(
        Program.parse(
            text.replace("wave: 2", "keep: {rule: margin, margin: 1}\n    wave: 1").replace(
                "keep: {rule: margin}}", "keep: {rule: margin, margin: 3}}"
            )
        )
    )
    assert (message.line, message.message) == (3, "keep.margin has no effect: every phase sets it")
    ideas = "## Ideas\n- `a=1`\n"
    late = HEAD + "  phases:\n  - {until: 0.5, proposers: {local: 1}}\n  - proposers: {queue: 1}\n---\n" + ideas
    assert lint(Program.parse(late)) == []
    assert [m.code for m in lint(Program.parse(late.replace("queue", "tpe")))] == ["ideas-not-queued"]


@pytest.mark.parametrize(
    ("phases", "line", "message"),
    [
        ("  - {until: 0.5, replicates: 2}\n  - {}\n", 4, "phase 1 sets replicates, which cannot change during a run"),
        ("  - until: 0.5\n  - until: 0.5\n  - {}\n", 5, "phase 2 must end after the phase before it, at more than 0.5"),
        ("  - until: 0.5\n", 4, "phase 1 is the last one and lasts to the end of the run: leave out until"),
        ("  - until: 0.5\n  - wave: 2\n  - {}\n", 5, "phase 2 needs until, a share of the budget below 1"),
        ("  - until: 0.5\n    keep:\n      rul: margin\n  - {}\n", 6, "phase 1: unknown setting keep.rul"),
        ("  - until: 0.5\n    wave: 0\n  - {}\n", 5, "phase 1: wave must be greater than or equal to 1, not 0"),
        ("  - 3\n", 4, "phase 1: it must be a mapping of fields, not 3"),
        ("  - {until: 0}\n  - {}\n", 4, "phase 1: until must be greater than 0, not 0"),
    ],
)
def test_what_is_wrong_with_a_phase_has_its_line(phases: str, line: int, message: str) -> None:
    (found,) = check(HEAD + "  phases:\n" + phases + "---\nGo.\n", "p.md")
    assert (found.line, found.level) == (line, "error") and found.message.startswith(message), found


def test_check_turns_what_is_no_program_into_a_message() -> None:
    assert [(m.line, m.level, m.code) for m in check(b"ok\n\xff", "p.md")] == [(2, "error", "unreadable")]
    (message,) = check(HEAD + "  wave: 0\n---\nGo.\n", "p.md")
    assert message.at("p.md") == "p.md:3: error: wave must be greater than or equal to 1, not 0 [unreadable]"
    assert check("Go.", "p.md") == []
    both = check(HEAD + "  keep: margin\n  wave: 0\n---\nGo.\n", "p.md")
    assert [(m.line, m.level) for m in both] == [(3, "error"), (4, "error")]
    assert both[0].message == 'keep must be a mapping of fields (keep: {rule: better}), not "margin"'


@pytest.mark.parametrize(
    "front",
    [
        HEAD + "  wave: 0\n  kep: 1\n---\n",
        HEAD + "  {wave: [}\n---\n#\n",
        HEAD + "  wave: 2\n\n#\n",
        HEAD + "metaloop:\n---\n#\n",
    ],
)
def test_one_check_finds_the_mistakes_of_the_settings_and_of_the_text(front: str) -> None:
    found = check(front + "## Ideas\n- `lr=1` and `lr=2`\n", "p.md", lambda term: f"no edit `{term}`")
    assert len({m.line for m in found if m.code == "unreadable"}) == (2 if "kep" in front else 1)
    assert [(m.line, m.code) for m in found if m.code != "unreadable"] == [
        (front.count("\n") + 2, code) for code in ("set-twice", "unknown-term", "unknown-term")
    ]


@pytest.mark.parametrize("text", FIXTURES.values(), ids=FIXTURES.keys())
def test_messages_come_in_order_and_none_is_an_error(text: str) -> None:
    messages = lint(Program.parse(text), unread=lambda term: f"no edit `{term}`")
    assert [m.line for m in messages] == sorted(m.line for m in messages)
    assert all(m.level != "error" for m in messages)


def test_the_starters_are_clean() -> None:
    for program in shelf.starters():
        assert lint(program) == [], program.name

"""The charter: defaults, and complaints that name their line."""

from __future__ import annotations

import pytest

from programs.charter import FIELDS
from programs.common.errors import ProgramError
from programs.program import Program
from programs.settings import set_charter, settings_of


def complaint(block: str) -> ProgramError:
    with pytest.raises(ProgramError) as caught:
        Program.parse(f"---\ntitle: x\nmetaloop:\n{block}---\nGo.\n", "name.md")
    return caught.value


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("  screen:\n    fraction: 2\n", "name.md:5: screen.fraction: Input should be less than or equal to 1, not 2"),
        ("  wave: '3'\n", 'name.md:4: wave: Input should be a valid integer, not "3"'),
        ("  confirm: .nan\n", "name.md:4: confirm: Input should be a finite number, not NaN"),
        ("  keep: better\n", 'name.md:4: keep: Input should be a valid dictionary or instance of Keep, not "better"'),
        ("  proposers:\n    tpe: 0\n", "name.md:5: proposers.tpe: Input should be greater than 0, not 0"),
        ("  name: 3\n", "name.md:4: name must be one short line of text"),
        ("  wave: 2\nmetaloop:\n  wave: 3\n", "name.md:5: a second metaloop: block"),
        ("  - a\n", 'name.md:3: metaloop: must contain fields, not ["a"]'),
        ("  wave: 3\n  wave: 4\n", 'name.md:5: found duplicate key "wave"'),
        ("  wave: [\n", "name.md:5: "),
        ("  wave: 0\n  keep: {rule: no}\n", "name.md:4: wave: "),  # the first one in the file
        ("  keep: {rule: no}\n  wave: 0\n", "name.md:4: keep.rule: "),
        ("  a: &x [1]\n", "name.md:4: anchors, aliases, tags and merge keys are not supported"),
        ("  <<: {wave: 2}\n", "name.md:4: anchors, aliases, tags and merge keys are not supported"),
        ("  ? [1, 2]\n  : 3\n", "name.md:3: the settings cannot be read as YAML 1.2"),
        ("  wave: " + "9" * 5000 + "\n", "name.md:3: the settings cannot be read as YAML 1.2"),
        ("  focus: " + "[" * 3000 + "\n", "name.md:3: the settings cannot be read as YAML 1.2"),
    ],
)
def test_charter_that_cannot_be_read_is_an_error_with_its_line(block: str, message: str) -> None:
    assert complaint(block).message.startswith(message)


@pytest.mark.parametrize(
    ("block", "near"),
    [
        ("  screen:\n    fracton: 1\n", "screen.fraction"),
        ("  proposer: {tpe: 1}\n", "proposers"),
        ("  promote: 0.2\n", "screen.promote"),
    ],
)
def test_field_that_is_unknown_suggests_the_nearest(block: str, near: str) -> None:
    error = complaint(block)
    assert error.message.endswith(f"; did you mean {near}?") and "--settings" in error.hint


def test_further_complaints_are_told_with_their_lines() -> None:
    told = complaint("  screen: {fraction: 7}\n  wvae: 3\n").message
    assert told.startswith("name.md:4: screen.fraction: Input") and "; line 5: unknown setting wvae" in told
    many = complaint("".join(f"  x{n}: 1\n" for n in range(99))).message
    assert len(many) < 1100 and many.endswith("…")


def test_fields_are_directives_where_they_are_set() -> None:
    program = Program.parse(
        "---\nmetaloop:\n  version: 1\n  name: mine\n  wave: 1\n  screen: {fraction: .5}\n---\nGo.\n"
    )
    settings = [(d.text, d.line) for d in program.directives if d.kind == "charter"]
    assert settings == [("wave: 1", 5), ("screen.fraction: 0.5", 6)] and program.name == "mine"
    assert all("Default" in (info.description or "") for info in FIELDS.values())


def test_charters_that_are_equal_are_equal_text_and_id() -> None:
    one = Program.parse("---\nmetaloop: {proposers: {local: 1, queue: .5}}\n---\nGo.\n")
    other = Program.parse("---\nmetaloop:\n  proposers:\n    queue: 0.50\n    local: 1.0\n---\nGo.\n")
    assert one.charter.model_dump_json() == other.charter.model_dump_json()
    assert one.directives[0].directive_id == other.directives[0].directive_id


def test_field_that_is_written_leaves_every_digit_of_another() -> None:
    text = set_charter("Go.\n", "keep.margin", 5.162038290587798e-09)
    assert settings_of(set_charter(text, "wave", 2)).charter.keep.margin == 5.162038290587798e-09

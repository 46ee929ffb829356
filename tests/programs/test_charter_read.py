"""From prose to charter: our own sentences come back as they were, and a claim counts only with its words."""

from __future__ import annotations

import random
import string
from typing import Any

import pytest

from meta.conformance.markdown import FIXTURES
from programs.charter import PROPOSERS, Charter, Phase, fields, nested
from programs.charter_edit import charter_fields, set_charter, take_charter
from programs.charter_kinds import kind_of
from programs.charter_phrases import read, say
from programs.charter_prose import sentences, with_prose
from programs.charter_read import FIELDS, CharterClaim, judge, read_phrases, written
from programs.shelf import starters

PROGRAM = """# Plan

Try six candidates side by
side. Each gets a quarter of
the time first.

- Never train the same script twice.
- Write neatly.
- Always try ten candidates at once.
"""
SIX, QUARTER = (2, "six candidates"), (3, "a quarter of the time")
TWICE, TEN = (4, "Never train"), (6, "ten candidates")


PHASED = [name for name in FIELDS if name.split(".")[0] in Phase.model_fields]


def random_phases(luck: random.Random) -> list[Any]:
    """Up to four phases, some of which change nothing."""
    shares = sorted({luck.choice((luck.random(), 0.3, 1e-9)) or 0.5 for _ in range(luck.randint(0, 3))})
    phases = []
    for share in [*shares, None]:
        own = {name: random_value(name, luck) for name in luck.sample(PHASED, luck.randint(0, 4))}
        phases.append(({} if share is None else {"until": share}) | nested(own.items()))
    return phases if luck.random() < 0.9 else []


def random_value(field: str, luck: random.Random) -> Any:
    """Any value that the charter takes, ugly ones too."""
    real = luck.choice((luck.random(), round(luck.random(), 2), 10 ** luck.uniform(-9, -1)))
    match field:
        case "phases":
            return random_phases(luck)
        case "proposers":
            names = luck.sample(PROPOSERS.built_in, luck.randint(1, 5))
            return {name: luck.choice((1.0, real or 0.5, luck.uniform(0.1, 90))) for name in names}
        case "keep.rule":
            return luck.choice(("better", "margin", "paired"))
        case "plateau.then":
            return luck.choice(("group", "several"))
        case "focus":
            letters = string.ascii_letters + " ,.\"\\'`<>*|-:;#é研\t\n\u00a0"
            return ["".join(luck.choices(letters, k=luck.randint(0, 12))) for _ in range(luck.randint(0, 3))]
        case "keep.margin" | "simplicity" | "keep.least":
            return luck.choice((real, 0.0, 1.0, 100.0))
        case "screen.fraction":
            return luck.choice((max(0.01, real), 1.0, 0.01))
        case "screen.promote":
            return luck.choice((real or 0.5, 1.0))
        case "confirm":
            return luck.choice((min(0.9, real), 0.0, 0.9))
        case "no_repeat" | "avoid_failures" | "doubt_ideas" | "rotate":
            return luck.random() < 0.5
        case "branch.rewind_after" | "history" | "plateau.after" | "standups":
            return luck.choice((0, 1, luck.randint(2, 10_000)))
    return luck.choice((1, luck.randint(2, 64)))


def again(text: str) -> str:
    """Charter to prose, the front matter's charter dropped, prose to charter."""
    bare = take_charter(with_prose(text), "Go.\n")
    assert not charter_fields(bare)
    reading = read_phrases(bare)
    assert not reading.contradictions
    return written(bare, reading)


@pytest.mark.parametrize("program", starters(), ids=lambda p: p.name)
def test_every_starter_says_its_charter_and_is_understood(program: Any) -> None:
    assert charter_fields(again(program.text)) == charter_fields(program.text)


@pytest.mark.parametrize("seed", range(25))
def test_charter_to_prose_to_charter_is_the_identity(seed: int) -> None:
    luck = random.Random(seed)
    text = luck.choice(["# Plan\n\nGo.\n", FIXTURES["japanese"], FIXTURES["loose ideas"], "Go.\r\n\r\n- a\r\n- b\r\n"])
    for field in luck.sample(FIELDS, luck.randint(1, len(FIELDS))):
        text = set_charter(text, field, random_value(field, luck))
    assert charter_fields(again(text)) == charter_fields(text)


@pytest.mark.parametrize("seed", range(25))
def test_phases_are_one_sentence_that_gives_them_back(seed: int) -> None:
    text = set_charter("Go.\n", "phases", random_phases(random.Random(seed)))
    ((field, sentence),) = sentences(text)
    value = charter_fields(text)["phases"]
    assert field == "phases" and read(sentence) == ("phases", value)
    assert charter_fields(again(text)) == {"phases": value}
    for near in (sentence.replace("until ", "until 0"), sentence.replace("; ", ", "), sentence.replace("“", "“a ")):
        assert near == sentence or read(near) is None


def test_each_sentence_is_traced_to_its_line_and_nothing_else_is_read() -> None:
    text = with_prose(set_charter(set_charter(PROGRAM, "wave", 6), "history", 1))
    lines = text.splitlines()
    found = read_phrases(text).findings
    assert [(f.field, f.value) for f in found] == [("wave", 6), ("history", 1)]
    assert all(lines[f.sentence.line - 1] == f"- {f.words}" for f in found)
    assert [sentence for _, sentence in sentences(text)] == [f.words for f in found]
    for near in ("Make 06 candidates", "Make six candidates", "Make 6.0 candidates", "make 6 candidates"):
        assert not read_phrases(text.replace("Make 6 candidates", near)).values.get("wave")
    ours = with_prose(set_charter(PROGRAM, "confirm", 0.2))
    assert read_phrases(ours).findings and not read_phrases(ours.replace("last 20%", "last 95%")).findings


def judged(*claims: CharterClaim, unexpressed: tuple[int, ...] = ()) -> Any:
    return judge(read_phrases(PROGRAM), claims, unexpressed)


def test_a_claim_with_its_words_counts_and_is_written_down() -> None:
    reading = judged(
        CharterClaim("wave", 6, (SIX,)),
        CharterClaim("screen.fraction", 0.25, (QUARTER,)),
        CharterClaim("no_repeat", True, (TWICE,)),
        unexpressed=(5,),
    )
    assert reading.values == {"screen.fraction": 0.25, "wave": 6, "no_repeat": True}
    assert [(f.sentence.line, f.words) for f in reading.findings] == [
        (4, "a quarter of the time"), (3, "six candidates"), (7, "Never train"),
    ]  # fmt: skip
    assert [s.text for s in reading.unexpressed] == ["Write neatly."]
    text = written(PROGRAM, reading)
    assert charter_fields(text) == reading.values and text.endswith(PROGRAM)
    assert written(text, judge(read_phrases(text), [CharterClaim("wave", 6, (SIX,))], ())) == text


@pytest.mark.parametrize(
    ("claim", "reason", "mendable"),
    [
        (CharterClaim("wave", 6, ((2, "make six candidates"),)), "do not occur in sentence 2", False),
        (CharterClaim("wave", 6, ((3, "six candidates"),)), "do not occur in sentence 3", False),
        (CharterClaim("wave", 6, ((2, "ix candidates"),)), "do not occur", False),
        (CharterClaim("wave", 6, ((2, "side"),)), "do not occur", False),
        (CharterClaim("wave", 6, ((2, ""),)), "do not occur", False),
        (CharterClaim("wave", 6, ((0, "Go"),)), "no sentence 0", False),
        (CharterClaim("wave", 6, ((99, "Go"),)), "no sentence 99", False),
        (CharterClaim("wave", 6, (SIX, (6, "six candidates"))), "do not occur in sentence 6", False),
        (CharterClaim("wave", 6, ()), "names no sentence", False),
        (CharterClaim("wave", 0, (SIX,)), "wave must be greater than or equal to 1, not 0", True),
        (CharterClaim("wave", "6", (SIX,)), 'wave must be an integer, not "6"', True),
        (CharterClaim("wave", 6.0, (SIX,)), "wave must be an integer, not 6.0", True),
        (CharterClaim("wave", None, (SIX,)), "wave must be an integer, not null", True),
        (CharterClaim("wave", float("nan"), (SIX,)), "must be a valid JSON value", True),
        (CharterClaim("wave", [[1]], (SIX,)), "must be a single value", True),
        (CharterClaim("proposers", {"gut": 1}, (SIX,)), 'there is no proposer "gut"; there are queue, random', True),
        (CharterClaim("budget", 9, (SIX,)), "no such field", True),
        (CharterClaim("version", 1, (SIX,)), "no such field", True),
        (CharterClaim("screen", {"fraction": 0.2}, (QUARTER,)), "no such field", True),
        (CharterClaim("focus", ["optimizer"], (SIX,)), "does not occur in the quoted words", False),
    ],
)
def test_a_claim_without_its_words_or_with_a_wrong_value_does_not(
    claim: CharterClaim, reason: str, mendable: bool
) -> None:
    reading = judged(claim)
    assert not reading.findings and [r.mendable for r in reading.refusals] == [mendable]
    assert reason in reading.refusals[0].reason, reading.refusals


def test_a_default_without_a_sentence_is_left_out_in_silence() -> None:
    assert judged(CharterClaim("wave", 1, ()), CharterClaim("proposers", {"random": 1.0}, ())).refusals == ()
    assert judged(CharterClaim("no_repeat", True, (TWICE,))).values == {"no_repeat": True}
    phases = [{"until": 0.5, "no_repeat": True}, {}]
    assert judged(CharterClaim("phases", phases, (TWICE,))).values == {"phases": phases}


def test_two_sentences_with_two_values_contradict_each_other_and_neither_is_written() -> None:
    reading = judged(
        CharterClaim("wave", 6, (SIX,)), CharterClaim("wave", 10, (TEN,)), CharterClaim("no_repeat", True, (TWICE,))
    )
    assert [(f.value, f.sentence.line) for f in reading.contradictions["wave"]] == [(6, 3), (10, 9)]
    assert reading.values == {"no_repeat": True}
    assert not judged(CharterClaim("wave", 6, (SIX,)), CharterClaim("wave", 6, (TEN,))).contradictions


def test_what_our_own_phrase_says_is_not_for_a_model_to_judge() -> None:
    text = with_prose(set_charter(PROGRAM, "wave", 6))
    base = read_phrases(text)
    number = base.findings[0].sentence.number
    reading = judge(base, [CharterClaim("wave", 9, ((number, "Make 6 candidates"),))], [number])
    assert reading.values == {"wave": 6} and reading.refusals == () and reading.unexpressed == ()


def test_every_field_has_a_kind_that_its_default_is_of() -> None:
    kinds = {name: kind_of(info) for name, info in fields()}
    assert kinds["wave"] == "a whole number from 1 to 1000" and kinds["screen.promote"] == "a number above 0 to 1"
    assert kinds["keep.rule"] == 'one of "better", "margin", "paired"' and kinds["no_repeat"] == "true or false"
    assert "(until: a number above 0 to 1; proposers: an object" in kinds["phases"]
    assert '"tpe"' in kinds["proposers"] and "a number above 0" in kinds["proposers"]
    assert set(FIELDS) == {name for name, _ in fields()} - {"version"} and Charter().get(FIELDS[0])


def test_writing_one_field_leaves_every_digit_of_another() -> None:
    text = set_charter(PROGRAM, "keep.margin", 5.162038290587798e-09)
    assert "1e-3" in set_charter("---\nmetaloop:\n  simplicity: 1e-3\n---\nGo.\n", "wave", 2)
    assert charter_fields(set_charter(text, "wave", 2))["keep.margin"] == 5.162038290587798e-09


@pytest.mark.parametrize(
    ("field", "value"),
    [("proposers", {"my-own": 1.0}), ("proposers", {"my-own": 0.25, "random": 0.75}), ("keep.rule", "my-own")],
)
def test_parts_of_other_packages_have_a_sentence_too(field: str, value: object) -> None:
    sentence = say(field, value, Charter())
    assert "my-own" in sentence and read(sentence) == (field, value)

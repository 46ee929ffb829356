"""The charter as sentences: every field has one, the same each time, and writing it again changes nothing."""

from __future__ import annotations

import random
import re
import string
from typing import Any

import pytest

from meta.mutators.offline.change_field import carry_out, moves
from programs import bare, shelf, stated_settings
from programs.charter import PROPOSERS, Charter, Phase, fields, nested
from programs.charter_edit import charter_fields, set_charter
from programs.charter_phrases import PHRASES, expresses, field_of, say
from programs.charter_prose import END, START, sentences, with_prose
from programs.order_of_work import with_order
from programs.program import Program
from programs.sentences import sentences_of
from programs.text import one_line

TEXT = "# Research\n\nFind a better model.\n\n## Ideas\n- try `lr=0.1`\n"
# two values of each field, and what the sentence must hold of each
VALUES: dict[str, tuple[tuple[Any, str], tuple[Any, str]]] = {
    "proposers": (({"queue": 3.0, "local": 1.0}, "75% of cases the next idea"), ({"tpe": 1.0}, "better half")),
    "keep.rule": (("margin", "by more than one standard deviation"), ("paired", "same two fresh seeds")),
    "keep.margin": ((2.5, "2.5 standard deviations"), (1.0, "1 standard deviation of")),
    "keep.pairs": ((3, "3 fresh seeds"), (1, "1 fresh seed ")),
    "keep.least": ((0.002, "more than 0.002"), (0.0, "however small")),
    "replicates": ((4, "4 training seeds"), (1, "1 training seed;")),
    "screen.fraction": ((0.25, "25% of the time"), (1.0, "full time at once")),
    "screen.promote": ((0.5, "best 50%"), (0.1, "best 10%")),
    "wave": ((6, "6 candidates"), (1, "before you make the next")),
    "branch.frontier": ((3, "3 best kept versions"), (1, "one kept version")),
    "branch.rewind_after": ((7, "After 7 experiments"), (0, "Never go back")),
    "plateau.after": ((4, "4 experiments in a row"), (0, "however long")),
    "plateau.then": (("several", "several settings at once"), ("group", "leave alone the group")),
    "rotate": ((True, "Never change the same group"), (False, "may change the same group")),
    "confirm": ((0.2, "last 20% of the budget"), (0.0, "whole budget on the search")),
    "no_repeat": ((True, "Never run the same code twice"), (False, "may be run again")),
    "avoid_failures": ((True, "Never try a value again"), (False, "may be tried again")),
    "doubt_ideas": ((True, "the less often take one"), (False, "however many of them fail")),
    "focus": ((["optimizer", "model"], "optimizer, model"), ([], "Any setting")),
    "simplicity": ((0.01, "earn 0.01 units"), (0.0, "does not count")),
    "history": ((50, "last 50 experiments"), (0, "without looking")),
    "standups": ((0, "never see"), (6, "every 6 experiments")),
    "phases": (
        (
            [{"until": 0.3, "proposers": {"queue": 1.0}}, {"keep": {"rule": "margin", "margin": 2.0}, "wave": 3}],
            "until 30% of it is spent, “Take each next experiment from one place only: the next idea of the list of"
            " ideas in this program, in its order”; from then on, “Keep a change only if its metric beats the kept one"
            " by more than a margin of the seed noise; else revert it” and “That margin is 2 standard deviations",
        ),
        ([{"focus": ["model"]}], "throughout, “Change only settings of these groups: model”"),
    ),
}


# Sentences of the starters about no setting; a new one belongs here or into stated_settings.toml.
STATES_NOTHING = one_line(
    """
    Train the unchanged script; Train the script as it stands.; That number is the baseline; Begin again.; Think
    of one change; Write one line in; Read everything that; Start a fresh branch; If a run breaks; An autonomous
    researcher; The bet is on patience; Nothing else.; The data, the clock; A run that is; Of two scripts that
    score alike; A tiny gain; Nobody is watching; When the obvious ideas; The budget ends; Greedy search stops;
    Its hypothesis: the best final script; The score of a single training run; Its hypothesis: false positives;
    That holds only where; Record the mean and the standard; Change one thing.; Never choose a seed; The
    hypothesis: the script with the best; If two scripts have the same mean score; First test the changes; Change
    nothing else.; Keep added code only; Keep every deletion; Repeat from; Change `train.py` so that; Improvements
    are often independent; A change that was discarded by a small margin; Most changes make the score worse; Some
    changes are slow at first; Prefer candidates that change fewer; If a combination improved the score; This
    program is a negative control.; It searches exactly as; Its hypothesis: this program gains less
    """
).split("; ")


def test_every_field_of_the_charter_is_known() -> None:
    assert ["version", *VALUES] == [name for name, _ in fields()]  # that one tells a reader nothing
    assert sentences(set_charter(TEXT, "version", 1)) == []


@pytest.mark.parametrize("field", VALUES)
def test_a_field_that_is_set_is_one_sentence(field: str) -> None:
    told = set()
    for value, wanted in VALUES[field]:
        said = sentences(set_charter(TEXT, field, value))
        assert [name for name, _ in said] == [field] and wanted in said[0][1], said
        assert said[0][1].endswith(".") and "\n" not in said[0][1]
        told.add(said[0][1])
    assert len(told) == 2


def test_writing_it_again_changes_nothing_and_another_charter_replaces_it() -> None:
    once = with_prose(set_charter(set_charter(TEXT, "wave", 6), "confirm", 0.2))
    assert with_prose(once) == once and once.count(START) == once.count(END) == 1
    assert "6 candidates" in once and "last 20%" in once and once.index("Ideas") < once.index(START)
    again = with_prose(set_charter(once, "wave", 9))
    assert "9 candidates" in again and "6 candidates" not in again and again.count(START) == 1
    assert with_prose(again.replace("\n", "\r\n")) == again.replace("\n", "\r\n")


def test_it_stays_the_same_program_for_metaloop_and_without_a_charter_the_same_text() -> None:
    program = set_charter(TEXT, "wave", 6)
    assert Program.parse(with_prose(program)).charter.wave == 6
    for text in (TEXT, "", "no newline at the end", "---\nother: tool\n---\n# x\n"):
        assert with_prose(text) == text


def test_a_starter_s_prose_agrees_with_its_charter_and_no_sentence_is_stale() -> None:
    said = set[str]()
    for program in map(shelf.starter, shelf.names()):
        said |= set(sentences_of(program.text))
        assert with_prose(program.text).startswith(program.text.rstrip())
    assert stated_settings._states().keys() <= said


@pytest.mark.parametrize(
    ("starter", "fields", "gone", "there"),
    [
        (
            "idea-queue",
            {"keep.rule": "margin", "keep.margin": 0.5},
            ("score is better",),
            ("by more than a margin of the seed noise; else revert it. That margin is 0.5 standard deviations",),
        ),
        ("stock", {"keep.rule": "margin"}, ("score is better", "equal or worse"), ("than one standard deviation of",)),
        ("stock", {"focus": ["model"]}, ("Anything in",), ("Change only settings of these groups: model",)),
        ("stock", {"avoid_failures": True, "wave": 2}, ("second attempt",), ("Never try a value again that crashed",)),
        ("careful", {"keep.rule": "paired", "keep.pairs": 3}, ("one SD", "inconclusive"), ("Use 3 fresh seeds",)),
        ("careful", {"keep.margin": 2.0}, ("one SD",), ("That margin is 2 standard deviations",)),
        ("idea-queue", {"proposers": {"queue": 0.2, "local": 0.8}}, ("a few experiments",), ("in 20% of cases",)),
        ("screen-waves", {"screen.fraction": 0.4}, ("quarter",), ("with 40% of the time",)),
        ("local", {"rotate": True}, ("same direction soon",), ("two experiments in a row",)),
        ("branches", {"branch.frontier": 2}, ("three kept", "three best"), ("2 best kept versions",)),
        ("branches", {"branch.frontier": 1, "branch.rewind_after": 0}, ("## Simplicity", "eight"), ("Never go back",)),
        ("confirm-last", {"confirm": 0.1}, ("fifth",), ("last 10% of the budget", "Ignore the scores from the search")),
        ("traps-first", {"proposers": {"local": 1.0}}, ("first idea", "one of ten"), ("from one place only: a small",)),
        ("local-screen", {"screen.fraction": 1.0, "wave": 1}, ("quarter", "six"), ("full time at once", "before you")),
        (
            "recombine",
            {"phases": [{"until": 0.5, "no_repeat": False}, {"keep": {"rule": "margin"}}]},
            (),
            ("Never train",),
        ),
    ],
)
def test_a_sentence_that_a_setting_contradicts_is_replaced(
    starter: str, fields: dict[str, Any], gone: tuple[str, ...], there: tuple[str, ...]
) -> None:
    text = shelf.starter(starter).text
    for field, value in fields.items():
        text = set_charter(text, field, value)
    stated = with_prose(text)
    body = stated.partition(START)[0]
    assert not [words for words in gone if words in stated] and all(words in body for words in there), body
    assert with_prose(stated) == stated and Program.parse(stated).charter == Program.parse(text).charter
    once = [sentence for _, sentence in sentences(text)]
    assert [stated.count(sentence) for sentence in once] == [1] * len(once)


def test_no_setting_that_a_mutator_changes_is_contradicted_by_a_starter_s_text() -> None:
    """Whatever the field: a sentence of the exported text that `say` wrote expresses the charter's value."""
    starters = [bare.without_ideas(shelf.starter(name)) for name in shelf.names()]  # lists are long, and state nothing
    starters += [shelf.starter("idea-queue")]
    texts = {(one, *move): carry_out(one.text, move) for one in starters for move in moves(one.charter)}
    others = {field: value for field, ((value, _), _) in VALUES.items() if field != "phases"}
    texts |= {(one, field): set_charter(one.text, field, others[field]) for one in starters[-2:] for field in others}
    for text in texts.values():
        charter = Program.parse(text).charter
        for sentence in sentences_of(with_prose(text)):
            if field := field_of(sentence):
                assert expresses(sentence, field, charter.get(field)), (sentence, text)


def test_every_sentence_of_a_starter_states_a_setting_or_is_known_to_state_none() -> None:
    for program in map(shelf.starter, shelf.names()):
        ideas = {sentence for idea in program.ideas for sentence in sentences_of(idea.text)}
        titles = set(re.findall(r"^#+ (.*)$", program.text, re.MULTILINE))
        for sentence in sentences_of(program.text):
            known = sentence in stated_settings._states() or sentence in (ideas | titles)
            assert known or sentence.startswith(tuple(STATES_NOTHING)), sentence


def test_a_user_s_sentence_stays_and_one_of_an_earlier_charter_is_replaced() -> None:
    text = TEXT.replace("model.", "model. Average every result over 3 seeds. Go on.")
    assert "over 3 seeds" in with_prose(set_charter(text, "wave", 6))
    assert "same script twice." in with_prose(set_charter(text + "- Never train the same script twice.\n", "wave", 6))
    earlier = text.replace("Average every result over 3 seeds.", say("replicates", 3, Charter()))
    for near in ("with 3 training", "with three training"):
        stated = with_prose(set_charter(earlier.replace("with 3 training", near), "replicates", 2))
        assert (f"model. {say('replicates', 2, Charter())} Go on." in stated) == (near in earlier)


PHASED = [name for name in PHRASES if name.split(".")[0] in Phase.model_fields]


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


@pytest.mark.parametrize("seed", range(25))
def test_each_value_has_its_own_sentence_and_the_sentence_its_field(seed: int) -> None:
    luck, text = random.Random(seed), "Go.\n"
    for field in luck.sample(list(PHRASES), luck.randint(1, len(PHRASES))):
        text = set_charter(text, field, random_value(field, luck))
    values, stated = charter_fields(text), with_prose(text)
    written = dict(sentences(text))
    assert written.keys() == values.keys() and sentences_of(stated)[-len(written) :] == list(written.values())
    for field, sentence in written.items():
        other = charter_fields(set_charter("Go.\n", field, random_value(field, luck)))[field]
        assert field_of(sentence) == field and expresses(sentence, field, values[field])
        assert expresses(sentence, field, other) == (other == values[field]), (sentence, other)
    assert field_of("Make 06 candidates from the same kept version, then decide.") == field_of("Go.") == ""


@pytest.mark.parametrize(
    ("field", "value"),
    [("proposers", {"my-own": 1.0}), ("proposers", {"my-own": 0.25, "random": 0.75}), ("keep.rule", "my-own")],
)
def test_parts_of_other_packages_have_a_sentence_too(field: str, value: Any) -> None:
    sentence = say(field, value, Charter())
    assert "my-own" in sentence and field_of(sentence) == field and expresses(sentence, field, value)


@pytest.mark.parametrize(
    ("starter", "shares", "doubt", "rule"),
    [
        ("idea-queue", {"queue": 0.95, "local": 0.05}, True, "one of them after each idea that you revert, and none"),
        ("idea-queue", {"queue": 0.5, "local": 0.3, "tpe": 0.2}, True, "make 1 of them after an idea that you keep, 2"),
        ("traps-first", {"queue": 0.9, "local": 0.1}, False, "make one of them after every 9 ideas"),
        ("idea-queue", {"queue": 0.25, "random": 0.75}, False, "make 3 of them after each idea"),
        ("idea-queue", {"queue": 1.0}, False, "one in each experiment."),
        ("idea-queue", {"queue": 0.95, "random": 0.0075, "local": 0.0425}, False, "setting (one of 7) or a small step"),
        ("idea-queue", {"queue": 1000000.0, "local": 1e-11}, False, "one in each experiment."),
    ],
)
def test_an_order_of_work_replaces_shares(starter: str, shares: dict[str, float], doubt: bool, rule: str) -> None:
    text = set_charter(set_charter(shelf.starter(starter).text, "proposers", shares), "doubt_ideas", doubt)
    made = with_order(with_prose(text))
    assert made.count(rule) == 1 and with_order(with_prose(made)) == made
    for gone in ("% of cases", "less often", "few experiments", "one of ten", "from one place only"):
        assert gone not in made
    assert Program.parse(made).charter == Program.parse(text).charter
    assert ("test the next one" in made) == (starter == "idea-queue" and not doubt)
    barely = set_charter(text, "proposers", {"queue": 1e-9, "local": 1000.0})
    assert with_order(with_prose(barely)) == with_prose(barely)


def test_without_a_list_of_ideas_or_with_phases_the_shares_stay() -> None:
    phased = set_charter(shelf.starter("idea-queue").text, "phases", [{"until": 0.5, "wave": 2}, {"wave": 1}])
    for text in (shelf.starter("recombine").text, phased, TEXT):
        assert with_order(with_prose(text)) == with_prose(text)

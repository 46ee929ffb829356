"""Replaces sentences of a program that contradict its charter, as after a mutation of the charter alone."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from programs import charter_phrases
from programs.charter import Charter
from programs.charter_edit import charter_fields, settings_of
from programs.front_matter import locate
from programs.sentences import sentences_of
from programs.text import split_lines

_SEVERAL = 3
_NUMBERS = {"margin": "keep.margin", "paired": "keep.pairs"}  # of the keep rules


def consistent(text: str, before: str = "") -> str:
    """The text (with LF line ends) with the charter's sentences in the place of those that state another value.

    Without charter fields the prose stands alone. A sentence counts only if its fields are set, or were in the text
    ``before`` a mutation; in a program with several sentences of a starter theirs count always, because an earlier
    mutation may have unset what the starter set.
    """
    given, charter = charter_fields(before) | charter_fields(text), settings_of(text).charter
    known, by_phase = set[str](), [one for _, one in charter.by_phase()]
    sentences = sentences_of(text) if given else ()
    of_starter = sum(sentence in _states() for sentence in sentences) >= _SEVERAL
    for sentence in sentences:
        stated: Mapping[str, Any]
        if field := charter_phrases.field_of(sentence):
            held = field not in given or any(
                charter_phrases.expresses(sentence, field, one.get(field)) for one in by_phase
            )
            stated, wrong = {field: None}, [] if held else [field]
        else:
            stated = {name: value for name, value in _states().get(sentence, {}).items() if of_starter or name in given}
            wrong = [name for name in stated if not any(_holds(stated[name], one.get(name)) for one in by_phase)]
        if not wrong:
            continue
        # what the rest of the sentence states is still true: a switch and the rule are said again
        again = ["keep.rule", *(field for field in stated if stated[field] is True)]
        lost = [field for field in stated if field in (*wrong, *again) and _acts(field, charter)]
        if "keep.rule" in lost and (number := _NUMBERS.get(charter.keep.rule)) in given:
            lost += [number] if number and number not in lost else []
        fields = [] if charter.phases else [field for field in lost if field not in known]
        known |= set(fields)
        new = " ".join(charter_phrases.say(field, charter.get(field), charter) for field in fields)
        text = _replaced(text, sentence, new)
    return text


def without_shares(text: str) -> str:
    """The text (with LF line ends) without a starter's sentences that state the shares of its sources of experiments,
    or which of them has the largest."""
    for sentence in sentences_of(text):
        shares = _states().get(sentence, {}).get("proposers", {})
        if shares and ("most" in shares or not {"with", "only"} & shares.keys()):
            text = _replaced(text, sentence, "")
    return text


@cache
def _states() -> Mapping[str, Mapping[str, Any]]:
    tables = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))["states"]
    return {sentence: table["sets"] for table in tables for sentence in table["sentences"]}


def _holds(stated: Any, value: Any) -> bool:
    if not isinstance(stated, Mapping):
        return bool((list(value) if isinstance(value, tuple) else value) == stated)
    if "above" in stated or "below" in stated:
        return bool(stated.get("above", float("-inf")) < value < stated.get("below", float("inf")))
    if "with" in stated or "only" in stated:
        there = set(stated["with"]) <= value.keys() if "with" in stated else set(stated["only"]) == value.keys()
        return there and stated.get("most") in (None, max(value, key=value.__getitem__))
    whole = sum(value.values())
    return {name: round(share / whole, 3) for name, share in value.items()} == stated


def _acts(field: str, charter: Charter) -> bool:
    return field != "screen.promote" or charter.screen.fraction < 1


def _replaced(text: str, sentence: str, new: str) -> str:
    """``new`` may be empty; then an item or a section that has nothing else goes with the sentence."""
    lines = split_lines(text)
    end = locate(lines).end
    front, body = "".join(lines[:end]), "".join(lines[end:])
    old = r"\s+".join(map(re.escape, sentence.split()))
    if new:
        return front + re.sub(old, lambda _: new, body, count=1)
    item = rf"^[ \t]*(?:[-*+]|\d+[.)])[ \t]+{old}[ \t]*(?:\n|\Z)"
    body, gone = re.subn(item, "", body, count=1, flags=re.MULTILINE)
    body = body if gone else re.sub(rf"[ \t]*{old}(?=\n|\Z)|{old}[ \t]*", "", body, count=1)
    return front + re.sub(r"^(#+) [^\n]*\n\s*(?=\1 |\Z)", "", body, flags=re.MULTILINE)

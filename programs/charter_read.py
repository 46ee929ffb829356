"""From a program's prose to its charter: what is claimed of its sentences, checked, and what may be written down.

A claim is a field, a value, and the words that say so. It counts where the value is one that the charter takes and the
words stand in the sentence that is named. Whoever makes claims, nothing else can come of them. The sentences that
`export --prose` writes are read here, without a model; the same program says the same charter again then.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from programs import charter_phrases
from programs.charter import Charter
from programs.charter_edit import charter_fields, set_charter
from programs.charter_phrases import PHRASES
from programs.errors import ProgramError
from programs.sentences import Sentence, sentences_of
from programs.text import one_line

FIELDS = tuple(PHRASES)  # all but ``version``
_MOST_PARTS = 100  # names or shares in a value
_NAME = re.compile(r"[\w.]{1,40}")


@dataclass(frozen=True)
class CharterClaim:
    """``evidence``: (number of the sentence, words quoted from it)."""

    field: str
    value: Any
    evidence: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class CharterFinding:
    """A field that a sentence says; ``words`` are quoted from it."""

    field: str
    value: Any
    sentence: Sentence
    words: str
    by_model: bool = False


@dataclass(frozen=True)
class Refusal:
    """A claim that does not count, and why. ``mendable``: its value is at fault, not its words."""

    field: str
    value: Any
    reason: str
    mendable: bool = False


@dataclass(frozen=True)
class CharterReading:
    """``findings``: one for each sentence that says a field, in the charter's order; they may contradict each other.

    ``unexpressed``: sentences about the conduct of research that no field can carry.
    """

    sentences: tuple[Sentence, ...]
    findings: tuple[CharterFinding, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    unexpressed: tuple[Sentence, ...] = ()

    @property
    def contradictions(self) -> dict[str, list[CharterFinding]]:
        """Fields for which two sentences say two values."""
        said = {f.field: [g for g in self.findings if g.field == f.field] for f in self.findings}
        return {field: values for field, values in said.items() if any(f.value != values[0].value for f in values)}

    @property
    def values(self) -> dict[str, Any]:
        """The charter that the prose says: each field but the contradicted ones."""
        disputed = self.contradictions
        return {f.field: f.value for f in self.findings if f.field not in disputed}


def read_phrases(text: str, file: str = "program") -> CharterReading:
    """Those sentences alone that `export --prose` writes, wherever they stand. ProgramError: the front matter."""
    sentences = sentences_of(text, file)
    read = [(said, charter_phrases.read(said.text)) for said in sentences]
    findings = (CharterFinding(*meant, said, said.text) for said, meant in read if meant and not _refused(*meant))
    return CharterReading(sentences, _in_order(findings))


def judge(base: CharterReading, claims: Sequence[CharterClaim], unexpressed: Iterable[int]) -> CharterReading:
    """The reading with the claims of a model that hold. What a phrase says for certain is not for a model to judge."""
    known = {finding.sentence.number for finding in base.findings}
    findings, refusals = list(base.findings), []
    for claim in claims:
        if claim.evidence and all(number in known for number, _ in claim.evidence):
            continue
        judged = _judged(claim, base.sentences)
        if isinstance(judged, Refusal):
            refusals.append(judged)
        elif judged:
            findings += [f for f in judged if f not in findings and f.sentence.number not in known]
    said = {number for number in unexpressed if number not in known}
    left = tuple(sentence for sentence in base.sentences if sentence.number in said)
    return CharterReading(base.sentences, _in_order(findings), tuple(refusals), left)


def written(text: str, reading: CharterReading) -> str:
    """The program with what its prose says in its front matter; what stands there the same is not touched."""
    given = charter_fields(text)
    for field, value in reading.values.items():
        if field not in given or given[field] != value:
            text = set_charter(text, field, list(value) if isinstance(value, tuple) else value)
    return text


def _judged(claim: CharterClaim, sentences: Sequence[Sentence]) -> list[CharterFinding] | Refusal | None:
    """None for a default that no sentence says: it is left out, and nothing is wrong with that."""
    name = claim.field if _NAME.fullmatch(claim.field) else "?"
    if claim.field not in FIELDS:
        return Refusal(name, None, "the charter has no such field", mendable=True)
    value, wrong = _value(claim.field, claim.value)
    if not claim.evidence:
        default = not wrong and value == Charter().get(claim.field)
        return None if default else Refusal(name, claim.value, "no sentence is named that says so")
    for number, words in claim.evidence:
        if not 1 <= number <= len(sentences):
            return Refusal(name, claim.value, f"there is no sentence {number}")
        if not _stands_in(words, sentences[number - 1].text):
            return Refusal(name, claim.value, f"the words quoted do not stand in sentence {number}")
    if wrong:
        return Refusal(name, claim.value, wrong, mendable=True)
    if isinstance(value, tuple) and any(all(part not in words for _, words in claim.evidence) for part in value):
        return Refusal(name, claim.value, "a name in it does not stand in the words quoted")
    said = dict(claim.evidence)  # a sentence is evidence once
    return [CharterFinding(name, value, sentences[n - 1], one_line(words), by_model=True) for n, words in said.items()]


def _value(field: str, value: Any) -> tuple[Any, str]:
    """The value as the charter's own parser reads it, or what that says is wrong with it."""
    try:
        json.dumps(value, allow_nan=False)
        parts = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
        if len(parts) > _MOST_PARTS or any(isinstance(part, dict | list) for part in parts):
            return None, f"{field} must be one value, a list of names or a mapping to numbers"
        return charter_fields(set_charter("Go.\n", field, value))[field], ""
    except ProgramError as error:
        return None, one_line(error.message.partition(": ")[2])
    except (ValueError, RecursionError):
        return None, f"{field} must be a value that JSON can hold"


def _refused(field: str, value: Any) -> bool:
    """Whether the charter does not take a value, though a sentence says it as we would: 900% of the budget."""
    tree: Any = value
    for part in reversed(field.split(".")):
        tree = {part: tree}
    try:
        Charter.model_validate(tree)
    except ValidationError:
        return True
    return False


def _stands_in(words: str, sentence: str) -> bool:
    """Whether whole words of a sentence, two or all of them, are quoted as they stand there; blanks do not count."""
    words, sentence = " ".join(words.split()), " ".join(sentence.split())
    inner = re.escape(words) if words else "(?!)"
    edges = r"(?<![^\W_])" if words[:1].isascii() else "", r"(?![^\W_])" if words[-1:].isascii() else ""
    enough = " " in words or words == sentence or (len(words) >= 4 and not words.isascii())
    return enough and re.search(edges[0] + inner + edges[1], sentence) is not None


def _in_order(findings: Iterable[CharterFinding]) -> tuple[CharterFinding, ...]:
    return tuple(sorted(findings, key=lambda f: (FIELDS.index(f.field), f.sentence.number)))

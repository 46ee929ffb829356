"""Derives a charter from a program's prose. Each claim about a sentence is checked before it is used.

A claim consists of a field, a value and the quoted words. It is accepted if the charter accepts the value and the words
occur in the named sentence, so a wrong claim of a model cannot add anything else. Sentences that `export --prose` wrote
are read without a model and give back the same charter; so are the usual wordings of `charter_wordings`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from programs import charter_phrases, charter_wordings
from programs.charter import Charter, CharterValue
from programs.charter_edit import charter_fields, set_charter
from programs.charter_phrases import PHRASES
from programs.errors import ProgramError
from programs.sentences import Sentence, sentences_of
from programs.text import one_line

FIELDS = tuple(PHRASES)  # all except ``version``
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
    """A field that a sentence sets; ``words`` are quoted from it."""

    field: str
    value: CharterValue
    sentence: Sentence
    words: str
    by_model: bool = False


@dataclass(frozen=True)
class Refusal:
    """A rejected claim with the reason. ``mendable``: its value is wrong, not its quote."""

    field: str
    value: Any
    reason: str
    mendable: bool = False


@dataclass(frozen=True)
class CharterReading:
    """``findings``: one for each sentence that sets a field, in the charter's order; they may contradict each other.

    ``unexpressed``: sentences about the process that no field can express; ``unread``: those that may set a field, and
    whose wording is not known, where no model has read them.
    """

    sentences: tuple[Sentence, ...]
    findings: tuple[CharterFinding, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    unexpressed: tuple[Sentence, ...] = ()
    unread: tuple[Sentence, ...] = ()

    @property
    def contradictions(self) -> dict[str, list[CharterFinding]]:
        """Fields that two sentences set to different values."""
        said = {f.field: [g for g in self.findings if g.field == f.field] for f in self.findings}
        return {field: values for field, values in said.items() if any(f.value != values[0].value for f in values)}

    @property
    def values(self) -> dict[str, CharterValue]:
        """The charter values in the prose, without the fields that contradict each other."""
        disputed = self.contradictions
        return {f.field: f.value for f in self.findings if f.field not in disputed}


def read_phrases(text: str, file: str = "program") -> CharterReading:
    """The sentences that `export --prose` wrote and other known wordings, anywhere in the text. Raises ProgramError for
    bad front matter."""
    sentences = sentences_of(text, file)
    findings = []
    for said in sentences:
        meant = charter_phrases.read(said.text)
        values = dict([meant]) if meant else charter_wordings.read(said.text)
        if not any(_refused(*pair) for pair in values.items()):
            findings += [CharterFinding(field, value, said, said.text) for field, value in values.items()]
    known = {finding.sentence.number for finding in findings}
    others = [said for said in sentences if said.number not in known]
    left = tuple(said for said in others if charter_wordings.no_field(said.text))
    unread = tuple(said for said in others if said not in left and charter_wordings.is_process(said.text))
    return CharterReading(sentences, _in_order(findings), unexpressed=left, unread=unread)


def judge(base: CharterReading, claims: Sequence[CharterClaim], unexpressed: Iterable[int]) -> CharterReading:
    """The reading with the accepted claims of a model. Claims about sentences that are already read are ignored."""
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
    known = {finding.sentence.number for finding in findings}
    said = {n for n in (*unexpressed, *(sentence.number for sentence in base.unexpressed)) if n not in known}
    left = tuple(sentence for sentence in base.sentences if sentence.number in said)
    return CharterReading(base.sentences, _in_order(findings), tuple(refusals), left)


def written(text: str, reading: CharterReading) -> str:
    """The program with the values of its prose in its front matter; fields that already have them stay as written."""
    given = charter_fields(text)
    for field, value in reading.values.items():
        if field not in given or given[field] != value:
            text = set_charter(text, field, list(value) if isinstance(value, tuple) else value)
    return text


def _judged(claim: CharterClaim, sentences: Sequence[Sentence]) -> list[CharterFinding] | Refusal | None:
    """The findings or the refusal; None for a claim of a default value without a sentence, which can be left out."""
    name = claim.field if _NAME.fullmatch(claim.field) else "?"
    if claim.field not in FIELDS:
        return Refusal(name, None, "the charter has no such field", mendable=True)
    value, wrong = _value(claim.field, claim.value)
    if not claim.evidence:
        default = not wrong and value == Charter().get(claim.field)
        return None if default else Refusal(name, claim.value, "the claim names no sentence")
    for number, words in claim.evidence:
        if not 1 <= number <= len(sentences):
            return Refusal(name, claim.value, f"there is no sentence {number}")
        if not _stands_in(words, sentences[number - 1].text):
            return Refusal(name, claim.value, f"the quoted words do not occur in sentence {number}")
    if wrong:
        return Refusal(name, claim.value, wrong, mendable=True)
    if isinstance(value, tuple) and any(all(part not in words for _, words in claim.evidence) for part in value):
        return Refusal(name, claim.value, "a name in the value does not occur in the quoted words")
    said = dict(claim.evidence)  # each sentence counts once
    return [CharterFinding(name, value, sentences[n - 1], one_line(words), by_model=True) for n, words in said.items()]


def _value(field: str, value: Any) -> tuple[Any, str]:
    """The value as the charter's parser reads it, or the parser's error message."""
    try:
        json.dumps(value, allow_nan=False)
        parts = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
        deeper = field != "phases" and any(isinstance(part, dict | list) for part in parts)
        if len(parts) > _MOST_PARTS or deeper:
            return None, f"{field} must be a single value, a list of names or a mapping from names to numbers"
        return charter_fields(set_charter("Go.\n", field, value))[field], ""
    except ProgramError as error:
        return None, one_line(error.message.partition(": ")[2])
    except (ValueError, RecursionError):
        return None, f"{field} must be a valid JSON value"


def _refused(field: str, value: Any) -> bool:
    """Whether the charter rejects a value that a sentence expresses correctly, such as 900% of the budget."""
    tree: Any = value
    for part in reversed(field.split(".")):
        tree = {part: tree}
    try:
        Charter.model_validate(tree)
    except ValidationError:
        return True
    return False


def _stands_in(words: str, sentence: str) -> bool:
    """Whether ``words`` quote whole words literally, at least two or the whole sentence; whitespace is ignored."""
    words, sentence = " ".join(words.split()), " ".join(sentence.split())
    inner = re.escape(words) if words else "(?!)"
    edges = r"(?<![^\W_])" if words[:1].isascii() else "", r"(?![^\W_])" if words[-1:].isascii() else ""
    enough = " " in words or words == sentence or (len(words) >= 4 and not words.isascii())
    return enough and re.search(edges[0] + inner + edges[1], sentence) is not None


def _in_order(findings: Iterable[CharterFinding]) -> tuple[CharterFinding, ...]:
    return tuple(sorted(findings, key=lambda f: (FIELDS.index(f.field), f.sentence.number)))

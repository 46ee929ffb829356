"""Writes a charter as sentences into its program, so that researchers outside Metaloop can follow it too.

There is one sentence for each field that is set, in the order of the charter, in a separate section at the end of the
text. Two marks enclose the section, so that writing it again replaces it.
"""

from __future__ import annotations

import re

from programs.charter_edit import charter_fields, settings_of
from programs.charter_phrases import PHRASES, say
from programs.sentences import sentences_of
from programs.stated_settings import consistent
from programs.text import newline_of

START, END = "<!-- metaloop: charter as prose -->", "<!-- metaloop: end of charter -->"
HEADING = "## How experiments are conducted"
_SECTION = re.compile(rf"\s*^{re.escape(START)}$.*?^{re.escape(END)}$\s*", re.MULTILINE | re.DOTALL)


def sentences(text: str) -> list[tuple[str, str]]:
    """(field, sentence) for each charter field that a program sets. ProgramError for a bad charter."""
    charter = settings_of(text).charter
    given = charter_fields(text)
    return [(field, say(field, given[field], charter)) for field in PHRASES if field in given]


def agreeing(text: str, before: str) -> str:
    """A mutated program whose sentences agree with its charter; ``before``: its parent."""
    newline = newline_of(text)
    return consistent(text.replace("\r\n", "\n"), before).replace("\n", newline)


def with_prose(text: str) -> str:
    """The program with its charter as sentences, which replace those of its prose that contradict them; the others
    follow in a section. Unchanged if no field is set or the sentences are there already.

    The front matter stays, so Metaloop can still carry the program out; other readers ignore it.
    """
    said = sentences(text)
    if not said and START not in text:
        return text
    newline = newline_of(text)
    rest = consistent(_SECTION.sub("\n\n", text.replace("\r\n", "\n"))).rstrip("\n")
    there = set(sentences_of(rest))
    left = [f"- {sentence}" for _, sentence in said if sentence not in there]
    if not left:
        return (rest + "\n").replace("\n", newline)
    lines = [START, HEADING, "", *left, END]
    whole = rest + "\n\n" + "\n".join(lines) + "\n"
    return whole.replace("\n", newline)

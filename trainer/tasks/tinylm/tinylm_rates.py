"""How often the grammar takes each of its turns; the same in every language."""

from __future__ import annotations

from tinylm_tables import Table, zipf


def chance(of: int, out: int) -> Table:
    """True in ``of`` of ``out`` draws."""
    return Table((False, True), (out - of, of))


KINDS = ("declarative", "question", "dialogue", "list", "idiom", "sum", "copy", "bracket")
SENTENCE = Table(KINDS, (150, 28, 40, 16, 26, 8, 8, 20))
STOP = chance(3, 64)
CAST = Table((2, 3, 4), (2, 1, 1))
MEMBER = {n: Table(range(n), zipf(n)) for n in (2, 3, 4)}  # which of the cast
# what the subject is; [has a subject gone before][inside a quotation]
SUBJECT = (
    (Table(("name", "noun"), (7, 6)), Table(("name", "noun", "me"), (5, 4, 4))),
    (Table(("name", "noun", "pronoun"), (7, 6, 3)), Table(("name", "noun", "pronoun", "me"), (5, 4, 2, 5))),
)
OBJECT_IS_NAME = chance(4, 16)
EPITHET = chance(1, 4)
ANAPHORIC = chance(5, 16)
RECENT = 8  # nouns that a definite determiner can go back to
BACK = {n: Table(range(n), zipf(n)) for n in range(1, RECENT + 1)}  # how far
PLURAL = Table((0, 1), (11, 5))
ADJECTIVE = chance(1, 4)
RELATIVE = chance(1, 8)
DEPTH = 2  # of relative clauses
ADVERB = chance(1, 5)
PLACE = chance(1, 4)
JOINED = chance(1, 8)
QUOTED = Table((".", "?", "!"), (8, 5, 3))
LEFT = Table(range(32), [1] * 32)
RIGHT = Table(range(16), [1] * 16)
COPIES = Table((2, 3, 4), (4, 3, 1))
BRACKET = Table(((" (", ")"), (" [", "]"), (" {", "}")), (4, 2, 1))
NESTING = 4
INSIDE = {False: Table(("close", "word"), (10, 6)), True: Table(("close", "word", "open"), (6, 4, 6))}

"""The 189 symbols of the language, and the ``tiktoken.Encoding`` that splits its text into them.

A symbol is a syllable with or without a space before it, a digit, a mark, a line end, or the capital shift
``^``. Words travel through the generator as ``bytes`` whose values are symbol numbers, so that a document is
tokenised while it is written; a word is stored with the space before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tiktoken

CONSONANTS = "bdfghjklmnprstvz"
VOWELS = "aeiou"
SYLLABLES = tuple(c + v for c in CONSONANTS for v in VOWELS)
SPACED = len(SYLLABLES)  # number of the first syllable with a space before it
MARKS = ("\n", " ^", "^", ".", ",", "?", "!", ":", ";", ' "', '"', " (", ")", " [", "]", " {", "}", "+", "=")
SYMBOLS = (*SYLLABLES, *(" " + s for s in SYLLABLES), *"0123456789", *MARKS)
VOCABULARY = len(SYMBOLS)
NUMBER = {symbol: number for number, symbol in enumerate(SYMBOLS)}
LENGTHS = tuple(len(symbol.encode()) for symbol in SYMBOLS)
PATTERN = rf"""[ ]?[{CONSONANTS}][{VOWELS}]|[0-9]|\n|[ ]?\^|[.,?!:;)\]}}+=]|[ ]?["(\[{{]"""

NEWLINE, SHIFT, BARE_SHIFT = (bytes([NUMBER[s]]) for s in ("\n", " ^", "^"))


def spell(symbols: bytes) -> str:
    """The text that symbol numbers stand for."""
    return "".join([SYMBOLS[number] for number in symbols])


def mark(symbol: str) -> bytes:
    """One symbol as the generator writes it."""
    return bytes([NUMBER[symbol]])


def capital(word: bytes) -> bytes:
    """A word at the start of a sentence: shift instead of space; names are shifted already."""
    return word if word[:1] == SHIFT else SHIFT + bytes([word[0] - SPACED]) + word[1:]


def encoding() -> tiktoken.Encoding:
    """Text to symbol numbers and back. Text outside the language has no encoding and raises."""
    import tiktoken

    ranks = {symbol.encode(): number for symbol, number in NUMBER.items()}
    return tiktoken.Encoding("tinylm", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={})

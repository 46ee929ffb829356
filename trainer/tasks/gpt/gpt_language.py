"""The words and tables of one generated language, all from one seed; integers only, so that every machine has the same.

A symbol is a syllable with or without a space before it, a digit, a mark or the line end that closes a document. Words
are arrays of symbol numbers. Most of what a model can learn here is knowledge: which of 262,144 names a topic speaks
of, and 24 attributes of each. Names fall off in frequency by octaves, so there is always a rarer fact to learn next.
"""

from __future__ import annotations

import math

import numpy as np

CONSONANTS, VOWELS, CODAS = "bdfghjklmnprstvwyzcx", "aeiou", ("", "n", "r", "s", "l")
SYLLABLES = tuple(c + v + end for c in CONSONANTS for v in VOWELS for end in CODAS)
MARKS = ("\n", ".", ",", "?", ";", ":", "+", "=")
SYMBOLS = (*MARKS, *"0123456789", *(" " + s for s in SYLLABLES), *SYLLABLES)
LINE_END, FULL, COMMA, ASK, AGAIN, COLON, PLUS, EQUALS = range(len(MARKS))
DIGIT, INITIAL, INNER = len(MARKS), len(MARKS) + 10, len(MARKS) + 10 + len(SYLLABLES)

BITS = 12  # of a draw from a table: 4,096 cells
TOPICS, TENSES, MOODS, RELATIONS, KINDS_OF_NAME = 128, 3, 4, 24, 16
RULED = 8  # relations whose attribute follows from the name's last syllable; the others must be remembered
NAME_BITS, VERB_BITS, ITEM_BITS, WORD_BITS, VALUE_BITS, ATTRIBUTE_BITS = 18, 9, 10, 14, 8, 7
RECENT, KEYS, COUNTS, COPIES = 4, 4, 5, 4  # lengths of a list: 2 to 6; of a copy: 2 to 5
SENTENCES = 64  # of a document at most
STOP = 3, 64  # a document ends after a sentence in so many of so many cases
FACT, ACT, REPEAT, COPY, SUM, LIST, RECALL = range(7)
FREQUENCY = (  # of the seven kinds of sentence, by mood
    (40, 24, 12, 4, 4, 6, 10),
    (20, 44, 12, 4, 2, 4, 14),
    (28, 16, 30, 8, 2, 4, 12),
    (24, 16, 8, 12, 12, 16, 12),
)


class Table:
    """A choice with integer weights: ``cells[draw]`` is the item, ``bits[item]`` what it costs, exactly."""

    def __init__(self, weights: list[int]) -> None:
        cells, spare = 1 << BITS, (1 << BITS) - len(weights)
        counts = [1 + weight * spare // sum(weights) for weight in weights]
        counts[0] += cells - sum(counts)
        self.cells = np.repeat(np.arange(len(weights)), counts)
        self.bits = np.array([BITS - math.log2(count) for count in counts])


class Octaves:
    """Ranks below 2**top: an octave from a table, then any rank in it alike; close to a power law."""

    def __init__(self, top: int) -> None:
        self.table = Table([17**k * 20 ** (top - k) for k in range(top)])

    def draw(self, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ranks and their bits, of raw 64-bit words."""
        octave = self.table.cells[raw & ((1 << BITS) - 1)]
        size = np.int64(1) << octave
        return size - 1 + ((raw >> BITS) & (size - 1)), self.table.bits[octave] + octave


class Words:
    """Hands out the syllables that words start with, none twice, and those they go on with."""

    def __init__(self, raw: np.random.PCG64) -> None:
        self.initials = INITIAL + _shuffled(raw, len(SYLLABLES))
        self.inners = INNER + _shuffled(raw, len(SYLLABLES))

    def start(self, n: int) -> np.ndarray:
        taken, self.initials = self.initials[:n], self.initials[n:]
        return taken

    def inner(self, n: int) -> np.ndarray:
        taken, self.inners = self.inners[:n], self.inners[n:]
        return taken


class Language:
    """The lexicon: where a word has several symbols, an array for each place."""

    def __init__(self, seed: int) -> None:
        raw = np.random.PCG64(np.random.SeedSequence((seed, 0)))
        words = Words(raw)
        self.topics, self.tenses, self.moods = words.start(TOPICS), words.start(TENSES), words.start(MOODS)
        self.relations, self.counts, self.keys = words.start(RELATIONS), words.start(COUNTS), words.start(KEYS)
        self.repeat, self.copy, self.sum = words.start(3)
        self.name = words.start(64), words.inner(64), words.inner(64)
        self.attribute = words.start(RELATIONS), words.inner(1 << ATTRIBUTE_BITS)
        self.verb = words.start(32), words.inner(16), words.inner(TENSES * KINDS_OF_NAME)
        self.item = words.start(32), words.inner(32)
        self.word = words.start(128), words.inner(128)
        self.value = words.start(16), words.inner(16)
        self.key = int(raw.random_raw()) | 1  # of the hash that holds all facts
        self.turns = raw.random_raw(3 * TOPICS).astype(np.int64).reshape(3, TOPICS) & ((1 << 30) - 1) | 1
        self.names, self.verbs, self.items = Octaves(NAME_BITS), Octaves(VERB_BITS), Octaves(ITEM_BITS)
        self.relation = Table([10**6 // (rank + 2) for rank in range(RELATIONS)])
        self.kinds = [Table(list(weights)) for weights in FREQUENCY]
        self.kind_cells = np.stack([table.cells for table in self.kinds])
        self.kind_bits = np.stack([table.bits for table in self.kinds])
        self.back, self.many, self.long = Table([8, 4, 2, 1]), Table([5, 5, 3, 2, 1]), Table([4, 3, 2, 1])

    def named(self, topic: np.ndarray, rank: np.ndarray) -> np.ndarray:
        """The name of a rank in a topic: each topic has an order of its own over all names."""
        mask = (1 << NAME_BITS) - 1
        number = (rank * self.turns[0][topic] + self.turns[1][topic]) & mask
        number = ((number ^ (number >> 9)) * 0x2C1B3) & mask
        return number ^ (number >> 11)

    def turned(self, row: int, by: np.ndarray, rank: np.ndarray, bits: int) -> np.ndarray:
        """An order of 2**bits things that differs by ``by``."""
        return (rank * self.turns[row][by] + (self.turns[row][by] >> 7)) & ((1 << bits) - 1)

    def related(self, topic: np.ndarray, rank: np.ndarray) -> np.ndarray:
        return (rank + 5 * topic) % RELATIONS

    def fact(self, name: np.ndarray, relation: np.ndarray) -> np.ndarray:
        """The attribute of a name: by its kind for the ruled relations, else one of its own."""
        of = np.where(relation < RULED, kind_of(name), 16 + name).astype(np.uint64)
        x = (of * np.uint64(RELATIONS) + relation.astype(np.uint64)) * np.uint64(self.key)
        x = (x ^ (x >> np.uint64(31))) * np.uint64(0x9E3779B97F4A7C15)
        return (x >> np.uint64(64 - ATTRIBUTE_BITS)).astype(np.int64)


def kind_of(name: np.ndarray) -> np.ndarray:
    """The kind of a name, 0..15, as its last syllable tells."""
    return (name & 63) >> 2


def _shuffled(raw: np.random.PCG64, n: int) -> np.ndarray:
    return np.argsort(raw.random_raw(n), kind="stable")


def lengths() -> np.ndarray:
    """Bytes of each symbol."""
    return np.array([len(symbol.encode()) for symbol in SYMBOLS])

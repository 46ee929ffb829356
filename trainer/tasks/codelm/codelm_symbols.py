"""The symbols: every byte, and frequent fragments of the text. A text is read from the left, longest symbol first."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

BYTES = 256
LONGEST = 16  # bytes of a fragment
NEWLINE = 10


class Alphabet:
    """All bytes and then the fragments, each a symbol."""

    def __init__(self, fragments: Sequence[bytes]) -> None:
        self.symbols = (*(bytes([number]) for number in range(BYTES)), *fragments)
        self.lengths = np.array([len(symbol) for symbol in self.symbols])
        self._numbers = {symbol: number for number, symbol in enumerate(self.symbols)}
        longest_first = sorted(fragments, key=lambda fragment: (-len(fragment), fragment))
        self._split = re.compile(b"|".join([*map(re.escape, longest_first), b"."]), re.DOTALL)

    def encode(self, text: bytes) -> np.ndarray:
        """Symbol numbers, int16 [symbols]; any text has them."""
        found = self._split.findall(text)
        return np.fromiter(map(self._numbers.__getitem__, found), np.int16, len(found))

    def spell(self, numbers: np.ndarray) -> bytes:
        """The text that symbol numbers stand for."""
        return b"".join([self.symbols[number] for number in numbers.tolist()])


def learn(text: bytes, count: int) -> list[bytes]:
    """The fragments that join the most frequent pair of neighbours again and again (byte pair encoding, Gage 1994)."""
    spelled = [bytes([number]) for number in range(BYTES)]
    total = BYTES + count
    symbols = np.frombuffer(text, np.uint8).astype(np.int64)
    barred = np.zeros(total * total, bool)
    while len(spelled) < total:
        pairs = symbols[:-1] * total + symbols[1:]
        counts = np.bincount(pairs, minlength=total * total)
        counts[barred] = 0
        best = int(counts.argmax())
        one, two = divmod(best, total)
        joined = spelled[one] + spelled[two]
        if counts[best] == 0:
            break
        if len(joined) > LONGEST or joined in spelled:
            barred[best] = True
            continue
        places = np.flatnonzero(pairs == best)
        if one == two:  # of a run a a a every second one
            starts = np.concatenate([[True], np.diff(places) > 1])
            first = np.maximum.accumulate(np.where(starts, np.arange(len(places)), 0))
            places = places[(np.arange(len(places)) - first) % 2 == 0]
        symbols[places] = len(spelled)
        symbols = np.delete(symbols, places + 1)
        spelled.append(joined)
    return spelled[BYTES:]

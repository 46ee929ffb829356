"""Chance in integers only: raw PCG64 words in, table entries out, so that every machine draws the same.

A ``Table`` has 4,096 cells; an item's probability is its number of cells over 4,096, exactly.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

BITS = 12
CELLS = 1 << BITS
BLOCK = 1 << 14  # raw 64-bit words per refill, four draws each


class Table:
    """Items with integer weights; ``items[draw]`` is a choice, ``bits[item]`` what it costs."""

    def __init__(self, items: Sequence[Hashable], weights: Sequence[int]) -> None:
        cells: list[Any] = []
        for item, count in zip(items, share(weights), strict=True):
            cells += [item] * count
        self.items = cells

    @cached_property
    def bits(self) -> dict[Any, float]:
        """Bits of choosing each item: -log2(cells of the item / all cells)."""
        return {item: BITS - math.log2(count) for item, count in Counter(self.items).items()}


def share(weights: Sequence[int]) -> list[int]:
    """4,096 cells in proportion to the weights by largest remainder, at least one each."""
    total, spare = sum(weights), CELLS - len(weights)
    counts = [1 + weight * spare // total for weight in weights]
    byremainder = sorted(range(len(weights)), key=lambda i: (-(weights[i] * spare % total), i))
    for i in byremainder[: CELLS - sum(counts)]:
        counts[i] += 1
    return counts


def zipf(n: int) -> list[int]:
    """Integer weights proportional to (rank + 3) ** -1.5."""
    return [math.isqrt(10**18 // (rank + 3) ** 3) for rank in range(n)]


class Dice:
    """A stream of 12-bit integers from PCG64 raw words (stable across NumPy versions and machines)."""

    def __init__(self, *key: int) -> None:
        self._raw = np.random.PCG64(np.random.SeedSequence(key))
        self._refill()

    def _refill(self) -> None:
        words = self._raw.random_raw(BLOCK).astype("<u8").view("<u2") >> (16 - BITS)
        self._left = iter(words.tolist())

    def roll(self) -> int:
        """The next integer, uniform in [0, 4096)."""
        for value in self._left:
            return value
        self._refill()
        return self.roll()

    def draw(self, table: Table) -> Any:
        return table.items[self.roll()]

    def below(self, n: int) -> int:
        """Uniform in [0, n) for n up to 2**24 (rejection; for building, not for writing)."""
        limit = (1 << 2 * BITS) // n * n
        while (value := self.roll() << BITS | self.roll()) >= limit:
            pass
        return value % n

    def shuffled(self, items: Sequence[Any]) -> list[Any]:
        result = list(items)
        for i in range(len(result) - 1, 0, -1):
            j = self.below(i + 1)
            result[i], result[j] = result[j], result[i]
        return result

    def swapped(self, items: Sequence[Any], swaps: int) -> list[Any]:
        """The same items after a few random exchanges of two."""
        result = list(items)
        for _ in range(swaps):
            i, j = self.below(len(result)), self.below(len(result))
            result[i], result[j] = result[j], result[i]
        return result


def counting(dice: Dice) -> tuple[Callable[[Table], Any], list[float]]:
    """A ``draw`` that also notes the bits of every choice in the returned list."""
    spent: list[float] = []

    def draw(table: Table) -> Any:
        item = dice.draw(table)
        spent.append(table.bits[item])
        return item

    return draw, spent

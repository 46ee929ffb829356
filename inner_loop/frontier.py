"""The kept sources from which candidates are made."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from inner_loop.record import Record


class Frontier:
    """The best `size` kept records, used as parents in turn.

    With `rewind_after`, that many candidates in a row that were not kept go back to the previous kept source; from the
    baseline, back to the best. `best` is the run's result so far: the record that the keep rule accepted over the best,
    or one kept on another branch with a greater `value`.
    """

    def __init__(self, first: Record, *, size: int, rewind_after: int, value: Callable[[Record], float]) -> None:
        self._kept: list[Record] = [first]
        self.best = first
        self._heads = [first]
        self._size = size
        self._rewind_after = rewind_after
        self._value = value
        self._failures = 0
        self._turn = 0

    @property
    def heads(self) -> tuple[Record, ...]:
        return tuple(self._heads)

    def parent(self) -> Record:
        """The next parent; successive calls cycle through the heads."""
        head = self._heads[self._turn % len(self._heads)]
        self._turn += 1
        return head

    def kept(self, record: Record, parent: Record) -> None:
        """Add a kept record: it replaces its parent if there is one head, else the worst head if there are too many."""
        self._failures = 0
        self._kept.append(record)
        if parent is self.best or self._value(record) > self._value(self.best):
            self.best = record
        if self._size == 1:
            self._heads = [record]
            return
        ranked = sorted([*self._heads, record], key=self._value, reverse=True)
        self._heads = ranked[: self._size]

    def failed(self, count: int, history: Sequence[Record]) -> None:
        """Count candidates that were not kept, and rewind when the limit is reached."""
        self._failures += count
        if self._rewind_after and self._failures >= self._rewind_after:
            self._failures = 0
            self._heads = [self._before(history)]

    def _before(self, history: Sequence[Record]) -> Record:
        """The kept record from which the first head was made; the best one if that head is the baseline."""
        number = self._heads[0].parent
        while number is not None:
            if history[number] in self._kept:
                return history[number]
            number = history[number].parent
        return self.best

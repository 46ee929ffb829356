"""Reads documents of the task gpt's language symbol by symbol and counts their bits anew, without the writer."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any


class Reader:
    """``bits(symbols)`` of one document. ``g`` is the task's module gpt_language. AssertionError for another text."""

    def __init__(self, g: ModuleType, language: Any) -> None:
        self.g, self.language = g, language
        self.first = {  # what a first symbol begins
            **{int(s): self._repeat for s in [language.repeat]},
            **{int(s): self._copy for s in [language.copy]},
            **{int(s): self._sum for s in [language.sum]},
            **{int(s): self._list for s in language.counts},
            **{int(s): self._recall for s in language.keys},
            **{int(s): self._named for s in language.name[0]},
        }
        self.ranks: dict[int, Any] = {}  # of each name, by topic

    def bits(self, symbols: list[int]) -> float:
        self.text, self.at, self.spent = symbols, 0, 0.0
        self._header()
        for number in range(1, self.g.SENTENCES + 1):
            start, before = self.at, self.spent
            kind = self.first[self.text[start]]()
            count = (self.language.kinds[self.mood].cells == kind).sum()
            self._pay(count / 4096)
            assert self.at > start and self.spent > before
            last = self.text[self.at] == self.g.LINE_END
            stop = self.g.STOP[0] / self.g.STOP[1]
            if number < self.g.SENTENCES:
                self._pay(stop if last else 1 - stop)
            if last:
                break
        assert self.at == len(symbols) - 1
        return self.spent

    def _pay(self, chance: float) -> None:
        self.spent -= math.log2(chance)

    def _take(self) -> int:
        self.at += 1
        return self.text[self.at - 1]

    def _expect(self, symbol: int) -> None:
        assert self._take() == symbol

    def _of(self, choices: Any) -> int:
        return [int(s) for s in choices].index(self._take())

    def _pair(self, words: Any) -> int:
        first, second = self._of(words[0]), self._of(words[1])
        return first * len(words[1]) + second

    def _octave(self, rank: int, octaves: Any) -> None:
        octave = (rank + 1).bit_length() - 1
        self._pay((octaves.table.cells == octave).sum() / 4096 / 2**octave)

    def _header(self) -> None:
        lang, g = self.language, self.g
        self.topic, self.tense, self.mood = self._of(lang.topics), self._of(lang.tenses), self._of(lang.moods)
        self._pay(1 / g.TOPICS / g.MOODS * ((65536 + 2 - self.tense) // 3) / 65536)
        self.recent: list[int] = [0] * g.RECENT
        for _ in range(g.RECENT):
            self._new_name()
        self.values = []
        for key in range(g.KEYS):
            self._expect(int(lang.keys[key]))
            self.values.append(self._pair(lang.value))
            self._pay(1 / 256)
        self._expect(g.FULL)

    def _spelt(self) -> int:
        one, two, three = (self._of(part) for part in self.language.name)
        return one * 4096 + two * 64 + three

    def _new_name(self) -> int:
        import numpy as np

        if self.topic not in self.ranks:
            every = np.arange(2**18 - 1)
            named = self.language.named(np.full(len(every), self.topic), every)
            self.ranks[self.topic] = np.full(2**18, -1)
            self.ranks[self.topic][named] = every
            assert (self.ranks[self.topic] < 0).sum() == 1, "each rank has a name of its own"
        name = self._spelt()
        self._octave(int(self.ranks[self.topic][name]), self.language.names)
        self.recent = [name, *self.recent[:-1]]
        return name

    def _attribute(self, name: int) -> None:
        import numpy as np

        relation = self._of(self.language.relations)
        self._pay((self.language.relation.cells == (relation - 5 * self.topic) % self.g.RELATIONS).sum() / 4096)
        assert self._of(self.language.attribute[0]) == relation
        known = self.language.fact(np.array([name]), np.array([relation]))
        assert self._of(self.language.attribute[1]) == known[0]
        self._expect(self.g.FULL)

    def _named(self) -> int:
        name = self._new_name()
        if self.text[self.at] in self.language.relations:
            self._attribute(name)
            return int(self.g.FACT)
        verb, kind = self._pair(self.language.verb[:2]), (name & 63) >> 2
        assert self._of(self.language.verb[2]) == self.tense * 16 + kind
        turn = int(self.language.turns[2][kind])
        rank = (verb - (turn >> 7)) * pow(turn, -1, 512) % 512
        self._octave(rank, self.language.verbs)
        self._new_name()
        self._expect(self.g.FULL)
        return int(self.g.ACT)

    def _repeat(self) -> int:
        self._take()
        name = self._spelt()
        places = [place for place, known in enumerate(self.recent) if known == name]
        self._pay(sum((self.language.back.cells == place).sum() / 4096 for place in places))
        self._attribute(name)
        return int(self.g.REPEAT)

    def _copy(self) -> int:
        self._take()
        words = []
        while self.text[self.at] != self.g.AGAIN:
            words.append(self._pair(self.language.word))
            self._pay(1 / 16384)
        self._pay((self.language.long.cells == len(words) - 2).sum() / 4096)
        self._take()
        assert [self._pair(self.language.word) for _ in words] == words
        self._expect(self.g.FULL)
        return int(self.g.COPY)

    def _number(self, mark: int) -> int:
        digits = ""
        while self.text[self.at] != mark:
            digits += str(self._take() - self.g.DIGIT)
        self._take()
        assert digits == str(int(digits))
        return int(digits)

    def _sum(self) -> int:
        self._take()
        left, right = self._number(self.g.PLUS), self._number(self.g.EQUALS)
        assert max(left, right) < 128
        self._pay(1 / 128 / 128)
        assert self._number(self.g.FULL) == left + right
        return int(self.g.SUM)

    def _list(self) -> int:
        length = 2 + self._of(self.language.counts)
        self._pay((self.language.many.cells == length - 2).sum() / 4096)
        for _ in range(length):
            turn = int(self.language.turns[0][self.topic])
            rank = (self._pair(self.language.item) - (turn >> 7)) * pow(turn, -1, 1024) % 1024
            self._octave(rank, self.language.items)
        self._expect(self.g.FULL)
        return int(self.g.LIST)

    def _recall(self) -> int:
        key = self._of(self.language.keys)
        self._pay(1 / 4)
        self._expect(self.g.ASK)
        assert self._pair(self.language.value) == self.values[key]
        self._expect(self.g.FULL)
        return int(self.g.RECALL)

"""Writes documents, thousands at a time: sentence by sentence, each kind of sentence as arrays over documents."""

from __future__ import annotations

import math

import numpy as np

import gpt_language as g

WIDTH = 24  # symbols of the longest sentence
HEADER = 4 + 3 * g.RECENT + 3 * g.KEYS
_NONE = np.uint16(65535)  # no symbol in this place


class Writer:
    """``documents`` of a language, from the raw words of one PCG64; ``bits[i]`` is what document i cost."""

    def __init__(self, language: g.Language, raw: np.random.PCG64) -> None:
        self.language, self.raw = language, raw

    def documents(self, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Symbols uint16 [all], the length of each document [count], its bits [count]."""
        page = np.full((count, HEADER + g.SENTENCES * WIDTH + 1), _NONE)
        self.bits = np.zeros(count)
        self._header(page[:, :HEADER])
        alive = np.arange(count)
        for number in range(g.SENTENCES):
            start = HEADER + number * WIDTH
            self._sentences(alive, page[:, start : start + WIDTH])
            if number + 1 < g.SENTENCES:
                stop = self._draws(len(alive), 1)[0] & 63 < g.STOP[0]
                self.bits[alive] += np.where(stop, *(-math.log2(p / 64) for p in (g.STOP[0], 64 - g.STOP[0])))
                alive = alive[~stop]
        page[:, -1] = g.LINE_END
        kept = page != _NONE
        return page[kept], kept.sum(1), self.bits

    def _draws(self, count: int, columns: int) -> np.ndarray:
        """Non-negative int64 [columns, count]."""
        return (self.raw.random_raw(count * columns) >> 1).astype(np.int64).reshape(columns, count)

    def _header(self, out: np.ndarray) -> None:
        """Topic, tense and mood of each document, the names it starts from, and what its keys stand for."""
        lang, count = self.language, len(out)
        first, *names = self._draws(count, 1 + g.RECENT)
        self.topic, self.mood = first & (g.TOPICS - 1), (first >> 8) & (g.MOODS - 1)
        self.tense = (first >> 16 & 0xFFFF) % g.TENSES
        out[:, 0], out[:, 1], out[:, 2] = lang.topics[self.topic], lang.tenses[self.tense], lang.moods[self.mood]
        share = np.array([(65536 // 3 + (i == 0)) / 65536 for i in range(g.TENSES)])
        self.bits += math.log2(g.TOPICS * g.MOODS) - np.log2(share[self.tense])
        self.recent = np.zeros((count, g.RECENT), dtype=np.int64)
        everyone = np.arange(count)
        for place, raw in enumerate(names):
            self._spell(out, 3 + 3 * place, self._new_name(everyone, raw), everyone)
        self.values = self._draws(count, g.KEYS) & ((1 << g.VALUE_BITS) - 1)
        self.bits += g.KEYS * g.VALUE_BITS
        for key, value in enumerate(self.values):
            at = 3 + 3 * g.RECENT + 3 * key
            out[:, at] = lang.keys[key]
            out[:, at + 1], out[:, at + 2] = lang.value[0][value >> 4], lang.value[1][value & 15]
        out[:, HEADER - 1] = g.FULL

    def _new_name(self, docs: np.ndarray, raw: np.ndarray) -> np.ndarray:
        """A name by its frequency in the topic; the documents' recent names take it up."""
        rank, bits = self.language.names.draw(raw)
        name = self.language.named(self.topic[docs], rank)
        self.bits[docs] += bits
        self.recent[docs] = np.concatenate((name[:, None], self.recent[docs, :-1]), 1)
        return name

    def _spell(self, out: np.ndarray, at: int, name: np.ndarray, docs: np.ndarray) -> None:
        first, second, third = self.language.name
        out[docs, at], out[docs, at + 1] = first[name >> 12], second[name >> 6 & 63]
        out[docs, at + 2] = third[name & 63]

    def _sentences(self, alive: np.ndarray, out: np.ndarray) -> None:
        raw, *more = self._draws(len(alive), 8)
        kind = self.language.kind_cells[self.mood[alive], raw & 4095]
        self.bits[alive] += self.language.kind_bits[self.mood[alive], kind]
        writers = (self._fact, self._act, self._repeat, self._copy, self._sum, self._list, self._recall)
        for number, write in enumerate(writers):
            chosen = np.flatnonzero(kind == number)
            write(alive[chosen], out, [column[chosen] for column in more])

    def _attribute(self, docs: np.ndarray, out: np.ndarray, at: int, name: np.ndarray, raw: np.ndarray) -> None:
        """A relation, the attribute that the name has there, a full stop."""
        lang = self.language
        rank = lang.relation.cells[raw & 4095]
        relation = lang.related(self.topic[docs], rank)
        self.bits[docs] += lang.relation.bits[rank]
        out[docs, at], out[docs, at + 1] = lang.relations[relation], lang.attribute[0][relation]
        out[docs, at + 2], out[docs, at + 3] = lang.attribute[1][lang.fact(name, relation)], g.FULL

    def _fact(self, docs: np.ndarray, out: np.ndarray, raw: list[np.ndarray]) -> None:
        name = self._new_name(docs, raw[0])
        self._spell(out, 0, name, docs)
        self._attribute(docs, out, 3, name, raw[1])

    def _repeat(self, docs: np.ndarray, out: np.ndarray, raw: list[np.ndarray]) -> None:
        """Something about a recent name; where it stands twice among them, its chances add up."""
        back = self.language.back
        place = back.cells[raw[0] & 4095]
        name = self.recent[docs, place]
        chance = (self.recent[docs] == name[:, None]) @ (2.0**-back.bits)
        self.bits[docs] -= np.log2(chance)
        out[docs, 0] = self.language.repeat
        self._spell(out, 1, name, docs)
        self._attribute(docs, out, 4, name, raw[1])

    def _act(self, docs: np.ndarray, out: np.ndarray, raw: list[np.ndarray]) -> None:
        """Name, verb, name: the kind of the first decides which verbs are frequent, and with the tense their ending."""
        lang = self.language
        name = self._new_name(docs, raw[0])
        kind = g.kind_of(name)
        rank, bits = lang.verbs.draw(raw[1])
        verb = lang.turned(2, kind, rank, g.VERB_BITS)
        self.bits[docs] += bits
        self._spell(out, 0, name, docs)
        out[docs, 3], out[docs, 4] = lang.verb[0][verb >> 4], lang.verb[1][verb & 15]
        out[docs, 5] = lang.verb[2][self.tense[docs] * g.KINDS_OF_NAME + kind]
        self._spell(out, 6, self._new_name(docs, raw[2]), docs)
        out[docs, 9] = g.FULL

    def _copy(self, docs: np.ndarray, out: np.ndarray, raw: list[np.ndarray]) -> None:
        """Two to five words, any word alike, and then the same again."""
        lang = self.language
        length = 2 + lang.long.cells[raw[0] & 4095]
        self.bits[docs] += lang.long.bits[length - 2] + length * g.WORD_BITS
        out[docs, 0] = lang.copy
        for i in range(g.COPIES + 1):
            some = i < length
            word, here, size = raw[1 + i][some] & ((1 << g.WORD_BITS) - 1), docs[some], length[some]
            for at in (1 + 2 * i, 2 + 2 * (size + i)):
                out[here, at], out[here, at + 1] = lang.word[0][word >> 7], lang.word[1][word & 127]
        out[docs, 1 + 2 * length], out[docs, 2 + 4 * length] = g.AGAIN, g.FULL

    def _sum(self, docs: np.ndarray, out: np.ndarray, raw: list[np.ndarray]) -> None:
        left, right = raw[0] & 127, raw[0] >> 8 & 127
        self.bits[docs] += 14
        out[docs, 0] = self.language.sum
        for at, value, mark in ((1, left, g.PLUS), (5, right, g.EQUALS), (9, left + right, g.FULL)):
            for digit, unit in enumerate((100, 10, 1)):
                some = (value >= unit) | (unit == 1)
                out[docs[some], at + digit] = g.DIGIT + value[some] // unit % 10
            out[docs, at + 3] = mark

    def _list(self, docs: np.ndarray, out: np.ndarray, raw: list[np.ndarray]) -> None:
        """A word for how many, then so many things of the topic."""
        lang = self.language
        length = 2 + lang.many.cells[raw[0] & 4095]
        self.bits[docs] += lang.many.bits[length - 2]
        out[docs, 0] = lang.counts[length - 2]
        for i in range(g.COUNTS + 1):
            some = i < length
            here, (rank, bits) = docs[some], lang.items.draw(raw[1 + i][some])
            item = lang.turned(0, self.topic[here], rank, g.ITEM_BITS)
            self.bits[here] += bits
            out[here, 1 + 2 * i], out[here, 2 + 2 * i] = lang.item[0][item >> 5], lang.item[1][item & 31]
        out[docs, 1 + 2 * length] = g.FULL

    def _recall(self, docs: np.ndarray, out: np.ndarray, raw: list[np.ndarray]) -> None:
        """What a key of the header stands for."""
        lang = self.language
        key = raw[0] & (g.KEYS - 1)
        value = self.values[key, docs]
        self.bits[docs] += math.log2(g.KEYS)
        out[docs, 0], out[docs, 1], out[docs, 4] = lang.keys[key], g.ASK, g.FULL
        out[docs, 2], out[docs, 3] = lang.value[0][value >> 4], lang.value[1][value & 15]

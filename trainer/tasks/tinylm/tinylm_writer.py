"""Writes documents: one derivation per text, every choice drawn from a table of known probability."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tinylm_rates as rates
from tinylm_lexicon import PERSON, Adjective, Lexicon, Name, Noun
from tinylm_symbols import BARE_SHIFT, NEWLINE, capital, mark
from tinylm_tables import Table

FULL, COMMA, ASK, CRY, COLON, AGAIN, PLUS, EQUALS = map(mark, ".,?!:;+=")
OPEN_QUOTE, CLOSE_QUOTE = mark(' "'), mark('"')
DIGITS = [mark(digit) for digit in "0123456789"]
BRACKETS = {text: mark(text) for pair in rates.BRACKET.bits for text in pair}


class Writer:
    """Writes documents of one language with the given source of choices."""

    def __init__(self, lexicon: Lexicon, draw: Callable[[Table], Any]) -> None:
        self.lexicon = lexicon
        self.draw = draw

    def document(self) -> bytes:
        """A document as symbol numbers: a header line, then a line of sentences."""
        self.out: list[bytes] = []
        self.recent: list[tuple[Noun, int]] = []  # nouns with their number, latest first
        self.epithets: dict[Name, Adjective] = {}
        self.last: tuple[int, int, int] | None = None  # gender, number, class of the last subject
        self.quoting = False
        self._header()
        start = len(self.out)
        while True:
            self._sentence()
            if self.draw(rates.STOP):
                break
        for first in (0, start):  # no space at the start of a line
            self.out[first] = BARE_SHIFT + self.out[first][1:]
        return b"".join(self.out) + NEWLINE

    def _header(self) -> None:
        lexicon, draw = self.lexicon, self.draw
        self.topic, self.tense = draw(lexicon.topics), draw(lexicon.tenses)
        self.out += [capital(lexicon.topic_words[self.topic]), lexicon.tense_words[self.tense]]
        size = draw(rates.CAST)
        self.cast: list[Name] = [draw(lexicon.names[place][self.topic]) for place in range(size)]
        self.out += [name.form for name in self.cast]
        self.out.append(NEWLINE)

    def _sentence(self) -> None:
        start = len(self.out)
        getattr(self, "_" + self.draw(rates.SENTENCE))()
        self.out[start] = capital(self.out[start])

    def _declarative(self, end: bytes = FULL) -> None:
        self._clause()
        if self.draw(rates.JOINED):
            self.out += [COMMA, self.draw(self.lexicon.joints)]
            self._clause()
        self.out.append(end)

    def _question(self) -> None:
        word = self.draw(self.lexicon.asking)
        self.out.append(word)
        if word == self.lexicon.who:
            self._predicate(PERSON, 0, 0)
        else:
            self._clause()
        self.out.append(ASK)

    def _dialogue(self) -> None:
        speaker = self.cast[self.draw(rates.MEMBER[len(self.cast)])]
        self.last = (speaker.gender, 0, PERSON)
        self.out += [speaker.form, self.draw(self.lexicon.speech)[self.tense], COLON, OPEN_QUOTE]
        start = len(self.out)
        self.quoting = True
        end = self.draw(rates.QUOTED)
        if end == "?":
            self._question()
        else:
            self._declarative(FULL if end == "." else CRY)
        self.quoting = False
        self.out[start] = capital(self.out[start])
        self.out.append(CLOSE_QUOTE)

    def _list(self) -> None:
        word, length = self.draw(self.lexicon.counts)
        kind = self.draw(self.lexicon.classes[self.topic])
        self.out += [word, self.lexicon.class_words[kind]]
        for i in range(length):
            self.out += [COMMA if i else COLON, self.draw(self.lexicon.nouns[self.topic][kind]).forms[0]]
        self.out.append(FULL)

    def _idiom(self) -> None:
        self.out += [self.lexicon.idiom_mark, *self.draw(self.lexicon.idioms), CRY]

    def _sum(self) -> None:
        left, right = self.draw(rates.LEFT), self.draw(rates.RIGHT)
        self.out += [self.lexicon.sum_mark, COLON]
        self.out += [*number(left), PLUS, *number(right), EQUALS, *number(left + right), FULL]

    def _copy(self) -> None:
        words = [self.draw(self.lexicon.copied) for _ in range(self.draw(rates.COPIES))]
        self.out += [self.lexicon.copy_mark, *words, AGAIN, *words, FULL]

    def _bracket(self) -> None:
        self.out.append(self.lexicon.bracket_mark)
        self._group(1)
        self.out.append(FULL)

    def _group(self, depth: int) -> None:
        opening, closing = self.draw(rates.BRACKET)
        self.out.append(BRACKETS[opening])
        while (what := self.draw(rates.INSIDE[depth < rates.NESTING])) != "close":
            if what == "open":
                self._group(depth + 1)
            else:
                self.out.append(self.draw(self.lexicon.adverbs[self.topic]))
        self.out.append(BRACKETS[closing])

    def _clause(self) -> None:
        kind = self.draw(rates.SUBJECT[self.last is not None][self.quoting])
        if kind == "me":
            self.out.append(self.lexicon.me)
            self._predicate(PERSON, 0, 0)
            return
        if kind == "name":
            self.last = (self._name(), 0, PERSON)
        elif kind == "noun":
            self.last = self._noun(self.lexicon.classes[self.topic], 0)
        else:
            gender, count, _ = self.last or (0, 0, 0)
            self.out.append(self.lexicon.pronouns[gender * 2 + count])
        _, count, group = self.last or (0, 0, 0)
        self._predicate(group, count, 0)

    def _predicate(self, group: int, count: int, depth: int) -> None:
        """A verb chosen by the class of its subject, agreeing with it, and what belongs to it."""
        draw, lexicon = self.draw, self.lexicon
        verb = draw(lexicon.verbs[group])
        self.out.append(verb.forms[self.tense * 2 + count])
        if verb.direct is not None:
            self._object(verb.direct, depth)
        if verb.governed is not None:
            self.out.append(verb.governed)
            self._object(verb.oblique, depth)
        if draw(rates.ADVERB):
            self.out.append(draw(lexicon.adverbs[self.topic]))
        if draw(rates.PLACE):
            preposition = draw(lexicon.prepositions)
            self.out.append(preposition)
            self._noun(lexicon.places[preposition], depth)

    def _object(self, classes: Table, depth: int) -> None:
        if self.draw(rates.OBJECT_IS_NAME):
            self._name()
        else:
            self._noun(classes, depth)

    def _name(self) -> int:
        """One of the cast, perhaps with the epithet that it keeps in this document; returns its gender."""
        name = self.cast[self.draw(rates.MEMBER[len(self.cast)])]
        self.out.append(name.form)
        if self.draw(rates.EPITHET):
            if name not in self.epithets:
                self.epithets[name] = self.draw(self.lexicon.adjectives[self.topic])
            self.out.append(self.epithets[name].forms[name.gender * 2])
        return name.gender

    def _noun(self, classes: Table, depth: int) -> tuple[int, int, int]:
        """A noun, new or from the recent ones; returns gender, number and class."""
        draw, recent, lexicon = self.draw, self.recent, self.lexicon
        back = bool(recent) and draw(rates.ANAPHORIC)
        if back:
            noun, count = recent.pop(draw(rates.BACK[len(recent)]))
        else:
            noun, count = draw(lexicon.nouns[self.topic][draw(classes)]), draw(rates.PLURAL)
            recent[:] = [entry for entry in recent if entry[0] is not noun][: rates.RECENT - 1]
        recent.insert(0, (noun, count))
        form = noun.gender * 2 + count
        self.out.append(lexicon.determiners[back * 6 + form])
        if draw(rates.ADJECTIVE):
            self.out.append(draw(lexicon.adjectives[self.topic]).forms[form])
        self.out.append(noun.forms[count])
        if depth < rates.DEPTH and draw(rates.RELATIVE):
            self.out.append(lexicon.relative)
            self._predicate(noun.kind, count, depth + 1)
            self.out.append(COMMA)
        return noun.gender, count, noun.kind


def number(value: int) -> list[bytes]:
    """A number as digits."""
    return [DIGITS[int(digit)] for digit in str(value)]

"""Recomputes the bits of a document from its text alone, by a parser that shares no code with the writer.

It is the proof of the entropy floor: the grammar is unambiguous, so the sum of the costs of the choices that
a text reveals is the document's true -log2 probability. Recursive descent with one word of look-ahead.
"""

from __future__ import annotations

import math
import re
from typing import Any

import tinylm_rates as rates
from tinylm_lexicon import PERSON, Adjective, Lexicon, Name, Noun, Verb
from tinylm_symbols import spell
from tinylm_tables import Table

ITEM = re.compile(r"( ?)(\^?)([a-z]+|[0-9]+|[^a-z0-9^ ])")


class NotOfThisLanguage(ValueError):
    """The text is no document of the language; says at which item the reader stopped."""


def letters(word: bytes) -> str:
    return spell(word).strip(" ^")


class Reader:
    """Reads documents of one language."""

    def __init__(self, lexicon: Lexicon) -> None:
        self.lexicon = lexicon
        self.nouns = {letters(w): (n, i) for n in lexicon.every_noun for i, w in enumerate(n.forms)}
        self.adjectives = {letters(w): (a, i) for a in lexicon.every_adjective for i, w in enumerate(a.forms)}
        self.verbs = {letters(w): (v, i) for v in lexicon.every_verb for i, w in enumerate(v.forms)}
        self.names = {letters(n.form): n for n in lexicon.every_name}
        self.adverbs = {letters(w): w for w in lexicon.adverb_words}
        self.speech = {letters(w): (forms, i) for forms in lexicon.speech.bits for i, w in enumerate(forms)}
        self.determiners = {letters(w): i for i, w in enumerate(lexicon.determiners)}
        self.pronouns = {letters(w): i for i, w in enumerate(lexicon.pronouns)}
        self.joints = {letters(w): w for w in lexicon.joints.bits}
        self.asking = {letters(w): w for w in lexicon.asking.bits}
        self.counts = {letters(choice[0]): choice for choice in lexicon.counts.bits}
        self.places = {letters(w): w for w in lexicon.prepositions.bits}
        self.class_words = {letters(w): i for i, w in enumerate(lexicon.class_words)}
        self.idioms = {tuple(map(letters, phrase)): phrase for phrase in lexicon.idioms.bits}
        self.me, self.relative, self.who = map(letters, (lexicon.me, lexicon.relative, lexicon.who))
        self.marked = {
            letters(lexicon.idiom_mark): self._idiom,
            letters(lexicon.sum_mark): self._sum,
            letters(lexicon.copy_mark): self._copy,
            letters(lexicon.bracket_mark): self._bracket,
        }

    def bits(self, text: str) -> float:
        """-log2 of the probability of a document; raises ``NotOfThisLanguage``."""
        self.items = [(s + c, w) for s, c, w in ITEM.findall(text)]
        if "".join(a + b for a, b in self.items) != text:
            raise NotOfThisLanguage(f"characters outside the language in {text[:40]!r}")
        self.at = 0
        self.costs: list[float] = []
        self.recent: list[tuple[Noun, int]] = []
        self.epithets: dict[Name, Adjective] = {}
        self.last: tuple[int, int, int] | None = None
        self.quoting = False
        self._header()
        self._sentence("^")
        while self._look() != "\n":
            self._cost(rates.STOP, False)
            self._sentence(" ^")
        self._cost(rates.STOP, True)
        self._take("", "\n")
        if self.at != len(self.items):
            raise NotOfThisLanguage("text after the end of the document")
        return math.fsum(self.costs)

    # -- items -----------------------------------------------------------------------------------------------

    def _look(self, ahead: int = 0) -> str:
        at = self.at + ahead
        return self.items[at][1] if at < len(self.items) else ""

    def _take(self, lead: str, word: str | None = None) -> str:
        """The next item, which must have this lead (space, shift) and, where given, be this word."""
        found = self.items[self.at] if self.at < len(self.items) else ("", "")
        if found[0] != lead or (word is not None and found[1] != word):
            wanted = lead + (word or "...")
            raise NotOfThisLanguage(f"item {self.at} is {''.join(found)!r} where {wanted!r} belongs")
        self.at += 1
        return found[1]

    def _word(self, known: dict[str, Any], lead: str = " ") -> Any:
        word = self._take(lead)
        if word not in known:
            raise NotOfThisLanguage(f"item {self.at - 1}, {word!r}, does not belong there")
        return known[word]

    def _cost(self, table: Table, item: Any) -> None:
        if item not in table.bits:
            raise NotOfThisLanguage(f"before item {self.at}: {item!r} cannot be chosen there")
        self.costs.append(table.bits[item])

    def _expect(self, holds: bool, what: str) -> None:
        if not holds:
            raise NotOfThisLanguage(f"before item {self.at}: {what}")

    # -- the document ----------------------------------------------------------------------------------------

    def _header(self) -> None:
        lexicon = self.lexicon
        self.topic = self._word({letters(w): i for i, w in enumerate(lexicon.topic_words)}, "^")
        self.tense = self._word({letters(w): i for i, w in enumerate(lexicon.tense_words)})
        self._cost(lexicon.topics, self.topic)
        self._cost(lexicon.tenses, self.tense)
        self.cast: list[Name] = []
        while self._look() != "\n":
            self._expect(len(self.cast) < 4, "a cast of more than four")
            self.cast.append(self._word(self.names, " ^"))
            self._cost(lexicon.names[len(self.cast) - 1][self.topic], self.cast[-1])
        self._cost(rates.CAST, len(self.cast))
        self._take("", "\n")

    def _sentence(self, lead: str) -> None:
        first = self._look()
        if first in self.marked:
            self._take(lead)
            self.marked[first]()
        elif first in self.asking:
            self._cost(rates.SENTENCE, "question")
            self._question(lead)
        elif first in self.counts:
            self._list(lead)
        elif self._look(1) in self.speech:
            self._dialogue(lead)
        else:
            self._cost(rates.SENTENCE, "declarative")
            self._declarative(lead, ".")

    def _declarative(self, lead: str, end: str) -> None:
        self._clause(lead)
        joined = self._look() == ","
        self._cost(rates.JOINED, joined)
        if joined:
            self._take("", ",")
            self._cost(self.lexicon.joints, self._word(self.joints))
            self._clause(" ")
        self._take("", end)

    def _question(self, lead: str) -> None:
        word = self._take(lead)
        self._cost(self.lexicon.asking, self.asking[word])
        if word == self.who:
            self._predicate(PERSON, 0, 0)
        else:
            self._clause(" ")
        self._take("", "?")

    def _dialogue(self, lead: str) -> None:
        self._cost(rates.SENTENCE, "dialogue")
        speaker = self._word(self.names, lead)
        self._member(speaker)
        self.last = (speaker.gender, 0, PERSON)
        forms, tense = self._word(self.speech)
        self._expect(tense == self.tense, "tense")
        self._cost(self.lexicon.speech, forms)
        self._take("", ":")
        self._take(" ", '"')
        self.quoting = True
        if self._look() in self.asking:
            self._cost(rates.QUOTED, "?")
            self._question(" ^")
        else:
            ends = [word for _, word in self.items[self.at :] if word in ".!"]
            self._expect(bool(ends), "an open quotation")
            self._cost(rates.QUOTED, ends[0])
            self._declarative(" ^", ends[0])
        self.quoting = False
        self._take("", '"')

    def _list(self, lead: str) -> None:
        self._cost(rates.SENTENCE, "list")
        word, length = self._word(self.counts, lead)
        self._cost(self.lexicon.counts, (word, length))
        kind = self._word(self.class_words)
        self._cost(self.lexicon.classes[self.topic], kind)
        for i in range(length):
            self._take("", "," if i else ":")
            noun, count = self._word(self.nouns)
            self._expect(count == 0, "a plural in a list")
            self._cost(self.lexicon.nouns[self.topic][kind], noun)
        self._take("", ".")

    def _idiom(self) -> None:
        self._cost(rates.SENTENCE, "idiom")
        words = []
        while self._look() not in ("!", ""):
            words.append(self._take(" "))
        phrase = tuple(words)
        self._expect(phrase in self.idioms, f"no idiom: {' '.join(phrase)}")
        self._cost(self.lexicon.idioms, self.idioms[phrase])
        self._take("", "!")

    def _sum(self) -> None:
        self._cost(rates.SENTENCE, "sum")
        self._take("", ":")
        left = self._take("")
        self._take("", "+")
        right = self._take("")
        self._expect(left.isdigit() and right.isdigit(), "a sum of numbers")
        self._cost(rates.LEFT, int(left))
        self._cost(rates.RIGHT, int(right))
        self._take("", "=")
        self._take("", str(int(left) + int(right)))
        self._take("", ".")

    def _copy(self) -> None:
        self._cost(rates.SENTENCE, "copy")
        words = []
        while self._look() not in (";", ""):
            words.append(self._take(" "))
            self._expect(words[-1] in self.nouns, "a word that is not copied")
            self._cost(self.lexicon.copied, self.nouns[words[-1]][0].forms[self.nouns[words[-1]][1]])
        self._cost(rates.COPIES, len(words))
        self._take("", ";")
        for word in words:
            self._take(" ", word)
        self._take("", ".")

    def _bracket(self) -> None:
        self._cost(rates.SENTENCE, "bracket")
        self._group(1)
        self._take("", ".")

    def _group(self, depth: int) -> None:
        pairs = {opening.strip(): (opening, closing) for opening, closing in rates.BRACKET.bits}
        opening, closing = self._word(pairs)
        self._cost(rates.BRACKET, (opening, closing))
        inside = rates.INSIDE[depth < rates.NESTING]
        while self._look() != closing:
            if self._look() in pairs:
                self._cost(inside, "open")
                self._group(depth + 1)
            else:
                self._cost(inside, "word")
                self._cost(self.lexicon.adverbs[self.topic], self._word(self.adverbs))
        self._cost(inside, "close")
        self._take("", closing)

    # -- clauses ---------------------------------------------------------------------------------------------

    def _clause(self, lead: str) -> None:
        """``lead`` is the space or shift before its first word (a name is shifted anyhow)."""
        word = self._look()
        subject = rates.SUBJECT[self.last is not None][self.quoting]
        if word == self.me:
            self._cost(subject, "me")
            self._take(lead)
            self._predicate(PERSON, 0, 0)
            return
        if word in self.names:
            self._cost(subject, "name")
            self.last = (self._name("^" if lead == "^" else " ^"), 0, PERSON)
        elif word in self.pronouns:
            self._cost(subject, "pronoun")
            self._expect(self.last is not None, "a pronoun for nobody")
            form = self._word(self.pronouns, lead)
            self._expect(self.last is not None and form == self.last[0] * 2 + self.last[1], "wrong pronoun")
        else:
            self._cost(subject, "noun")
            self.last = self._noun(self.lexicon.classes[self.topic], 0, lead)
        _, count, group = self.last or (0, 0, 0)
        self._predicate(group, count, 0)

    def _predicate(self, group: int, count: int, depth: int) -> None:
        verb: Verb
        verb, form = self._word(self.verbs)
        self._expect(form == self.tense * 2 + count, "verb form")
        self._cost(self.lexicon.verbs[group], verb)
        if verb.direct is not None:
            self._object(verb.direct, depth)
        if verb.governed is not None and verb.oblique is not None:
            self._take(" ", letters(verb.governed))
            self._object(verb.oblique, depth)
        adverb = self._look() in self.adverbs
        self._cost(rates.ADVERB, adverb)
        if adverb:
            self._cost(self.lexicon.adverbs[self.topic], self._word(self.adverbs))
        place = self._look() in self.places
        self._cost(rates.PLACE, place)
        if place:
            preposition = self._word(self.places)
            self._cost(self.lexicon.prepositions, preposition)
            self._noun(self.lexicon.places[preposition], depth)

    def _object(self, classes: Table, depth: int) -> None:
        named = self._look() in self.names
        self._cost(rates.OBJECT_IS_NAME, named)
        if named:
            self._name(" ^")
        else:
            self._noun(classes, depth)

    def _member(self, name: Name) -> None:
        self._expect(name in self.cast, "a name that is not of the cast")
        self._cost(rates.MEMBER[len(self.cast)], self.cast.index(name))

    def _name(self, lead: str) -> int:
        name = self._word(self.names, lead)
        self._member(name)
        known = self._look() in self.adjectives
        self._cost(rates.EPITHET, known)
        if known:
            adjective, form = self._word(self.adjectives)
            self._expect(form == name.gender * 2, "form of an epithet")
            if name not in self.epithets:
                self._cost(self.lexicon.adjectives[self.topic], adjective)
                self.epithets[name] = adjective
            self._expect(self.epithets[name] is adjective, "another epithet")
        return int(name.gender)

    def _noun(self, classes: Table, depth: int, lead: str = " ") -> tuple[int, int, int]:
        determiner = self._word(self.determiners, lead)
        back, form = determiner >= 6, determiner % 6
        adjective = self._look() in self.adjectives
        self._cost(rates.ADJECTIVE, adjective)
        if adjective:
            which, ending = self._word(self.adjectives)
            self._expect(ending == form, "form of an adjective")
            self._cost(self.lexicon.adjectives[self.topic], which)
        noun, count = self._word(self.nouns)
        self._expect(form == noun.gender * 2 + count, "determiner")
        if self.recent:
            self._cost(rates.ANAPHORIC, back)
        places = [i for i, entry in enumerate(self.recent) if entry[0] is noun]
        if back:
            self._expect(bool(places) and self.recent[places[0]][1] == count, "nothing to go back to")
            self._cost(rates.BACK[len(self.recent)], places[0])
        else:
            self._cost(classes, noun.kind)
            self._cost(self.lexicon.nouns[self.topic][noun.kind], noun)
            self._cost(rates.PLURAL, count)
        for i in places:
            del self.recent[i]
        self.recent = [(noun, count), *self.recent][: rates.RECENT]
        relative = False
        if depth < rates.DEPTH:
            relative = self._look() == self.relative
            self._cost(rates.RELATIVE, relative)
        if relative:
            self._take(" ", self.relative)
            self._predicate(noun.kind, count, depth + 1)
            self._take("", ",")
        return noun.gender, count, noun.kind

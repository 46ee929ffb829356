"""The words of one language and the weights by which they are chosen, all from one seed.

Every inflected form is unique over the whole lexicon, so a word of the text names its entry and its form.
Words are ``bytes`` of symbol numbers with the leading space (see ``tinylm_symbols``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tinylm_symbols import SHIFT, SPACED, SYLLABLES
from tinylm_tables import Dice, Table, zipf

CLASSES, PER_CLASS, GENDERS, NUMBERS, TENSES, TOPICS = 12, 120, 3, 2, 3, 12
PERSON = CLASSES  # the class of names as subjects
VERBS, ADJECTIVES, ADVERBS, NAMES, IDIOMS, COPIED = 400, 300, 80, 600, 600, 1024


class Noun(NamedTuple):
    forms: tuple[bytes, ...]  # singular, plural
    kind: int  # class in 0..11
    gender: int


class Name(NamedTuple):
    form: bytes  # with the shift
    gender: int


class Adjective(NamedTuple):
    forms: tuple[bytes, ...]  # [gender * 2 + number]


@dataclass(frozen=True, eq=False)
class Verb:
    forms: tuple[bytes, ...]  # [tense * 2 + number]
    direct: Table | None  # classes of its object; None: takes none
    governed: bytes | None  # its preposition; None: takes none
    oblique: Table | None  # classes of the governed object


class Words:
    """Mints words that are not in use yet."""

    def __init__(self, dice: Dice) -> None:
        self.dice = dice
        self.used: set[bytes] = set()
        self.syllables = Table(dice.shuffled(range(len(SYLLABLES))), zipf(len(SYLLABLES)))
        self.lengths = Table((1, 2, 3), (1, 9, 6))

    def root(self, length: int) -> bytes:
        return bytes([self.dice.draw(self.syllables) + SPACED * (i == 0) for i in range(length)])

    def particles(self, n: int) -> list[bytes]:
        """n unused words of one syllable, any syllable alike."""
        free = [w for i in range(len(SYLLABLES)) if (w := bytes([SPACED + i])) not in self.used]
        return self._use(self.dice.shuffled(free)[:n])

    def plain(self, n: int) -> list[bytes]:
        """n unused words of two syllables."""
        return [self.inflected((b"",), 2)[0] for _ in range(n)]

    def inflected(self, suffixes: Sequence[bytes], length: int = 0) -> tuple[bytes, ...]:
        """A fresh root with each suffix, none of the forms in use before."""
        while True:
            root = self.root(length or self.dice.draw(self.lengths))
            forms = tuple(root + suffix for suffix in suffixes)
            if self.used.isdisjoint(forms):
                return tuple(self._use(list(forms)))

    def _use(self, words: list[bytes]) -> list[bytes]:
        self.used.update(words)
        return words


class Lexicon:
    """One language: its entries and its tables of choice."""

    def __init__(self, language: int) -> None:
        self.dice = dice = Dice(language, 0)
        self.words = Words(dice)
        self._particles()
        self._markers()
        endings = [bytes([i]) for i in dice.shuffled(range(len(SYLLABLES)))]
        self._nouns(endings[:3])
        self._adjectives(endings[3:9])
        self._verbs([endings[9:15], endings[15:21]])
        self._others()
        self._idioms()

    def _particles(self) -> None:
        mint = self.words.particles
        self.determiners = mint(2 * GENDERS * NUMBERS)  # [(anaphoric * 3 + gender) * 2 + number]
        self.pronouns = mint(GENDERS * NUMBERS)  # [gender * 2 + number]
        self.me, self.relative = mint(2)
        self.governed, free = mint(12), mint(12)
        self.prepositions = Table(free, zipf(12))
        self.places = {preposition: self._profile() for preposition in free}
        joints, asking, counts = mint(3), mint(4), mint(5)
        self.joints, self.asking, self.who = Table(joints, (5, 2, 1)), Table(asking, (4, 2, 1, 2)), asking[-1]
        self.counts = Table(tuple(zip(counts, range(2, 7), strict=True)), (5, 5, 3, 2, 1))

    def _markers(self) -> None:
        mint = self.words.plain
        self.topics, self.tenses = Table(range(TOPICS), [1] * TOPICS), Table(range(TENSES), [3, 2, 1])
        self.topic_words, self.tense_words, self.class_words = mint(TOPICS), mint(TENSES), mint(CLASSES)
        self.idiom_mark, self.copy_mark, self.sum_mark, self.bracket_mark = mint(4)
        speech = [tuple(mint(TENSES)) for _ in range(8)]
        self.speech = Table(speech, zipf(8))  # forms by tense

    def _profile(self) -> Table:
        """A preference for three classes."""
        return Table(self.dice.shuffled(range(CLASSES))[:3], (5, 2, 1))

    def _by_topic(self, entries: Sequence[object], swaps: int) -> list[Table]:
        weights = zipf(len(entries))
        return [Table(self.dice.swapped(entries, swaps), weights) for _ in range(TOPICS)]

    def _nouns(self, plural: list[bytes]) -> None:
        self.nouns: list[list[Table]] = [[] for _ in range(TOPICS)]  # [topic][class]
        self.every_noun: list[Noun] = []
        for kind in range(CLASSES):
            group = []
            for _ in range(PER_CLASS):
                gender = self.dice.below(GENDERS)
                group.append(Noun(self.words.inflected((b"", plural[gender])), kind, gender))
            for topic, table in enumerate(self._by_topic(group, 10)):
                self.nouns[topic].append(table)
            self.every_noun += group
        self.classes = self._by_topic(range(CLASSES), 6)

    def _adjectives(self, endings: list[bytes]) -> None:
        self.every_adjective = [Adjective(self.words.inflected(endings)) for _ in range(ADJECTIVES)]
        self.adjectives = self._by_topic(self.every_adjective, 25)

    def _verbs(self, conjugations: list[list[bytes]]) -> None:
        self.every_verb = []
        for _ in range(VERBS):
            forms = self.words.inflected(conjugations[self.dice.below(2)])
            transitive, governs = ((0, 0), (1, 0), (1, 0), (0, 1), (1, 1))[self.dice.below(5)]
            preposition = self.governed[self.dice.below(12)] if governs else None
            direct = self._profile() if transitive else None
            self.every_verb.append(Verb(forms, direct, preposition, self._profile() if governs else None))
        weights = zipf(VERBS)
        self.verbs = [Table(self.dice.swapped(self.every_verb, 60), weights) for _ in range(CLASSES + 1)]

    def _others(self) -> None:
        self.adverb_words = [self.words.inflected((b"",))[0] for _ in range(ADVERBS)]
        self.adverbs = self._by_topic(self.adverb_words, 8)
        bare = [self.words.inflected((b"",))[0] for _ in range(NAMES)]
        self.every_name = [
            Name(SHIFT + bytes([word[0] - SPACED]) + word[1:], self.dice.below(GENDERS)) for word in bare
        ]
        # one table for each place in a cast, so that a cast has no name twice: [place][topic]
        self.names = [self._by_topic(self.every_name[place::4], 15) for place in range(4)]
        self.copied = Table([noun.forms[0] for noun in self.every_noun[:COPIED]], [1] * COPIED)

    def _idioms(self) -> None:
        pool = [*self.adverb_words, *(form for noun in self.every_noun for form in noun.forms)]
        phrases: dict[tuple[bytes, ...], None] = {}
        while len(phrases) < IDIOMS:
            length = 3 + self.dice.below(5)
            phrases[tuple(pool[self.dice.below(len(pool))] for _ in range(length))] = None
        self.idioms = Table(list(phrases), zipf(IDIOMS))

"""Makes the splits of this task: one-line documents of a small generated language, as symbol numbers.

``make("train", seed, out)`` writes ``train.bin`` (a byte a symbol); any other split writes the hidden rows of the
referee (``inputs.npy``, ``targets.npy``, ``bytes.npy``) and ``floor.json``. The language comes from ``[data] seed`` in
task.toml: another number there is another language, and another task.

A line is a subject, a verb, sometimes an object, sometimes an echo: ``badona liktan muris bado-bado``.
- A noun is a root CVCV, its vowels all front or all back; in the plural na or ne follows, as the vowels are.
- A verb is a root CVC, a tense (one of t k r l and a vowel that suits the root's), and n if the subject is plural.
- A verb governs one class of nouns: its object is one of them, marked by s.
- An echo is the subject's root, twice.
Chance is integers only: 12 bits of a raw PCG64 word choose a cell of a table. ``bits`` parses a line and tells what it
cost, from the text alone; the sum over the hidden lines is the floor that no model can beat but by luck.
"""

from __future__ import annotations

import json
import math
import tomllib
from functools import lru_cache
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
CONSONANTS, FRONT, BACK = "ptkbdgmnslrv", "eiy", "aou"
ALPHABET = "\n -" + CONSONANTS + FRONT + BACK
TENSES = "tkrl"
CLASSES, NOUNS, VERBS = 4, 4, 8  # classes of nouns, nouns of each, verbs
CELLS = 1 << 12
TRAIN_SYMBOLS = 200_000
ROWS, ROW = 20, 64  # hidden rows, symbols in each
UNSCORED = -1  # target of a padded place


class Dice:
    """Integers from raw words of PCG64, which are the same on every machine and with every NumPy."""

    def __init__(self, *key: int) -> None:
        self._raw = np.random.PCG64(np.random.SeedSequence(key))

    def roll(self) -> int:
        """Uniform in [0, 4096)."""
        return int(self._raw.random_raw()) >> 52

    def pick(self, items: str | list[str]) -> str:
        """Any of a few items, the first ones a little likelier; for building the language, not for speaking it."""
        return items[self.roll() % len(items)]


class Table:
    """Items with integer weights; one that owns n of the 4,096 cells has the probability n / 4,096, exactly."""

    def __init__(self, items: list[str], weights: list[int]) -> None:
        total = sum(weights)
        counts = [max(1, weight * CELLS // total) for weight in weights]
        counts[0] += CELLS - sum(counts)
        self.cells = [item for item, count in zip(items, counts, strict=True) for _ in range(count)]
        self.bits = {item: 12 - math.log2(count) for item, count in zip(items, counts, strict=True)}

    def draw(self, dice: Dice) -> str:
        return self.cells[dice.roll()]


def zipf(n: int) -> list[int]:
    return [10_000 // (rank + 2) for rank in range(n)]


class Language:
    """The lexicon of one language: roots, what governs what, and how likely each is."""

    def __init__(self, seed: int) -> None:
        dice = Dice(seed, 77)
        nouns = self._roots(dice, CLASSES * NOUNS, verb=False)
        verbs = self._roots(dice, VERBS, verb=True)
        classes = [nouns[start::CLASSES] for start in range(CLASSES)]
        self.number = Table(["", "plural"], [11, 5])
        self.subject = Table(nouns, zipf(len(nouns)))
        self.verb = Table(verbs, zipf(VERBS))
        self.tense = Table(list(TENSES), [6, 5, 3, 2])
        self.tail = Table(["", "object", "echo", "object echo"], [4, 7, 3, 2])
        self.objects = {verb: Table(classes[i % CLASSES], zipf(NOUNS)) for i, verb in enumerate(verbs)}

    @staticmethod
    def _roots(dice: Dice, count: int, *, verb: bool) -> list[str]:
        found: list[str] = []
        while len(found) < count:
            vowels = dice.pick([FRONT, BACK])
            syllables = dice.pick(CONSONANTS) + dice.pick(vowels) + dice.pick(CONSONANTS)
            root = syllables if verb else syllables + dice.pick(vowels)
            if root not in found:
                found.append(root)
        return found

    def line(self, dice: Dice) -> str:
        """One document, with the line feed that ends it."""
        plural = bool(self.number.draw(dice))
        subject, verb, tense = self.subject.draw(dice), self.verb.draw(dice), self.tense.draw(dice)
        text = f"{noun(subject, plural)} {verb}{ending(verb, tense, plural)}"
        tail = self.tail.draw(dice)
        if "object" in tail:
            text += f" {self.objects[verb].draw(dice)}s"
        if "echo" in tail:
            text += f" {subject}-{subject}"
        return text + "\n"

    def bits(self, line: str) -> float:
        """What a line costs, by its text alone. ValueError for what this language cannot say."""
        words = line.removesuffix("\n").split(" ")
        if len(words) < 2 or min(map(len, words[:2])) < 4:
            raise ValueError(f"{line!r} is no sentence")
        first, second, *rest = words
        subject, plural, verb, tense = first[:4], len(first) > 4, second[:3], second[3]
        last = rest.pop() if rest and "-" in rest[-1] else ""
        given = rest.pop(0)[:-1] if rest else ""
        tail = " ".join(word for word, there in (("object", given), ("echo", last)) if there)
        again = f"{noun(subject, plural)} {verb}{ending(verb, tense, plural)}"
        again += (f" {given}s" if given else "") + (f" {subject}-{subject}" if last else "") + "\n"
        if again != line or rest:
            raise ValueError(f"{line!r} is no sentence")
        try:
            spent = [self.number.bits["plural" if plural else ""], self.subject.bits[subject], self.verb.bits[verb]]
            spent += [self.tense.bits[tense], self.tail.bits[tail]]
            return math.fsum([*spent, self.objects[verb].bits[given] if given else 0.0])
        except KeyError as error:
            raise ValueError(f"{line!r}: no word {error}") from None


def noun(root: str, plural: bool) -> str:
    return root + ("ne" if root[1] in FRONT else "na") * plural


def ending(verb: str, tense: str, plural: bool) -> str:
    return tense + ("i" if verb[1] in FRONT else "a") + "n" * plural


@lru_cache(maxsize=2)
def language(seed: int) -> Language:
    return Language(seed)


def own_language() -> int:
    """The seed of this task's language."""
    return int(tomllib.loads((HERE / "task.toml").read_text())["data"]["seed"])


def symbols(text: str) -> list[int]:
    return [ALPHABET.index(letter) for letter in text]


def spell(numbers: list[int]) -> str:
    return "".join(ALPHABET[number] for number in numbers)


def rows(lines: list[str]) -> list[list[int]]:
    """Whole lines, as many as fit into each row: the symbol before a row is a line feed, which tells nothing."""
    found: list[list[int]] = [[]]
    for line in lines:
        if len(found[-1]) + len(line) > ROW:
            found.append([])
        found[-1] += symbols(line)
    return found


def hidden(seed: int, split: str) -> list[list[int]]:
    """The symbols of each hidden row, at most 64."""
    spoken, dice = language(own_language()), Dice(own_language(), seed, *split.encode())
    lines = [spoken.line(dice) for _ in range(ROWS * ROW // 5)]  # more than fit: a line has 10 symbols at least
    return rows(lines)[:ROWS]


def make(split: str, seed: int, out: Path) -> None:
    """Write a split into the existing or new folder ``out``."""
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    spoken = language(own_language())
    if split == "train":
        dice, text = Dice(own_language(), seed, *split.encode()), ""
        while len(text) < TRAIN_SYMBOLS:
            text += "".join(spoken.line(dice) for _ in range(1000))
        (out / "train.bin").write_bytes(bytes(symbols(text)))
        return
    filled = hidden(seed, split)
    sizes = [len(row) for row in filled]
    targets = np.array([row + [UNSCORED] * (ROW - len(row)) for row in filled], dtype=np.int64)
    inputs = np.concatenate([np.zeros((ROWS, 1), dtype=np.int64), np.maximum(targets[:, :-1], 0)], axis=1)
    for name, array in (("inputs", inputs), ("targets", targets), ("bytes", np.array(sizes))):
        np.save(out / f"{name}.npy", array)
    bits = math.fsum(spoken.bits(line) for row in filled for line in spell(row).splitlines(keepends=True))
    floor = {"bits": bits, "bytes": sum(sizes), "bits_per_byte": bits / sum(sizes)}
    (out / "floor.json").write_text(json.dumps(floor) + "\n")

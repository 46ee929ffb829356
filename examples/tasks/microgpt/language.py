"""A small generated language: nothing has to be downloaded, and the best possible score is known.

A line is a subject, a verb and an object, for example `tora nepel midos`. A verb has objects of its own. In the plural
the subject ends with -n and the verb with -t. Some words are common, others rare.
"""

import math
import random

CONSONANTS, VOWELS = "bdgklmnprst", "aeiou"
ALPHABET = "\n " + CONSONANTS + VOWELS
NOUNS, VERBS, OBJECTS = 16, 8, 4  # words, and objects of each verb


def _words(rng, count, pattern):
    """Different words of consonants (C) and vowels (V)."""
    found = []
    while len(found) < count:
        word = "".join(rng.choice(CONSONANTS if kind == "C" else VOWELS) for kind in pattern)
        if word not in found:
            found.append(word)
    return found


_lexicon = random.Random("lexicon")
_NOUNS, _VERBS = _words(_lexicon, NOUNS, "CVCV"), _words(_lexicon, VERBS, "CVCVC")
_OBJECTS = {verb: _lexicon.sample(_NOUNS, OBJECTS) for verb in _VERBS}


def _pick(rng, items):
    """One of the items, the first ones more often, and its information in bits."""
    weights = [1 / (rank + 2) for rank in range(len(items))]
    place = rng.choices(range(len(items)), weights)[0]
    return items[place], math.log2(sum(weights) / weights[place])


def write(key, size):
    """Lines of at least ``size`` symbols in all, and their bits: no model can expect to need fewer.

    Another ``key``, a text, gives other lines.
    """
    rng, text, bits = random.Random(key), "", 0.0
    while len(text) < size:
        noun, verb, plural = _pick(rng, _NOUNS), _pick(rng, _VERBS), _pick(rng, [False, True])
        thing = _pick(rng, _OBJECTS[verb[0]])
        text += f"{noun[0]}{'n' * plural[0]} {verb[0]}{'t' * plural[0]} {thing[0]}s\n"
        bits += noun[1] + verb[1] + plural[1] + thing[1]
    return text, bits


def symbols(text):
    """The numbers of the letters."""
    return [ALPHABET.index(letter) for letter in text]

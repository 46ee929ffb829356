"""The embedding model behind the test server: a vector follows from a text alone, and texts of one meaning are near.

Each word, or the concept that it stands for, adds its character trigrams to a vector. Words without a concept are known
by their letters only, and words without a meaning of their own are left out.
"""

from __future__ import annotations

import hashlib
import re

from programs.text import word_list

DIMENSIONS = 512
_EMPTY = word_list("a an and are as at be by for from in is it its of on or so that the then this to what with you")
_CONCEPTS = {
    word: words.split()[0]
    for words in (
        "repeat rerun redo again", "doubtful unclear uncertain questionable", "result outcome finding results outcomes",
        "fresh new", "seed seeds", "work operate proceed", "alone solo yourself", "improve better gain improvement",
        "discard drop revert undo", "change edit modification changes edits", "each every single", "keep retain hold",
        "rate speed", "raise increase lift", "lower decrease reduce", "loss error", "prefer favour choose",
        "simple plain", "code source script", "measure evaluate assess", "noise variance scatter",
    )
    for word in words.split()
}  # fmt: skip


def embedding(text: str) -> list[float]:
    """The same for the same text, everywhere."""
    vector = [0.0] * DIMENSIONS
    words = [_CONCEPTS.get(word, word) for word in re.findall(r"[a-z]+|\d+", text.lower()) if word not in _EMPTY]
    for word in words or ["nothing"]:
        framed = f"<{word}>"
        for at in range(max(1, len(framed) - 2)):
            digest = hashlib.sha256(framed[at : at + 3].encode()).digest()
            vector[int.from_bytes(digest[:2], "big") % DIMENSIONS] += 1.0 if digest[2] % 2 else -1.0
    if not any(vector):
        vector[0] = 1.0
    return vector

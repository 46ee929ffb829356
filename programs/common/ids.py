"""Ids: short content hashes after a letter for the kind of object."""

from __future__ import annotations

import hashlib
import unicodedata


def normalise(text: str) -> str:
    """The form of a text that is hashed: Unicode NFC, LF line ends, no trailing blanks, one final newline."""
    lines = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(line.rstrip() for line in lines).rstrip("\n") + "\n"


def content_id(letter: str, *parts: str | bytes) -> str:
    """``letter`` plus 12 hex digits of SHA-256 over the parts, each preceded by its length.

    Letters: p program, d directive, b behaviour, s source, t task, a arm, m match, r run, e experiment,
    c credit, y study, v audit, o outcome in the cache, i imported log, n note of a model, x text.
    """
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return letter + digest.hexdigest()[:12]

"""Removes secrets from text before it goes into a prompt or into a file.

A secret is matched as it is, in its URL, JSON and base64 encodings, and with white space in it, as broken lines leave
it. Deliberate encodings are not detected; this is for what libraries and servers do by themselves.
"""

from __future__ import annotations

import base64
import os
import re
from functools import cache, lru_cache
from urllib.parse import quote, unquote

_NAMES = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL|AUTH(?!OR)|BEARER|_PAT$|COOKIE", re.IGNORECASE)
_IN_URL = re.compile(r"://[^/@:\s]*:([^/@\s]+)@")
_LEAST = 8  # characters; shorter values are settings, or would match everywhere
_CODED = 12  # characters; shorter ones leave too little base64 text that is independent of position


def secrets() -> list[str]:
    """Values of environment variables with key-like names, and passwords in URLs, longest first."""
    return _secrets(tuple(os.environ.items()))


@lru_cache(maxsize=1)
def _secrets(environment: tuple[tuple[str, str], ...]) -> list[str]:
    ours = [(name, value.strip()) for name, value in environment if not name.startswith("METALOOP_")]
    values = {value for name, value in ours if _NAMES.search(name)}
    values |= {form for _, value in ours for word in _IN_URL.findall(value) for form in (word, unquote(word))}
    return sorted((value for value in values if len(value) >= _LEAST), key=lambda value: (-len(value), value))


@cache
def forms(secret: str) -> tuple[str, ...]:
    """The encodings of a secret, longest first; in base64 only the part that does not depend on the surrounding
    text."""
    raw = secret.encode("utf-8", "surrogateescape")
    written = {secret, quote(raw, safe=""), quote(raw), secret.replace("/", "\\/")}
    for before in range(3) if len(raw) >= _CODED else ():
        whole = (before + len(raw)) // 3 * 4
        for code in (base64.b64encode, base64.urlsafe_b64encode):
            written.add(code(bytes(before) + raw).decode()[(0, 2, 3)[before] : whole])
    return tuple(sorted(written, key=len, reverse=True))


@cache
def _broken(secret: str) -> re.Pattern[str]:
    return re.compile(r"\s*".join(map(re.escape, secret)))


def scrub(text: str) -> str:
    """The text without secrets, and without lone surrogates, which no file can contain."""
    known = secrets()
    for secret in known:
        for form in forms(secret):
            text = text.replace(form, "[secret]")
    if known:
        dense = "".join(text.split())
        for secret in known:
            if secret in dense:
                text = _broken(secret).sub("[secret]", text)
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")

"""Secrets out of text: before it goes into a prompt, and before it is written anywhere."""

from __future__ import annotations

import os
import re
from functools import lru_cache

_NAMES = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
_LEAST = 8  # characters; shorter values are settings, or would match everywhere


def secrets() -> list[str]:
    """Values of the environment that look like keys by their name, longest first."""
    return _secrets(tuple(os.environ.items()))


@lru_cache(maxsize=1)
def _secrets(environment: tuple[tuple[str, str], ...]) -> list[str]:
    found = {
        value
        for name, value in environment
        if _NAMES.search(name) and not name.startswith("METALOOP_") and len(value) >= _LEAST
    }
    return sorted(found, key=len, reverse=True)


def scrub(text: str) -> str:
    """The text without secrets, and without lone surrogates, which no file can hold."""
    for secret in secrets():
        text = text.replace(secret, "[secret]")
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")

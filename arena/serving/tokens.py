"""The tokens of a server's clients. They have 256 random bits, and only their SHA-256 is stored."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import Request


def hashed(token: str) -> str:
    """A fast hash on purpose: 256 bits cannot be guessed, and a slow one would help a flood of wrong tokens."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def bearer(request: Request) -> str:
    """The token of a request; empty if it has none."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""

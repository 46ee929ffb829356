"""The four streams: every random number and every data split of a study descends from its secret."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Literal

Stream = Literal["search", "selection", "confirmation", "reserve"]
STREAMS: tuple[Stream, ...] = ("search", "selection", "confirmation", "reserve")
#: Where a score decides something for good, and must be verified.
DECIDING: tuple[Stream, ...] = ("confirmation", "reserve")


class Streams:
    """Derives seeds by HMAC-SHA256 from a 128-bit secret, so that one stream tells nothing of another."""

    def __init__(self, secret: bytes) -> None:
        self.secret = secret

    @classmethod
    def fresh(cls) -> Streams:
        return cls(secrets.token_bytes(16))

    @classmethod
    def from_seed(cls, seed: int) -> Streams:
        """The secret of a study that was given ``--seed``: reproducible, so not for contests."""
        return cls(hashlib.sha256(f"metaloop study seed {seed}".encode()).digest()[:16])

    def seed(self, stream: Stream, *labels: str | int) -> int:
        """A seed in [0, 2**31) for the thing that the labels name, in that stream."""
        message = "\x1f".join([stream, *map(str, labels)]).encode()
        return int.from_bytes(hmac.new(self.secret, message, hashlib.sha256).digest()[:8], "big") >> 33

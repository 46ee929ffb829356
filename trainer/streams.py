"""The four streams: all random numbers and data splits of a study are derived from its secret."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Literal

Stream = Literal["search", "selection", "confirmation", "reserve"]
STREAMS: tuple[Stream, ...] = ("search", "selection", "confirmation", "reserve")
DATA_BITS = 128  # of the seeds of hidden data, which must be too long to search
#: The streams whose scores decide final results and must be verified.
DECIDING: tuple[Stream, ...] = ("confirmation", "reserve")


class Streams:
    """Derives seeds by HMAC-SHA256 from a 128-bit secret, so that no stream can be predicted from another."""

    def __init__(self, secret: bytes, held_secret: bytes = b"") -> None:
        """``held_secret``: draws the rows that are held back, in place of ``secret``: that of the study whose search a
        new one goes on from."""
        self.secret, self.held_secret = secret, held_secret

    @classmethod
    def fresh(cls) -> Streams:
        return cls(secrets.token_bytes(16))

    @classmethod
    def from_seed(cls, seed: int) -> Streams:
        """The secret of a study with ``--seed``. Guessing the number reveals it, so contests must not use it."""
        return cls(hashlib.sha256(f"metaloop study seed {seed}".encode()).digest()[:16])

    def seed(self, stream: Stream, *labels: str | int) -> int:
        """A seed in [0, 2**31) for training or random choices, identified by stream and labels."""
        return self._derived(stream, labels) >> 225

    def data_seed(self, stream: Stream, *labels: str | int) -> int:
        """A seed in [0, 2**128) for hidden data, whose public generator would allow a search of 2**31 seeds."""
        return self._derived(stream, labels) >> 256 - DATA_BITS

    def _derived(self, stream: Stream, labels: tuple[str | int, ...]) -> int:
        message = "\x1f".join([stream, *map(str, labels)]).encode()
        return int.from_bytes(hmac.new(self.secret, message, hashlib.sha256).digest(), "big")

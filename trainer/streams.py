"""The four streams: every random number and every data split of a study descends from its secret."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Literal

Stream = Literal["search", "selection", "confirmation", "reserve"]
STREAMS: tuple[Stream, ...] = ("search", "selection", "confirmation", "reserve")
DataBits = Literal[31, 128]
DATA_BITS: DataBits = 128
#: Where a score decides something for good, and must be verified.
DECIDING: tuple[Stream, ...] = ("confirmation", "reserve")


class Streams:
    """Derives seeds by HMAC-SHA256 from a 128-bit secret, so that one stream tells nothing of another.

    ``data_bits``: of the seeds that hidden data are drawn from, which must be beyond trying all: 31 in studies that
    were begun before they had 128, and which must go on with the same data.
    """

    def __init__(self, secret: bytes, data_bits: DataBits = DATA_BITS) -> None:
        self.secret = secret
        self.data_bits = data_bits

    @classmethod
    def fresh(cls) -> Streams:
        return cls(secrets.token_bytes(16))

    @classmethod
    def from_seed(cls, seed: int) -> Streams:
        """The secret of a study that was given ``--seed``: whoever guesses the number has it, so not for contests."""
        return cls(hashlib.sha256(f"metaloop study seed {seed}".encode()).digest()[:16])

    def seed(self, stream: Stream, *labels: str | int) -> int:
        """A seed in [0, 2**31) for the thing that the labels name, in that stream: of trainings and of choices."""
        return self._derived(stream, labels) >> 225

    def data_seed(self, stream: Stream, *labels: str | int) -> int:
        """The same in [0, 2**128), of what must stay hidden: its generator is public, so all 2**31 could be tried."""
        return self._derived(stream, labels) >> 256 - self.data_bits

    def _derived(self, stream: Stream, labels: tuple[str | int, ...]) -> int:
        message = "\x1f".join([stream, *map(str, labels)]).encode()
        return int.from_bytes(hmac.new(self.secret, message, hashlib.sha256).digest(), "big")

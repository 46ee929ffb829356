"""What is closed at the end of a ``with`` block."""

from __future__ import annotations

from typing import Self


class Closing:
    """A base for classes with ``close``, which may be called more than once."""

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

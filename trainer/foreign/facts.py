"""Facts about a repository: each value with its origin and the flag that corrects it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import JsonValue


@dataclass(frozen=True)
class RepositoryFact:
    """``where`` is FILE:LINE, "given" for a flag, "assumed" for a default; a ``value`` of None was not found."""

    field: str
    value: Any
    where: str
    flag: str
    note: str = ""

    @property
    def is_known(self) -> bool:
        return self.value is not None and self.value != []

    def to_json(self) -> dict[str, JsonValue]:
        return asdict(self)


def missing(field: str, flag: str, note: str) -> RepositoryFact:
    return RepositoryFact(field, None, "not found", flag, note)

"""Values as JSON has them."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from programs.common.text import one_line

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")
MOST_FAULTS = 100  # of one input, of which the first is named


class FaultList(Protocol):
    """pydantic's ValidationError, or FastAPI's."""

    def errors(self) -> Sequence[Any]: ...


_ADAPTERS: dict[object, TypeAdapter[Any]] = {}


def read_as(kind: type[T], value: object) -> T:
    """A dataclass of that kind, and of its parts, from JSON. Raises pydantic's ValidationError.

    pydantic is imported here, because most commands read no such record and start faster without it.
    """
    from pydantic import TypeAdapter

    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    made: T = _ADAPTERS[kind].validate_python(value)
    return made


def first_fault(error: FaultList) -> str:
    """The first fault of an input from elsewhere, on one line: where it is, then what it is. Nothing of a value is in
    it; the place may have a name from the input, cut. Of very many faults only the count is said: pydantic makes a
    mapping of each before one can be looked at."""
    count = getattr(error, "error_count", None)  # FastAPI's has none
    if count is not None and count() > MOST_FAULTS:
        return f"{count()} faults"
    first = error.errors()[0]
    where = one_line(".".join(map(str, first["loc"])))[:60]
    return f"{where}: {first['msg']}" if where else str(first["msg"])


def plain(value: Any) -> Any:
    """Value as JSON knows it: mappings, lists, numpy scalars; NaN and infinities become null."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    if getattr(value, "shape", None) == ():  # a numpy scalar
        return plain(value.item())
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"the ledger cannot store a {type(value).__name__}")

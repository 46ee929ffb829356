"""Events for tests: examples with empty values where a test needs none, and lists of records as the ledger has them."""

from __future__ import annotations

import json
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar

from analysis.ledger.events import Event, read_event
from trainer.edits import Edit

E = TypeVar("E", bound=Event)
_EMPTY: dict[Any, Any] = {str: "", int: 0, float: 0.0, bool: False, Edit: Edit()}


def example(kind: type[E], **given: Any) -> E:
    """An event of that type with empty values where none is given."""
    hints = typing.get_type_hints(kind)
    needed = {f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING} - given.keys()
    return kind(**{name: _empty(hints[name]) for name in needed}, **given)


def _empty(hint: Any) -> Any:
    if hint in _EMPTY:
        return _EMPTY[hint]
    if type(None) in typing.get_args(hint):
        return None
    return () if typing.get_origin(hint) is tuple else {}


def into(records: list[dict[str, Any]]) -> Callable[[Event], None]:
    """An ``emit`` that keeps the records as they are read back from a ledger."""
    return lambda event: records.append(json.loads(json.dumps(event.to_record())))


def typed(records: Iterable[Mapping[str, Any]]) -> tuple[Event, ...]:
    return tuple(event for record in records if (event := read_event(record)) is not None)


def of(events: Iterable[Mapping[str, Any]], kind: str, **more: Any) -> list[Any]:
    """The records of a kind with these values."""
    return [event for event in events if event["kind"] == kind and more.items() <= event.items()]

"""Descriptions of the values that a charter field accepts, generated from its type, so that they are never outdated."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from programs.registry import Registry

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def kind_of(field: FieldInfo) -> str:
    """Type and range: ``a whole number from 1 to 64``."""
    return _kind(field.annotation, field.metadata)


def default_of(field: FieldInfo) -> str:
    """As JSON."""
    return json.dumps(field.get_default(call_default_factory=True))


def _kind(annotation: Any, bounds: Iterable[Any]) -> str:
    inner = get_args(annotation)
    match get_origin(annotation):
        case kind if kind is Annotated:
            if parts := next((extra for extra in inner[1:] if isinstance(extra, Registry)), None):
                return _one_of(parts.names)
            return _kind(inner[0], [b for extra in inner[1:] for b in getattr(extra, "metadata", [extra])])
        case kind if kind is Literal:
            return _one_of(inner)
        case kind if kind is dict:
            return f"an object: its keys are {_kind(inner[0], ())}, each value is {_kind(inner[1], ())}"
        case kind if kind is tuple:
            return f"a list, each part is {_kind(inner[0], ())}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"an object ({'; '.join(f'{name}: {kind_of(info)}' for name, info in annotation.model_fields.items())})"
    if parts := next((bound for bound in bounds if isinstance(bound, Registry)), None):
        return _one_of(parts.names)
    return _WORDS[annotation] + _range(bounds)


def _one_of(names: Iterable[str]) -> str:
    return f"one of {', '.join(json.dumps(name) for name in names)}"


def _range(bounds: Iterable[Any]) -> str:
    said = []
    for bound in bounds:
        match bound:
            case Ge(ge=least):
                said.append(f"from {least:g}" if isinstance(least, float) else f"from {least}")
            case Gt(gt=least):
                said.append(f"above {least}")
            case Le(le=most):
                said.append(f"to {most}")
            case Lt(lt=most):
                said.append(f"below {most}")
    return " " + " ".join(said) if said else ""

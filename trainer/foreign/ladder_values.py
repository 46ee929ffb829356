"""The values to try for a constant: those that the user gives, those of the prose, else multiples of its value."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from programs.errors import UsageError
from trainer.foreign import knob_roles
from trainer.foreign.repository import ForeignRepository

_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
_FROM_ZERO = {  # role of a constant of 0.0, by a part of its name → values to try; else the last ones
    "momentum": (0.0, 0.5, 0.9, 0.95),
    "dropout": (0.0, 0.1, 0.2),
    "decay": (0.0, 1e-4, 1e-3, 1e-2),
    "smooth": (0.0, 0.05, 0.1),
    "": (0.0, 0.1, 0.5),
}


def values_to_try(
    repository: ForeignRepository, name: str, value: Any, role: str, given: str | None, others: Sequence[str]
) -> tuple[tuple[Any, ...], str]:
    """(the values to try; which of them the prose names, with lines). ``others``: what a text is compared with."""
    if given is not None:
        return _read(value, given), ""
    stated: list[tuple[Any, str]] = []
    if isinstance(value, str):
        stated = [pair for pair in knob_roles.said_words(repository, name) if pair[0] != value]
    elif not isinstance(value, bool):
        stated = [(n, at) for n, at in knob_roles.said(repository, name, role) if n != value and _possible(value, n)]
        stated = [(int(n), at) for n, at in stated] if isinstance(value, int) else stated
    known = others if isinstance(value, str) else _usual(value, name, role)
    own = {value} - {None} if known or stated else set()
    values = tuple(sorted({*own, *known, *(n for n, _ in stated)}))
    return values, ", ".join(dict.fromkeys(f"{n if isinstance(n, str) else f'{n:g}'} ({at})" for n, at in stated))


def _possible(now: float | int | None, value: float) -> bool:
    """Whether a number of the prose can be a value of a constant: whole for a whole one, and not far beyond it."""
    whole = not isinstance(now, int) or value == int(value)
    return whole and (not now or abs(now) / 1000 <= value <= abs(now) * 1000)


def _usual(now: Any, name: str, role: str = "") -> tuple[Any, ...]:
    """Multiples of the present value, or for 0.5 to 1 of its distance from 1. For 0.0 and None what is usual for a
    constant of that name."""
    if isinstance(now, bool):
        return (False, True)
    if not isinstance(now, str) and (usual := knob_roles.usual_values(role, now)):
        return usual
    if isinstance(now, int) and 0 < now < 1 << 31:
        return tuple(sorted({max(1, round(now * factor)) for factor in _FACTORS}))
    if isinstance(now, float) and now == 0.0:
        return next(values for part, values in _FROM_ZERO.items() if part in name.lower())
    if isinstance(now, float) and 0 < now < 1e12:
        if 0.5 < now < 1:
            shares = {float(f"{1 - (1 - now) * factor:.6g}") for factor in _FACTORS if (1 - now) * factor < 1}
            return tuple(sorted(shares | {now}))
        return tuple(sorted({float(f"{now * factor:.6g}") for factor in _FACTORS if factor != 1.0} | {now}))
    return ()


def _read(now: Any, text: str) -> tuple[Any, ...]:
    values: set[Any] = {now} - {None}
    for part in text.split(","):
        try:
            value: Any = ast.literal_eval(part.strip())
        except (ValueError, SyntaxError):
            value = part.strip()
        if isinstance(now, float) and isinstance(value, int):
            value = float(value)
        if now is not None and type(value) is not type(now):
            raise UsageError(f"--values …{part.strip()!r}: the constant is a {type(now).__name__}", hint="NAME=1,2,4")
        values.add(value)
    return tuple(sorted(values))

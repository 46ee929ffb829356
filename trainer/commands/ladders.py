"""Knobs for a researcher without a language model: settings of the editable files, each with other values to try.

In Python: constants, numbers in fields of classes and in dicts, defaults of options, and those defaults of parameters
and arguments of calls whose name says a role; in YAML, JSON and TOML the keys (`trainer.values.nested_values`). Whether
a value can be used, and changes anything, is found by running (`trainer.commands.check`).
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from programs.common.errors import UsageError
from trainer.commands.repository import OwnRepository
from trainer.commands.roles import role_of, values_to_try
from trainer.values import nested_values
from trainer.values.nested_values import Scalar

MOST = 24
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")
_MEASURES = re.compile(  # names of what a measurement rests on
    r"SEED|RANDOM_STATE|PATH|DIR|FILE|VERSION|PORT|VOCAB|TIME_|BUDGET|SECONDS|DEVICE|URL|HOST|REPEAT|TRIALS|EVAL"
    r"|(?:^|_)(?:VAL|VALID|VALIDATION|TEST|HELD|HOLD|HOLDOUT|FOLDS?|N_?JOBS|BINS)(?:_|$)",
    re.IGNORECASE,
)
_IDEA = re.compile(r"`(\w+)=([^`\s]+)`")
_BY_ROLE = ("call", "default")  # kinds of values of which there are many, most without effect


@dataclass(frozen=True)
class Ladder:
    """One setting of ``file``: ``values`` to try. ``at``: its address, if it is no constant of Python. ``reason``: why
    it is no knob."""

    name: str
    file: str
    line: int
    value: Scalar
    owner: str = ""
    at: str = ""
    role: str = ""
    values: tuple[Scalar, ...] = ()
    reason: str = ""

    @property
    def kind(self) -> str:
        plain = "int" if isinstance(self.value, int) else "float"
        return "choice" if isinstance(self.value, bool | str) else plain


def ladders(
    repository: OwnRepository, editable: Sequence[str], given: Mapping[str, str], command: str = ""
) -> list[Ladder]:
    """The settings of the editable files, those with a ``reason`` after the others, of which 24 are kept: those that
    are ``given`` (NAME → "1,2,4") first, then those with a role. Those that ``command`` sets are no knobs.

    UsageError for a name or value that does not fit."""
    found = [one for file in editable for one in _settings(repository, file)]
    if unknown := given.keys() - {one.name for one in found}:
        raise UsageError(
            f"--set values={min(unknown)}: no setting of that name in {', '.join(editable)}", hint="NAME=1,2,4"
        )
    stated = _stated(repository)
    judged = [_with_values(one, given.get(one.name), stated.get(one.name.lower(), ())) for one in found]
    judged = [replace(one, reason="the command sets it") if _is_set(one, command) else one for one in judged]
    knobs = _named_apart([one for one in judged if not one.reason])
    ranked = sorted(knobs, key=lambda one: (one.name not in given, not one.role))
    kept = [one for one in knobs if one in ranked[:MOST]]
    dropped = [replace(one, reason=f"more than {MOST} settings; --set values=NAME=… takes it") for one in ranked[MOST:]]
    return [*kept, *dropped, *(one for one in judged if one.reason)]


def _is_set(one: Ladder, command: str) -> bool:
    """Whether a command line gives this option or key a value, so that the one in the file has no effect."""
    name = re.escape(one.at.lstrip("-"))
    return bool(one.at and re.search(rf"(?:^|[\s+'\"]){name}=|(?:^|\s)--?{name}(?:=|\s+\S)", command))


def _settings(repository: OwnRepository, file: str) -> Iterator[Ladder]:
    """All settings of a file that have a name."""
    for address, setting in nested_values.read(file, repository.text(file)).items():
        role = role_of(setting.name, setting.value)
        if role or setting.kind not in _BY_ROLE:
            values = tuple(dict.fromkeys((setting.value, *setting.choices))) if setting.choices else ()
            at = "" if setting.kind == "constant" else address
            yield Ladder(setting.name, file, setting.line, setting.value, setting.owner, at, role, values)


def _stated(repository: OwnRepository) -> dict[str, list[str]]:
    """The values that ideas of its prose state, such as `` `BATCH=1000` ``, by the setting's name in lower case."""
    values: dict[str, list[str]] = {}
    for file in repository.prose:
        for name, value in _IDEA.findall(repository.text(file)):
            values.setdefault(name.lower(), []).append(value)
    return values


def _with_values(one: Ladder, given: str | None, stated: Sequence[str]) -> Ladder:
    """With the values to try, also those ``stated`` by ideas; else with the reason why there are none."""
    if given is not None:
        return replace(one, values=_read(one.value, given))
    if not _NAME.fullmatch(one.name):
        return replace(one, reason="its name has no form of an edit")
    if _MEASURES.search(one.name):
        return replace(one, reason="the measurement may rest on it")
    if one.values:
        return one
    suggested = () if isinstance(one.value, str) else values_to_try(one.value, one.role)
    further = {value for text in stated for value in _of_type(one.value, text)}
    values = tuple(sorted({*suggested, *further, *([one.value] if further else [])}, key=_order))
    return replace(one, values=values, reason="" if len(values) > 1 else "no other values suggest themselves")


def _named_apart(knobs: Sequence[Ladder]) -> list[Ladder]:
    """Settings of one name in several places get names that say where (``optim_lr``); of equal ones the first stays."""
    times = Counter(one.name.lower() for one in knobs)
    kept: dict[str, Ladder] = {}
    for one in knobs:
        owner = re.sub(r"\W+", "_", one.owner).strip("_")
        name = f"{owner}_{one.name}"[-40:].lstrip("_0123456789") if owner and times[one.name.lower()] > 1 else one.name
        kept.setdefault(name.lower(), replace(one, name=name))
    return list(kept.values())


def _read(now: Scalar, text: str) -> tuple[Scalar, ...]:
    """The values that the user gives, with the present one."""
    values = {now}
    for part in text.split(","):
        if not (known := _of_type(now, part)):
            raise UsageError(f"--set values=…{part.strip()!r}: the present value is {now!r}", hint="NAME=1,2,4")
        values.update(known)
    return tuple(sorted(values, key=_order))


def _order(value: Scalar) -> tuple[str, Scalar]:
    return ("text" if isinstance(value, str) else ""), value


def _of_type(now: Scalar, text: str) -> tuple[Scalar, ...]:
    """A text as a value of the present one's type; empty if it is of another."""
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
        value = text.strip()
    value = float(value) if isinstance(now, float) and type(value) is int else value
    return (value,) if type(value) is type(now) else ()

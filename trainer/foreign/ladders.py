"""Knobs for a researcher without a language model: constants of the editable files, each with multiples of its value.

Python constants at the top level become knobs. Any other line that defines a constant (``#define``, ``const``,
``NAME=``, a field of a Python class, the default of an option, a key of YAML, TOML or JSON) becomes a patch per value.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from programs.errors import UsageError
from trainer import constants
from trainer.foreign import knob_roles
from trainer.foreign.repository import ForeignRepository, RepositoryLine

FLAG = "--values"
_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
_MOST = 24
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")
_NO_KNOB = re.compile(
    r"SEED|PATH|DIR|FILE|VERSION|PORT|VOCAB|TIME_|BUDGET|SECONDS|DEVICE|URL|HOST|REPEAT|TRIALS|EVAL", re.I
)
_GUARDS = re.compile(r"(?:^|_)(?:VAL|VALID|VALIDATION|TEST|HELD|HOLD|HOLDOUT|FOLDS?|N_?JOBS|BINS)(?:_|$)", re.I)
_FORBIDS = re.compile(
    r"\b(?:do not|don't|never|must not|may not|cannot|can't|fixed|forbidden|below|at least|contract"
    r"|leave\b.{1,60}\balone)\b",
    re.IGNORECASE,
)
_C_LIKE = re.compile(r"\.(?:c|h|cc|cpp|hpp|cu|cuh|rs|go|[jt]sx?|mjs|java|swift|zig|cs|kt|scala|f90)$")
_FROM_ZERO = {  # role of a constant of 0.0, by a part of its name → values to try; else the last ones
    "momentum": (0.0, 0.5, 0.9, 0.95),
    "dropout": (0.0, 0.1, 0.2),
    "decay": (0.0, 1e-4, 1e-3, 1e-2),
    "smooth": (0.0, 0.05, 0.1),
    "": (0.0, 0.1, 0.5),
}
_VALUE = r"(?P<value>-?\d+(?:\.\d+)?(?:e-?\d+)?)"
_DEFINITIONS = (
    re.compile(rf"\s*#\s*define\s+(?P<name>\w+)\s+{_VALUE}[fFuUlL]*\s*(?://.*|/\*.*)?"),
    re.compile(
        r"\s*(?:pub\s+|static\s+|export\s+)*(?:const|constexpr|let|final|var)\s+(?:\w+\s+)?(?P<name>[A-Z]\w+)"
        rf"(?:\s*:\s*\w+)?\s*=\s*{_VALUE}\w*\s*;?\s*(?://.*)?"
    ),
    re.compile(rf"(?:export )?(?P<name>[A-Z][A-Z0-9_]*)=[\"']?{_VALUE}[\"']?\s*(?:#.*)?"),
    re.compile(rf"(?P<name>[A-Z][A-Z0-9_]*)\s*[:?]?=\s*{_VALUE}\s*(?:#.*)?"),
)
_FIELD = re.compile(rf"\s+(?P<name>[A-Za-z]\w*)\s*:\s*(?:int|float)\s*=\s*{_VALUE}\s*(?:#.*)?")  # of a class
_OPTION = re.compile(
    rf"""\s*\w+\.add_argument\(\s*["']--(?P<name>[A-Za-z][\w-]*)["'].*?default\s*=\s*{_VALUE}\s*[,)].*"""
)
_KEY = re.compile(rf"\s*(?:- )?(?P<name>[A-Za-z]\w*)\s*[:=]\s*{_VALUE}\s*(?:[#;].*)?")
_MEMBER = re.compile(rf'\s*"(?P<name>[A-Za-z]\w*)"\s*:\s*{_VALUE}\s*,?')
_FORMS = {
    "py": (_FIELD, _OPTION),
    "json": (_MEMBER,),
    **dict.fromkeys(("yaml", "yml", "toml", "ini", "cfg", "conf"), (_KEY,)),
}


@dataclass(frozen=True)
class Ladder:
    """One knob: ``values`` of a constant, or ``patches``: (name, old line, new line)."""

    name: str
    kind: str
    file: str
    where: str
    values: tuple[Any, ...] = ()
    role: str = ""
    said: str = ""  # which of the values the prose names, with their lines
    patches: tuple[tuple[str, str, str], ...] = field(default=())


def judged(
    repository: ForeignRepository, editable: Sequence[str], given: Mapping[str, str]
) -> list[tuple[Ladder, str]]:
    """The constants of the editable files, each with why it is no knob (empty if it is one); those of ``given`` (NAME →
    "1,2,4") come first and always are."""
    found = sorted(_all(repository, editable, given), key=lambda ladder: ladder.name not in given)
    code = [_uncommented(line) for line in repository.lines(*repository.code)]
    return [(ladder, "" if ladder.name in given else _why_not(ladder, repository, code)) for ladder in found]


def offered(constants_judged: Sequence[tuple[Ladder, str]]) -> list[Ladder]:
    """The knobs, at most 24."""
    return [ladder for ladder, reason in constants_judged if not reason][:_MOST]


def _why_not(ladder: Ladder, repository: ForeignRepository, code: Sequence[str]) -> str:
    """Why a constant is not offered; empty if it is. One that changes nothing, or that the score depends on. ``code``:
    the lines of the repository's code without comments."""
    name = re.compile(rf"(?<![\w-]){re.escape(ladder.name)}(?![\w-])")
    either = re.compile(rf"\b{re.escape(ladder.name.replace('-', '_'))}\b")
    if sum(len(name.findall(text)) or len(either.findall(text)) for text in code) < 2:
        return "used nowhere"
    again = re.compile(rf"\s*{re.escape(ladder.name)}\s*(?:[-+*/]?=)(?!=)")
    own = repository.text(ladder.file).splitlines()
    if ladder.kind != "patch" and sum(bool(again.match(text)) for text in own) > 1:
        return "assigned more than once"
    if _GUARDS.search(ladder.name):
        return "the score may depend on it"
    prose = " ".join(line.text for line in repository.lines(*repository.prose))
    for sentence in re.split(r"(?<=[.!;])\s+|\s[-*]\s", prose):
        if name.search(sentence) and _FORBIDS.search(sentence):
            return f"the text restricts it: {sentence.strip()[:80]}"
    return ""


def _uncommented(line: RepositoryLine) -> str:
    sign = r"//" if _C_LIKE.search(line.file) else r"(?:^|(?<=\s))#"
    return re.sub(rf"{sign}.*", "", line.text)


def _all(repository: ForeignRepository, editable: Sequence[str], given: Mapping[str, str]) -> list[Ladder]:
    knobs: dict[str, Ladder] = {}
    for file in editable:
        whole = _of_python(repository, file, given) if file.endswith(".py") else []
        for ladder in whole + _of_lines(repository, file, given):
            knobs.setdefault(ladder.name.lower(), ladder)
    if unknown := [name for name in given if name.lower() not in knobs]:
        raise UsageError(f"--values {unknown[0]}: no constant of that name in {', '.join(editable)}", hint="NAME=1,2,4")
    return list(knobs.values())


def _of_python(repository: ForeignRepository, file: str, given: Mapping[str, str]) -> list[Ladder]:
    text = repository.text(file)
    known = constants.read(text)
    tree = ast.parse(text) if known else ast.Module([], [])  # a file that is no Python has no constants
    knobs = []
    for name, value in known.items():
        role = knob_roles.role_of(name, value)
        values = _values(value, given.get(name), name, role) if _fit(name, given) else ()
        told: list[tuple[Any, str]] = []
        if isinstance(value, str) and name not in given and _NAME.fullmatch(name):
            others = knob_roles.compared_with(tree, name)
            values = tuple(sorted({value, *others})) if others else ()
        elif values and name not in given and isinstance(value, int | float) and not isinstance(value, bool):
            told = [(n, at) for n, at in knob_roles.said(repository, name, role) if _possible(value, n)]
            told = [(int(n), at) for n, at in told] if isinstance(value, int) else told
            values = tuple(sorted({*values, *(n for n, _ in told)}))
        if len(values) > 1:
            kind = "choice" if isinstance(value, bool | str) else "int" if isinstance(value, int) else "float"
            number = next((line.number for line in repository.lines(file) if line.text.startswith(name)), 1)
            where = ", ".join(dict.fromkeys(f"{n:g} ({at})" for n, at in told))
            knobs.append(Ladder(name, kind, file, f"{file}:{number}", values, role, where))
    return knobs


def _of_lines(repository: ForeignRepository, file: str, given: Mapping[str, str]) -> list[Ladder]:
    text = repository.text(file)
    knobs = []
    forms = _FORMS.get(file.rpartition(".")[2].lower(), _DEFINITIONS)
    for line in repository.lines(file):
        match = next((hit for form in forms if (hit := form.fullmatch(line.text))), None)
        if match is None or text.count(f"{line.text}\n") != 1 or not _fit(match["name"], given):
            continue
        now = ast.literal_eval(match["value"]) if not re.match(r"-?0\d", match["value"]) else None
        values = _values(now, given.get(match["name"]), match["name"]) if now is not None else ()
        patches = tuple(_patch(line, match, value) for value in values if value != now)
        if patches:
            knobs.append(Ladder(match["name"], "patch", file, line.where, patches=patches))
    return knobs


def _patch(line: RepositoryLine, match: re.Match[str], value: Any) -> tuple[str, str, str]:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    start, end = match.span("value")
    name = f"{match['name'].replace('-', '_')}_{re.sub(r'[^0-9A-Za-z]', '_', text)}"
    return name, f"{line.text}\n", f"{line.text[:start]}{text}{line.text[end:]}\n"


def _fit(name: str, given: Mapping[str, str]) -> bool:
    return name in given or bool(_NAME.fullmatch(name) and not _NO_KNOB.search(name))


def _possible(now: float | int, value: float) -> bool:
    """Whether a number of the prose can be a value of a constant: whole for a whole one, and not far beyond it."""
    whole = isinstance(now, float) or value == int(value)
    return whole and (now == 0 or abs(now) / 1000 <= value <= abs(now) * 1000)


def _values(now: Any, given: str | None, name: str, role: str = "") -> tuple[Any, ...]:
    """The given values and the present one; by default multiples of it, or for 0.5 to 1 of its distance from 1. For 0.0
    what is usual for a constant of that name."""
    if given is not None:
        return _read(now, given)
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
    values: set[Any] = {now}
    for part in text.split(","):
        try:
            value: Any = ast.literal_eval(part.strip())
        except (ValueError, SyntaxError):
            value = part.strip()
        if isinstance(now, float) and isinstance(value, int):
            value = float(value)
        if type(value) is not type(now):
            raise UsageError(f"--values …{part.strip()!r}: the constant is a {type(now).__name__}", hint="NAME=1,2,4")
        values.add(value)
    return tuple(sorted(values))

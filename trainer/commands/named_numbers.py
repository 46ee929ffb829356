"""Numbers that have a name in what a command prints: ``name: 1.23``, ``name=1.23``, members of a line of JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from programs.common.bounded import json_value
from trainer.scorers.printed import number_in
from trainer.values.constants import is_number

_LINE = 400  # characters; longer lines are ignored, as `trainer.scorers.printed` does
_DEEPEST = 4
# NaN and inf count: a run that ends in NaN must not be scored by an earlier line. Also tensor(0.5), np.float64(0.5).
_NUMBER = (
    r"(?:[\w.]+\()?([-+]?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
    r"|[nN]a[nN]|[iI]nf(?:inity)?))"
)
_WORD = r"[A-Za-z][\w./@%-]*"
_NAME, _WORDS = rf"(?P<name>{_WORD})", rf"(?P<name>{_WORD}(?: [A-Za-z(][\w./@%()-]*){{0,3}})"
# of 1.41 -> 0.41 neither is known to count
_START, _END = r"(?<![\w./@%-])", r"(?![\w:/]*\d)(?![\w.,+-]*\s*(?:->|→|=>))"
#: ``name: 1.23`` and ``name=1.23``; where nothing has this form, ``name 1.23``; where nothing has that, ``24 passed``.
FORMS = tuple(
    re.compile(form)
    for form in (
        rf"""{_START}{_WORDS}["'`]?\s*[:=]\s*{_NUMBER}{_END}""",
        rf"{_START}{_NAME}\s+{_NUMBER}{_END}",
        rf"{_START}{_NUMBER}\s+{_NAME}",
    )
)
_PATTERNS = ("{start}{name}[\"'`]?\\s*[:=]\\s*{number}", "{start}{name}\\s+{number}", "{number}\\s+{name}(?!\\w)")


@dataclass
class NamedNumber:
    """``key``: its path in JSON, empty if it stands in a line of text; ``leads``: whether it begins each such line."""

    name: str
    key: str = ""
    form: int = 0
    leads: bool = True
    values: list[str] = field(default_factory=list)

    def last_in(self, text: str) -> float:
        """As an experiment is scored by it. InvalidPredictions if there is none, or it is not finite."""
        return number_in(text, "" if self.key else self.pattern, self.key)

    @property
    def last(self) -> float:
        return float(self.values[-1].replace(",", ""))

    @property
    def pattern(self) -> str:
        """A regular expression for a line that has it, with the number as its group."""
        start = r"^\W*" if self.leads else r"(?:^|[^\w./@%-])"
        name = re.escape(self.name).replace("\\ ", " ")
        return _PATTERNS[self.form].format(start=start, name=name, number=_NUMBER)


def read(text: str, form: int = 0) -> dict[str, NamedNumber]:
    """Name → its values in the order of the text, as printed; a member of JSON goes by its path (``eval.loss``)."""
    numbers: dict[str, NamedNumber] = {}
    whole = _json(text)
    if whole is not None:
        _members(whole, numbers)
        return numbers
    for line in text.splitlines():
        if (row := _json(line)) is not None:
            _members(row, numbers)
        elif len(line) <= _LINE:
            for match in FORMS[form].finditer(line):
                number = numbers.setdefault(match["name"], NamedNumber(match["name"], form=form))
                number.leads &= not re.search(r"\w", line[: match.start()])
                number.values.append(next(text for text in match.groups() if text != match["name"]))
    return numbers


def unclear(name: str, found: dict[str, NamedNumber]) -> list[str]:
    """Other names that a pattern for this one would match, too: ``train loss`` for a ``loss`` amid lines."""
    number = found[name]
    return [] if number.key or number.leads else [other for other in found if other.endswith(f" {name}")]


def _json(text: str) -> dict[str, object] | None:
    if not text.lstrip().startswith("{"):
        return None
    try:
        value = json_value(text, finite=False)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _members(row: dict[str, object], found: dict[str, NamedNumber]) -> None:
    for path, value in _paths(row, "", 0):
        found.setdefault(path, NamedNumber(path, key=path)).values.append(repr(value))


def _paths(row: dict[str, object], before: str, depth: int) -> Iterator[tuple[str, int | float]]:
    for name, value in row.items():
        if is_number(value):
            yield f"{before}{name}", value
        elif isinstance(value, dict) and depth < _DEEPEST:
            yield from _paths(value, f"{before}{name}.", depth + 1)

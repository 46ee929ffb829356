"""The edits that a researcher without an LLM can make: constants with ranges, and named patches."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeGuard

from programs.common import bounded
from programs.common.errors import ProgramError
from trainer.source import Source
from trainer.values import constants, nested_values
from trainer.values.roles import meaning

if TYPE_CHECKING:
    import numpy as np

Value = str | float | int | bool
Kind = Literal["float", "int", "choice", "patch"]


_LONGEST, _LARGEST = 200, 1e18


class EditError(ProgramError):
    """An edit that does not apply to a source: the knob is missing, the value not allowed, or an anchor not there."""


def _is_value(value: object) -> TypeGuard[Value]:
    """Whether a literal of a source can be stored in a row: an untrusted source may contain ``LR = 1e999``."""
    if isinstance(value, str):
        return len(value) <= _LONGEST and value.isprintable()
    return isinstance(value, bool | int | float) and abs(value) < _LARGEST  # false for NaN


def format_value(value: Value) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True, eq=False)
class Edit:
    """Constants to set and patches to apply; the empty edit changes nothing."""

    set: Mapping[str, Value] = field(default_factory=dict)
    apply: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.set or self.apply)

    def key(self) -> str:
        """Canonical text, which is equal for equal edits regardless of their order."""
        return self._key

    def made_of(self, config: Mapping[str, Value]) -> dict[str, Value]:
        """The values of a source with these values, after the edit."""
        return {**config, **self.set, **dict.fromkeys(self.apply, True)}

    @cached_property
    def _key(self) -> str:
        return json.dumps({"set": dict(self.set), "apply": sorted(self.apply)}, sort_keys=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Edit) and self.key() == other.key()

    def __hash__(self) -> int:
        return hash(self.key())

    def label(self) -> str:
        """Short text for tables: ``lr=0.002 +muon``; ``-`` for the empty edit."""
        parts = [f"{name.lower()}={format_value(value)}" for name, value in self.set.items()]
        return " ".join(parts + [f"+{name}" for name in self.apply]) or "-"


@dataclass(frozen=True)
class Replacement:
    """One find/replace of a patch. ``find`` must occur exactly once where the patch is applied, with ``whole_lines`` as
    whole lines."""

    file: str
    find: str
    replace: str
    whole_lines: bool = False

    def is_applied(self, text: str) -> bool:
        find, replace, text = self._in(text)
        return replace in text and (find not in text or find in replace)

    def fits(self, text: str) -> int:
        """How often ``find`` occurs."""
        find, _, text = self._in(text)
        return len(re.findall(f"(?={re.escape(find)})", text)) if self.whole_lines else text.count(find)

    def on(self, text: str) -> str:
        find, replace, whole = self._in(text)
        changed = whole.replace(find, replace)
        if not self.whole_lines:
            return changed
        return changed[1:] if text.endswith("\n") else changed[1:-1]

    def _in(self, text: str) -> tuple[str, str, str]:
        """What to look for, its replacement and the text; for whole lines each between two line ends."""
        if not self.whole_lines:
            return self.find, self.replace, text
        return f"\n{self.find}\n", f"\n{self.replace}\n", f"\n{text}" + ("" if text.endswith("\n") else "\n")


@dataclass(frozen=True)
class Knob:
    """Something that edits can change: a constant of train.py, or a named patch."""

    name: str
    kind: Kind
    values: tuple[Value, ...]
    low: float | None = None
    high: float | None = None
    group: str = ""
    note: str = ""
    file: str = "train.py"
    replacements: tuple[Replacement, ...] = ()
    role: str = ""  # what the knob is in any task (`trainer.values.roles`)
    at: str = ""  # address in its file (`trainer.values.nested_values`); empty: the constant of its name

    def read(self, text: str) -> object:
        """Its value in the text of its file; None if the text has none."""
        if not self.at:
            return constants.read(text).get(self.name)
        known = nested_values.read(self.file, text).get(self.at)
        return known.value if known else None

    def write(self, text: str, value: Value) -> str | None:
        """The text of its file with that value; None if the text has no such place."""
        if not self.at:
            return constants.write(text, self.name, value)
        return nested_values.write(self.file, text, self.at, value)

    def beside(self, value: Value, step: int) -> Value | None:
        """The next value of the ladder above ``value`` (``step`` 1) or below it (-1), also from between two; None at
        its end, and for knobs whose values have no order."""
        if self.kind not in ("float", "int") or isinstance(value, str):
            return None
        rungs = sorted(float(known) for known in self.values)
        further = [rung for rung in rungs if (rung - value) * step > 0]
        return self.legal(further[0] if step > 0 else further[-1]) if further else None

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Any number between these is allowed; None where only those of its ladder are."""
        low, high = self.low, self.high
        if self.kind == "float":
            numbers = [float(known) for known in self.values]
            low, high = min(numbers) if low is None else low, max(numbers) if high is None else high
        return None if low is None or high is None else (low, high)

    @property
    def allowed(self) -> str:
        """The values that it may take: those of its ladder, and the range of numbers between which any is allowed."""
        known = ", ".join(format_value(value) for value in self.values)
        return known + ("; any value from {:g} to {:g}".format(*self.bounds) if self.bounds else "")

    def legal(self, value: Value) -> Value | None:
        """``value`` as this knob stores it (with the right case and number type), None if it is not allowed."""
        if self.kind not in ("float", "int"):
            wanted = str(value).lower()
            return next((known for known in self.values if str(known).lower() == wanted), None)
        if not constants.is_number(value):
            return None
        if self.kind == "float":
            return float(value) if self._is_within(value) else None
        if not abs(value) < _LARGEST or value != int(value):
            return None
        return int(value) if int(value) in self.values or self._is_within(value) else None

    def meant(self, value: Value) -> Value | None:
        """`legal`, and for a choice also by another task's name for the same (`roles.meaning`): adam for adamw."""
        known = self.legal(value)
        if known is not None or self.kind != "choice":
            return known
        wanted = meaning(self.role, value)
        return next((known for known in self.values if meaning(self.role, known) == wanted), None)

    def _is_within(self, value: float) -> bool:
        return self.bounds is not None and self.bounds[0] <= value <= self.bounds[1]


def read_value(text: str) -> Value:
    """A number, ``true``/``false``, or the text itself without quotes, which a long number is, too."""
    text = text.strip().strip("'\"")
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    number = bounded.number(text)
    return text if number is None else number


ROLE = "@"  # before the name of a role
_TERM = re.compile(r"\+?\s*(@?[A-Za-z_]\w*)\s*(?:(?:=|:)\s*(\S.*))?")  # of a word without blanks around it


@dataclass(frozen=True)
class EditSpace:
    """All knobs that a task declares, in the order of its task.toml."""

    knobs: tuple[Knob, ...] = ()

    def knob(self, name: str) -> Knob | None:
        """The knob of this name; ``@learning_rate``: the first knob of this role."""
        wanted = name.lower()
        if wanted.startswith(ROLE):
            return next((knob for knob in self.knobs if knob.role == wanted[1:]), None)
        return next((knob for knob in self.knobs if knob.name.lower() == wanted), None)

    @cached_property
    def _patches(self) -> set[str]:
        return {knob.name for knob in self.knobs if knob.kind == "patch"}

    def edit(self, values: Mapping[str, Value]) -> Edit:
        """The edit that sets these values of knobs; a patch is applied where its value is true."""
        settings = {name: value for name, value in values.items() if name not in self._patches}
        return Edit(settings, tuple(name for name, value in values.items() if name in self._patches and value))

    @staticmethod
    def names_edit(term: str) -> bool:
        """Whether a backticked word has the form of an edit."""
        return _TERM.fullmatch(term.strip()) is not None

    def config(self, source: Source) -> dict[str, Value]:
        """The value of every knob that ``source`` still has; for a patch, whether it is applied."""
        texts = dict(source.files)
        values: dict[str, Value] = {}
        for knob in self.knobs:
            if knob.kind == "patch":
                values[knob.name] = all(r.is_applied(texts.get(r.file, "")) for r in knob.replacements)
            elif _is_value(value := knob.read(texts.get(knob.file, ""))):
                values[knob.name] = value
        return values

    def parse_terms(self, terms: Sequence[str]) -> Edit | None:
        """The edit that backticked terms name, e.g. ``lr=2e-3``, ``optimizer=muon``, ``muon``.

        Text that cannot name an edit (``train.py``, ``a + b``) is ignored. The result is None if the task lacks one of
        the terms or does not allow its value.
        """
        values: dict[str, Value] = {}
        for term in terms:
            match = _TERM.fullmatch(term.strip())
            if match is None:
                continue
            knob = self.knob(match[1])
            if knob is None:
                return None
            stated = read_value(match[2]) if match[2] else True
            value = knob.meant(stated) if match[1].startswith(ROLE) else knob.legal(stated)
            if value is None or (match[2] is None and knob.kind != "patch"):
                return None
            values[knob.name] = value
        return self.edit(values) or None

    def drawn(self, source: Source, count: int, rng: np.random.Generator) -> Source:
        """The source with ``count`` of its settings, patches apart, at other values, all drawn at random."""
        config = self.config(source)
        others = {
            knob.name: [value for value in knob.values if value != config[knob.name]]
            for knob in self.knobs
            if knob.name not in self._patches and knob.name in config
        }
        names = [name for name, values in others.items() if values]
        chosen = [names[at] for at in rng.permutation(len(names))[:count]]
        return self.apply(source, Edit({name: others[name][rng.integers(len(others[name]))] for name in chosen}))

    def apply(self, source: Source, edit: Edit) -> Source:
        """The edited source. Patches are applied first, so that the same edit can set a constant that they add.

        Raises EditError if a knob is unknown or missing, a value is not allowed, or an anchor does not occur exactly
        once.
        """
        for name in edit.apply:
            source = self._patch(source, self._known(name, patch=True))
        for name, value in edit.set.items():
            knob = self._known(name, patch=False)
            legal = knob.legal(value)
            if legal is None:
                raise EditError(
                    f"{knob.name}={format_value(value)} is not allowed", hint=f"{knob.name} allows {knob.allowed}"
                )
            text = knob.write(source.text(knob.file), legal)
            if text is None:
                if knob.at:
                    raise EditError(f"{knob.file}: no value {knob.at}", hint=f"keep {knob.at} a plain value, once")
                raise EditError(
                    f"{knob.file}: no constant {knob.name} at the top level", hint=f"keep a line '{knob.name} = value'"
                )
            source = source.with_text(knob.file, text)
        return source

    def between(self, old: Mapping[str, Value], new: Mapping[str, Value]) -> Edit:
        """The edit that changes one config into another; a patch can be applied but not removed."""
        names = [knob.name for knob in self.knobs if knob.name in new]
        return self.edit({name: new[name] for name in names if old.get(name) != new[name]})

    def _known(self, name: str, *, patch: bool) -> Knob:
        knob = self.knob(name)
        if knob is None or (knob.kind == "patch") != patch:
            what = "patch" if patch else "constant"
            known = ", ".join(k.name for k in self.knobs if (k.kind == "patch") == patch)
            raise EditError(f"this task has no {what} {name!r}", hint=f"it has {known or 'none'}")
        return knob

    def _patch(self, source: Source, knob: Knob) -> Source:
        texts = dict(source.files)
        for replacement in knob.replacements:
            if replacement.file not in texts:
                raise EditError(f"{replacement.file} is not editable", hint=f"these files are: {', '.join(texts)}")
            text = source.text(replacement.file)
            if replacement.is_applied(text):
                continue
            count = replacement.fits(text)
            if count != 1:
                first = replacement.find.strip().splitlines()[0] if replacement.find.strip() else replacement.find
                raise EditError(
                    f"{replacement.file}: patch {knob.name} needs {first!r} once, found {count} times",
                    hint="another edit changed these lines; the two edits conflict",
                )
            source = source.with_text(replacement.file, replacement.on(text))
        return source

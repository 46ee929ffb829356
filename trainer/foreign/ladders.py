"""Knobs for a researcher without a language model: constants of the editable files, each with multiples of its value.

Python constants at the top level become knobs. Any other line that defines a constant (``#define``, ``const``,
``NAME=``, a field of a Python class, the default of an option, a key of YAML, TOML or JSON) becomes a patch per value.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from programs.errors import UsageError
from trainer import constants
from trainer.foreign import knob_roles
from trainer.foreign.repository import ForeignRepository, RepositoryLine
from trainer.foreign.uses import NOT_CODE, CodeUses

FLAG = "--values"
_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
_MOST = 24
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")
_NO_KNOB = re.compile(
    r"SEED|PATH|DIR|FILE|VERSION|PORT|VOCAB|TIME_|BUDGET|SECONDS|DEVICE|URL|HOST|REPEAT|TRIALS|EVAL", re.I
)
_GUARDS = re.compile(r"(?:^|_)(?:VAL|VALID|VALIDATION|TEST|HELD|HOLD|HOLDOUT|FOLDS?|N_?JOBS|BINS)(?:_|$)", re.I)
_NO_GAIN = r"(?:an? )?(?:more|bigger|larger|longer|greater|fewer|smaller)\b[^.;]{1,40}\bis (?:no|not an?)\b"
_FORBIDS = re.compile(
    rf"\b(?:{_NO_GAIN}|do not|don't|must not|may not|fixed|forbidden|contract|off[ -]limits|hands off|frozen"
    r"|belongs? to the task|part of the (?:rules|task|contract|benchmark)|stays? (?:at|as|put|\d)"
    r"|keep\b.{1,40} (?:at \d+|as (?:it|they)|fixed|unchanged)|leave\b.{1,60}\balone)\b",
    re.IGNORECASE,
)
_ENDS = re.compile(rf"(?<=[.!;])\s+(?!{_NO_GAIN})", re.IGNORECASE)  # "N is fixed; a larger one is no gain" is about N
_MAY_FORBID = re.compile(r"\b(?:never|cannot|can't|below|at least)\b", re.IGNORECASE)
_RECOMMENDS = re.compile(
    r"\b(?:try|tried|tries|hunch|should|too (?:low|small|high|large|few|many|timid)|would|worth|bet|suspect)\b",
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
Form = Literal["constant", "field", "option", "call", "line"]


@dataclass(frozen=True)
class Ladder:
    """One knob: ``values`` of a constant, or ``patches``: (name, old text, new text). ``form``: what defines it."""

    name: str
    kind: str
    file: str
    where: str
    values: tuple[Any, ...] = ()
    role: str = ""
    said: str = ""  # which of the values the prose names, with their lines
    patches: tuple[tuple[str, str, str], ...] = field(default=())
    form: Form = "line"


def judged(
    repository: ForeignRepository,
    editable: Sequence[str],
    given: Mapping[str, str],
    command: str = "",
    metric: str = "",
) -> list[tuple[Ladder, str]]:
    """The constants of the editable files, each with why it is no knob (empty if it is one); those of ``given`` (NAME →
    "1,2,4") come first and always are. Of several with one name, the first that is a knob counts."""
    judge = _Judge(repository, editable, CodeUses(repository, command, metric))
    all_judged = [
        (ladder, "" if ladder.name in given else judge.why_not(ladder))
        for ladder in _all(repository, editable, given, judge.uses)
    ]
    first: dict[str, Ladder] = {}
    for ladder, _ in sorted(all_judged, key=lambda pair: bool(pair[1])):
        first.setdefault(ladder.name.lower(), ladder)
    kept = [pair for pair in all_judged if pair[1] or first[pair[0].name.lower()] is pair[0]]
    return sorted(kept, key=lambda pair: pair[0].name not in given)


def offered(constants_judged: Sequence[tuple[Ladder, str]]) -> list[Ladder]:
    """The knobs, at most 24."""
    return [ladder for ladder, reason in constants_judged if not reason][:_MOST]


class _Judge:
    """Why a constant is not offered: it changes nothing, the text restricts it, or the score depends on it."""

    def __init__(self, repository: ForeignRepository, editable: Sequence[str], uses: CodeUses) -> None:
        self.repository, self.uses = repository, uses
        code = [name for name in repository.code if not NOT_CODE.search(name)]
        self.code = [_uncommented(line) for line in repository.lines(*code)]
        self.sentences = list(_sentences(repository))
        fixed = [name for name in code if name not in editable and name.endswith(".py")]
        self.fixed = [(f"{name} ({file})", name, value) for file in fixed
                      for name, value in constants.read(repository.text(file)).items()]  # fmt: skip

    def why_not(self, ladder: Ladder) -> str:
        """Empty if it is offered."""
        name = re.compile(rf"(?<![\w-]){re.escape(ladder.name)}(?![\w-])")
        either = re.compile(rf"\b{ladder.name.replace('-', '[-_]')}\b")
        if sum(len(name.findall(text)) or len(either.findall(text)) for text in self.code) < 2:
            return "used nowhere"
        again = re.compile(rf"\s*{re.escape(ladder.name)}\s*(?:[-+*/]?=)(?!=)")
        own = self.repository.text(ladder.file).splitlines()
        if ladder.kind != "patch" and sum(bool(again.match(text)) for text in own) > 1:
            return "assigned more than once"
        if _GUARDS.search(ladder.name.replace("-", "_")):
            return "the score may depend on it"
        for sentence in self.sentences:
            if (name.search(sentence) or either.search(sentence)) and _restricts(sentence):
                return f"the text restricts it: {sentence.strip()[:80]}"
        number = int(ladder.where.rpartition(":")[2])
        said = re.search(r"(?:#|//)(.*)", own[number - 1] if number <= len(own) else "")
        if said and _FORBIDS.search(said[1]):
            return f"its comment restricts it: {said[1].strip()[:80]}"
        return self._fixed_elsewhere(ladder) or self._by_its_uses(ladder)

    def _by_its_uses(self, ladder: Ladder) -> str:
        line = int(ladder.where.rpartition(":")[2])
        if ladder.form == "constant":
            return self.uses.constant(ladder.file, ladder.name)
        if ladder.form == "field":
            return self.uses.config_field(ladder.file, line, ladder.name)
        return self.uses.option(ladder.name) if ladder.form == "option" else ""

    def _fixed_elsewhere(self, ladder: Ladder) -> str:
        """A whole number that a read-only file repeats under a longer or shorter name belongs to the task."""
        if ladder.form != "constant" or ladder.kind != "int":
            return ""
        value = constants.read(self.repository.text(ladder.file)).get(ladder.name)
        own = set(ladder.name.lower().split("_"))
        for where, name, other in self.fixed:
            words = set(name.lower().split("_"))
            if (own <= words or words <= own) and type(other) is int and other == value and value not in (0, 1):
                return f"the task fixes it: {where} has the same value"
        return ""


def _sentences(repository: ForeignRepository) -> Iterator[str]:
    """The sentences of the prose; an empty line, a heading or a list item ends one."""
    for file in repository.prose:
        for paragraph in re.split(r"\n\s*\n|\n(?=\s*(?:[-*+]|\d+[.)]|#+)\s)", repository.text(file)):
            yield from _ENDS.split(" ".join(paragraph.split()))


def _restricts(sentence: str) -> bool:
    """Whether it forbids a change; a recommendation ("6 at least", "should be larger") does not."""
    return bool(_FORBIDS.search(sentence) or (_MAY_FORBID.search(sentence) and not _RECOMMENDS.search(sentence)))


def _uncommented(line: RepositoryLine) -> str:
    sign = r"//" if _C_LIKE.search(line.file) else r"(?:^|(?<=\s))#"
    return re.sub(rf"{sign}.*", "", line.text)


def _all(
    repository: ForeignRepository, editable: Sequence[str], given: Mapping[str, str], uses: CodeUses
) -> list[Ladder]:
    knobs = []
    for file in editable:
        knobs += _of_python(repository, file, given) if file.endswith(".py") else []
        knobs += _of_lines(repository, file, given)
        knobs += _of_calls(repository, file, given, uses)
    if unknown := [name for name in given if name.lower() not in {ladder.name.lower() for ladder in knobs}]:
        raise UsageError(f"--values {unknown[0]}: no constant of that name in {', '.join(editable)}", hint="NAME=1,2,4")
    return knobs


def _of_calls(repository: ForeignRepository, file: str, given: Mapping[str, str], uses: CodeUses) -> list[Ladder]:
    """The numbers that the only call of a function or class of the repository sets: they count, not the defaults."""
    text, knobs = repository.text(file), []
    for callee, keyword, site in uses.settings(file):
        name, old = keyword.arg or "", ast.get_source_segment(text, keyword) or ""
        value = ast.literal_eval(keyword.value)
        if not _fit(name, given) or text.count(old) != 1 or not uses.is_read(callee, name):
            continue
        patches = tuple(
            (f"{name}_{re.sub(r'[^0-9A-Za-z]', '_', shown)}", old, f"{name}={shown}")
            for other in _values(value, given.get(name), name)
            if other != value and (shown := f"{other:g}" if isinstance(other, float) else str(other))
        )
        knobs += [Ladder(name, "patch", file, site.where, patches=patches, form="call")] if patches else []
    return knobs


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
            knobs.append(Ladder(name, kind, file, f"{file}:{number}", values, role, where, form="constant"))
    return knobs


def _of_lines(repository: ForeignRepository, file: str, given: Mapping[str, str]) -> list[Ladder]:
    text = repository.text(file)
    knobs = []
    forms = _FORMS.get(file.rpartition(".")[2].lower(), _DEFINITIONS)
    for line in repository.lines(file):
        match, form = next(((hit, one) for one in forms if (hit := one.fullmatch(line.text))), (None, None))
        if match is None or text.count(f"{line.text}\n") != 1 or not _fit(match["name"], given):
            continue
        now = ast.literal_eval(match["value"]) if not re.match(r"-?0\d", match["value"]) else None
        values = _values(now, given.get(match["name"]), match["name"]) if now is not None else ()
        patches = tuple(_patch(line, match, value) for value in values if value != now)
        if patches:
            what: Form = "field" if form is _FIELD else "option" if form is _OPTION else "line"
            knobs.append(Ladder(match["name"], "patch", file, line.where, patches=patches, form=what))
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

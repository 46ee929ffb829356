"""Knobs for a researcher without a language model: constants of the editable files, each with multiples of its value.

Python constants at the top level become knobs, and so do values inside files (`trainer.nested_values`): fields,
defaults, options, entries, keys of config files. A line of another language that defines a constant (``#define``,
``const``, ``NAME=``) becomes a patch per value.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from programs.errors import UsageError
from trainer import constants, nested_values
from trainer.foreign import knob_roles
from trainer.foreign.ladder_values import values_to_try
from trainer.foreign.nested_uses import DEPENDS, NestedUses, word
from trainer.foreign.repository import ForeignRepository, RepositoryLine
from trainer.foreign.uses import NOT_CODE, CodeUses
from trainer.nested_values import NestedValue

FLAG = "--values"
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
_MAY_FORBID = re.compile(r"(?<!was )(?<!been )\bnever\b|\b(?:cannot|can't|below|at least)\b", re.IGNORECASE)
_RECOMMENDS = re.compile(
    r"\b(?:try|tried|tries|hunch|should|too (?:low|small|high|large|few|many|timid)|would|worth|bet|suspect)\b",
    re.IGNORECASE,
)
_TEXTS = re.compile(r'"(?:[^"\\]|\\.)*"')
_C_LIKE = re.compile(r"\.(?:c|h|cc|cpp|hpp|cu|cuh|rs|go|[jt]sx?|mjs|java|swift|zig|cs|kt|scala|f90)$")
_WORD = r"[A-Za-z][\w-]*"
_VALUE = rf"(?P<value>-?\d+(?:\.\d+)?(?:e-?\d+)?|\"{_WORD}\"|'{_WORD}')"
_SHELL_VALUE = rf"(?P<value>-?\d+(?:\.\d+)?(?:e-?\d+)?|{_WORD})"
_DEFINITIONS = (
    re.compile(rf"\s*#\s*define\s+(?P<name>\w+)\s+{_VALUE}[fFuUlL]*\s*(?://.*|/\*.*)?"),
    re.compile(
        r"\s*(?:pub\s+|static\s+|export\s+)*(?:const|constexpr|let|final|var)\s+(?:\w+\s+)?(?P<name>[A-Z]\w+)"
        rf"(?:\s*:\s*\w+)?\s*=\s*{_VALUE}\w*\s*;?\s*(?://.*)?"
    ),
    re.compile(rf"(?:export )?(?P<name>[A-Z][A-Z0-9_]*)=[\"']?{_SHELL_VALUE}[\"']?\s*(?:#.*)?"),
    re.compile(rf"(?P<name>[A-Z][A-Z0-9_]*)\s*[:?]?=\s*{_SHELL_VALUE}\s*(?:#.*)?"),
)
_KEY = re.compile(rf"\s*(?:- )?(?P<name>[A-Za-z]\w*)\s*[:=]\s*{_VALUE}\s*(?:[#;].*)?")
_FORMS = {"py": (), "json": (), "yaml": (), "yml": (), "toml": (), **dict.fromkeys(("ini", "cfg", "conf"), (_KEY,))}
_NAMED = ("field", "default", "option", "entry", "key")  # kinds of values that have a name of their own
Form = Literal["constant", "nested", "line"]


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
    at: str = ""  # its address (`trainer.nested_values`), if it is no constant
    inner: NestedValue | None = None
    by: str = ""  # what the role was inferred from

    @property
    def lacks(self) -> str:
        """Why it is no knob though it may change something: no second value; else empty."""
        return "" if self.patches or len(self.values) > 1 else "neither its value nor the text says what else to try"

    @property
    def word(self) -> str:
        """The name as the code and the prose have it."""
        return word(self.at, self.inner) if self.inner else self.name


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
        (ladder, "" if {ladder.name, ladder.word} & given.keys() else judge.why_not(ladder) or ladder.lacks)
        for ladder in _all(repository, editable, given, judge.uses)
    ]
    kept = _named_apart(all_judged)
    return sorted(kept, key=lambda pair: not {pair[0].name, pair[0].word} & given.keys())


def _named_apart(all_judged: Sequence[tuple[Ladder, str]]) -> list[tuple[Ladder, str]]:
    """Values of one name in several places get names that say where (``optim_lr``); of constants the first counts."""
    names = Counter(ladder.name.lower() for ladder, reason in all_judged if not reason)
    taken: set[str] = set()
    kept = []
    for ladder, reason in all_judged:
        if not reason and ladder.inner and names[ladder.name.lower()] > 1:
            owner = re.sub(r"\W+", "_", ladder.inner.owner).strip("_")
            ladder = replace(ladder, name=f"{owner}_{ladder.name}"[-40:].lstrip("_0123456789"))
        if not reason and ladder.name.lower() in taken:
            continue
        taken |= set() if reason else {ladder.name.lower()}
        kept.append((ladder, reason))
    return kept


def offered(constants_judged: Sequence[tuple[Ladder, str]]) -> list[Ladder]:
    """The knobs, at most 24: first those with a role or that the prose speaks of."""
    knobs = [ladder for ladder, reason in constants_judged if not reason]
    best = sorted(range(len(knobs)), key=lambda at: not (knobs[at].role or knobs[at].said))[:_MOST]
    return [knobs[at] for at in sorted(best)]


class _Judge:
    """Why a constant is not offered: it changes nothing, the text restricts it, or the score depends on it."""

    def __init__(self, repository: ForeignRepository, editable: Sequence[str], uses: CodeUses) -> None:
        self.repository, self.uses = repository, uses
        self.nested = NestedUses(repository, uses)
        code = [name for name in repository.code if not NOT_CODE.search(name)]
        self.code_lines = [replace(line, text=_uncommented(line)) for line in repository.lines(*code)]
        self.code = [line.text for line in self.code_lines]
        self.sentences = list(_sentences(repository))
        fixed = [name for name in code if name not in editable and name.endswith(".py")]
        self.fixed = [
            (f"{name} ({file})", name, value)
            for file in fixed
            for name, value in constants.read(repository.text(file)).items()
        ]

    def why_not(self, ladder: Ladder) -> str:
        """Empty if it is offered."""
        word = rf"{re.sub('[-_]', '[-_]', ladder.word)}(?![\w-])"
        name = re.compile(rf"(?<![\w-]){word}")
        if ladder.form != "nested" and (reason := self._by_words(ladder, name)):
            return reason
        if _GUARDS.search(ladder.word.replace("-", "_")):
            return DEPENDS
        said = re.compile(rf"(?<!\w)(?<!\w-){word}")
        for sentence in self.sentences:
            if said.search(sentence) and _restricts(sentence):
                return f"the text restricts it: {sentence.strip()[:80]}"
        if reason := self._fixed_elsewhere(ladder) or self._by_its_comment(ladder):
            return reason
        if ladder.inner is not None:
            return self.nested.why_not(ladder.file, ladder.at, ladder.inner)
        if ladder.form != "constant":
            return ""
        made = "" if ladder.role else self.uses.made_for_scoring(ladder.file, ladder.name)
        return f"{DEPENDS}: {made}" if made else self.uses.constant(ladder.file, ladder.name)

    def _by_its_comment(self, ladder: Ladder) -> str:
        number, own = int(ladder.where.rpartition(":")[2]), self.repository.text(ladder.file).splitlines()
        said = re.search(r"(?:#|//)(.*)", own[number - 1] if number <= len(own) else "")
        forbids = said and _FORBIDS.search(said[1])
        return f"its comment restricts it: {said[1].strip()[:80]}" if said and forbids else ""

    def _by_words(self, ladder: Ladder, name: re.Pattern[str]) -> str:
        """Whether the name of a constant occurs a second time in the code, and is assigned once."""
        if ladder.form == "line":
            return self._line_unused(ladder)
        if sum(len(name.findall(text)) for text in self.code) < 2:
            return "used nowhere"
        again = re.compile(rf"\s*{re.escape(ladder.name)}\s*(?:[-+*/]?=)(?!=)")
        own = self.repository.text(ladder.file).splitlines()
        return "assigned more than once" if sum(bool(again.match(text)) for text in own) > 1 else ""

    def _line_unused(self, ladder: Ladder) -> str:
        """Of a line of another language: what uses it there, outside of comments, texts and other kinds of files."""
        word, line = re.escape(ladder.name), int(ladder.where.rpartition(":")[2])
        is_shell = not _C_LIKE.search(ladder.file)
        sets = re.compile(rf"(?:^|\s)(?:-D\s?{word}=|{word}=\S+\s+\S)")
        for at in self.uses.lines:
            if (at.file, at.number) != (ladder.file, line) and sets.search(at.text):
                return f"{at.where if at.number else 'the command'} sets it"
        if is_shell:
            form = re.compile(
                rf"\$[({{]?{word}\b|(?:environ(?:\.get)?|getenv|env)\W{{0,3}}[\"']{word}[\"']|process\.env\.{word}\b"
                rf"|\(\([^)]*\b{word}\b|-D\s?{word}\b|\bENV\[.{word}.\]|%{word}%"
            )
        else:
            form = re.compile(rf"\b{word}\b")
        if ladder.file.rpartition(".")[2] in ("ini", "cfg", "conf"):
            form = re.compile(rf"\b{word}\b")
        for at in self.code_lines:
            if (at.file, at.number) == (ladder.file, line) or not (is_shell or _C_LIKE.search(at.file)):
                continue
            if form.search(at.text if is_shell else _TEXTS.sub('""', at.text)):
                return ""
        return "used nowhere"

    def _fixed_elsewhere(self, ladder: Ladder) -> str:
        """A whole number that a read-only file repeats under a longer or shorter name belongs to the task."""
        if ladder.form == "line" or ladder.kind != "int":
            return ""
        value = constants.read(self.repository.text(ladder.file)).get(ladder.name)
        value = ladder.inner.value if ladder.inner else value
        own = set(ladder.word.lower().split("_"))
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
        knobs += _of_python(repository, file, given, uses) if file.endswith(".py") else []
        knobs += _of_nested(repository, file, given, uses)
        knobs += _of_lines(repository, file, given)
    known = {name.lower() for ladder in knobs for name in (ladder.name, ladder.word)}
    if unknown := [name for name in given if name.lower() not in known]:
        raise UsageError(f"--values {unknown[0]}: no constant of that name in {', '.join(editable)}", hint="NAME=1,2,4")
    return knobs


def _of_python(repository: ForeignRepository, file: str, given: Mapping[str, str], uses: CodeUses) -> list[Ladder]:
    text = repository.text(file)
    known = constants.read(text)
    tree = constants.syntax_tree(text) or ast.Module([], [])
    knobs = []
    for name, value in known.items():
        number = next((line.number for line in repository.lines(file) if line.text.startswith(name)), 1)
        role, by = knob_roles.inferred(uses, name, value, f"{file}:{number}")
        others = knob_roles.compared_with(tree, name) if isinstance(value, str) else []
        others += _of_comment(repository, file, number) if isinstance(value, str) else []
        if not _fit(name, given, value) or not _is_scalar(value):
            continue
        values, said = values_to_try(repository, name, value, role, given.get(name), others)
        ladder = Ladder(name, _kind(value), file, f"{file}:{number}", values, role, said, form="constant", by=by)
        knobs.append(_instead_of_none(repository, ladder, values) if value is None else ladder)
    return knobs


def _is_scalar(value: object) -> bool:
    """Whether it may be a setting: a number, a switch, nothing or a word."""
    return value is None or isinstance(value, int | float) or bool(re.fullmatch(_WORD, str(value)))


def _instead_of_none(repository: ForeignRepository, ladder: Ladder, values: Sequence[Any]) -> Ladder:
    """A constant that is None, as a patch for each value: task.toml has no word for None."""
    line = next(line for line in repository.lines(ladder.file) if line.where == ladder.where)
    match = re.fullmatch(r"\w+(?:\s*:[^=#]*)?\s*=\s*(?P<value>None)\s*(?:#.*)?", line.text)
    alone = match and repository.text(ladder.file).count(f"{line.text}\n") == 1
    patches = tuple(_patch(line, match, value, ladder.name) for value in values) if match and alone else ()
    return replace(ladder, kind="patch", values=(), patches=patches, role="")


def _of_nested(repository: ForeignRepository, file: str, given: Mapping[str, str], uses: CodeUses) -> list[Ladder]:
    """Fields, defaults, options, entries, numbers in calls, keys of config files."""
    knobs = []
    for address, one in nested_values.read(file, repository.text(file)).items():
        name = word(address, one)
        if one.kind == "constant" or not _fit(name, given, one.value) or not _NAME.fullmatch(one.name):
            continue
        if one.kind == "call" and not constants.is_number(one.value) and uses.parameters(one.owner) is None:
            continue  # a switch of a library's call
        where = f"{file}:{one.line}"
        role, by = knob_roles.inferred(uses, name, one.value, where, address, one)
        others = [*map(str, one.choices)] if isinstance(one.value, str) else []
        if isinstance(one.value, str) and not others:
            trees = (module.tree for module in uses.modules.values())
            others = [text for tree in trees for text in knob_roles.compared_with(tree, name, inner=True)]
            others += _of_comment(repository, file, one.line)
        wanted = given.get(one.name, given.get(name))
        values, said = values_to_try(repository, name, one.value, role, wanted, others)
        if one.choices and wanted is None and not isinstance(one.value, str):
            values = tuple(sorted({one.value, *(choice for choice in one.choices if type(choice) is type(one.value))}))
        if len(values) > 1 or (one.kind in _NAMED and _is_scalar(one.value)):
            knobs.append(
                Ladder(one.name, _kind(one.value), file, where, values, role, said, (), "nested", address, one, by)
            )
    return knobs


def _of_comment(repository: ForeignRepository, file: str, number: int) -> list[str]:
    """The quoted words of the comment on a line: ``ACTIVATION = "tanh"  # or "relu"``."""
    text = next((line.text for line in repository.lines(file) if line.number == number), "")
    return re.findall(r"""["']([A-Za-z][\w-]*)["']""", text.partition("#")[2])


def _kind(value: object) -> str:
    return "choice" if isinstance(value, bool | str) else "int" if isinstance(value, int) else "float"


def _of_lines(repository: ForeignRepository, file: str, given: Mapping[str, str]) -> list[Ladder]:
    text = repository.text(file)
    knobs = []
    forms = _FORMS.get(file.rpartition(".")[2].lower(), _DEFINITIONS)
    for line in repository.lines(file):
        match = next((hit for one in forms if (hit := one.fullmatch(line.text))), None)
        if match is None or text.count(f"{line.text}\n") != 1 or not _fit(match["name"], given):
            continue
        name, shown = match["name"], match["value"]
        if re.match(r"-?0\d", shown):
            continue
        now = ast.literal_eval(shown) if re.match(r"[-\d\"']", shown) else shown
        others = _of_comment(repository, file, line.number) if isinstance(now, str) else []
        values, said = values_to_try(repository, name, now, "", given.get(name), others)
        patches = tuple(_patch(line, match, value, name) for value in values if value != now)
        knobs.append(Ladder(name, "patch", file, line.where, said=said, patches=patches))
    return knobs


def _patch(line: RepositoryLine, match: re.Match[str], value: Any, of: str) -> tuple[str, str, str]:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    start, end = match.span("value")
    name = f"{of.replace('-', '_')}_{re.sub(r'[^0-9A-Za-z]', '_', text)}"
    quote = line.text[start] if line.text[start] in "\"'" else ""
    text = f"{quote}{text}{quote}"
    return name, f"{line.text}\n", f"{line.text[:start]}{text}{line.text[end:]}\n"


def _fit(name: str, given: Mapping[str, str], value: object = 0) -> bool:
    """Whether a constant may be a knob by its name; of a text only the form of the name counts."""
    return name in given or bool(_NAME.fullmatch(name) and (isinstance(value, str) or not _NO_KNOB.search(name)))

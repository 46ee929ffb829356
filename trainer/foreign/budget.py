"""Finds the time budget of an experiment, and where it is set: a constant, an environment variable or an option."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from trainer import constants
from trainer.foreign.commands import scripts_of
from trainer.foreign.facts import RepositoryFact
from trainer.foreign.repository import ForeignRepository, RepositoryLine

FLAG = "--budget"
_NAMES = (
    r"(?:[A-Z]+_)?(?:TIME_BUDGET|TRAIN_SECONDS|TRAINING_SECONDS|MAX_SECONDS|TIME_LIMIT|BUDGET_SECONDS"
    r"|MAX_TIME|WALL_SECONDS|BUDGET)(?:_S|_SEC|_SECONDS)?"
)
_NAMED = re.compile(
    rf"^\s*(?:export\s+|const\s+)?({_NAMES})\s*(?::\s*\w+\s*)?[:?]?=\s*([-+*/0-9._ ()]+?)\s*(?:(?:[#;]|//).*)?$"
)
_NUMBER = r"(\d+(?:\.\d+)?)"
_VARIABLES = (
    re.compile(rf"""(?:environ(?:\.get)?|getenv)\s*[(\[]\s*["']({_NAMES})["']\s*,\s*["']?{_NUMBER}["']?\s*\)"""),
    re.compile(rf"""\$\{{({_NAMES}):?[-=]{_NUMBER}\}}"""),
    re.compile(rf"""process\.env\.({_NAMES})\s*(?:\|\||\?\?)\s*["']?{_NUMBER}\b"""),
)
_OPTION = re.compile(
    r"(\s--?(?:time[-_]budget|train(?:ing)?[-_]seconds|max[-_]seconds|max[-_]time|time[-_]limit|budget|seconds)[= ])"
    rf"{_NUMBER}(?=\s|$)"
)
_SEED_OPTION = re.compile(r"(\s--?(?:(?:random[-_]|train[-_]|rng[-_])?seed|random[-_]state|rng)[= ])\d+(?=\s|$)")
_SEED_SET = re.compile(r"(^|\s)((?:TRAIN_|RANDOM_)?SEED=)\d+(?=\s)")
_SPOKEN = re.compile(
    r"(?:budget|takes?|(?:runs?|trains?|training) for|limit|fixed"
    r"|(?:run|experiment|evaluation|simulation|trial) (?:gets|needs|has|lasts))\D{0,60}?"
    r"(\d+(?:\.\d+)?)[ -]?(s|sec|seconds?|m|min|minutes?|h|hours?)\b",
    re.IGNORECASE,
)
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_TENS = {
    "fifteen": 15.0, "twenty": 20.0, "thirty": 30.0, "forty-five": 45.0, "forty": 40.0, "fifty": 50.0, "sixty": 60.0,
    "ninety": 90.0,
}  # fmt: skip
_PARTS = {"a": 1.0, "an": 1.0, "half a": 0.5, "half an": 0.5, "a quarter of an": 0.25, "three quarters of an": 0.75}
_WORDS = {word: float(number) for number, word in enumerate(_NUMBERS)} | _PARTS | _TENS
_UNIT = r"(?P<unit>sec(?:ond)?s?|min(?:ute)?s?|hours?)"
_IN_WORDS = re.compile(
    rf"\b(?P<number>{'|'.join(sorted(_WORDS, key=len, reverse=True))})"
    rf"(?P<more> and a half)? (?:real |whole |full |wall-clock )?{_UNIT}(?P<half> and a half)?\b",
    re.IGNORECASE,
)
_LASTS = re.compile(r"\b(\d+(?:\.\d+)?)[ -]?(s|sec|seconds?|m|min|minutes?|h|hours?)\b", re.IGNORECASE)
_OF_A_RUN = re.compile(
    r"\b(?:runs?|running|experiments?|simulations?|attempts?|measurements?|training|evaluation|fit|wait"
    r"|over after|comparison|takes?|budget|within)\b",
    re.IGNORECASE,
)
_OF_OTHERS = re.compile(
    r"\b(?:poll|compil|once|download|prepar|install|warm|gives? up|time-?out|coffee|cron|ago|setup|sync|upload|log)",
    re.IGNORECASE,
)
_INCLUDED = re.compile(r"\binclud\w*(?: \w+)? compil\w*|\bcompil\w* includ\w*", re.IGNORECASE)
_THEN = re.compile(
    r"^\W*(?:(?:about|around|some|roughly|at most|under|~)\s+)?\d|\bafter (?:about |some )?\d", re.IGNORECASE
)
_TIME = re.compile(
    r"(?<![\w.])(\d[\d,_]*(?:\.\d+)?)[ -]*(s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?)?(?![\w.]*\w)", re.I
)
_ASSUMED = 60.0
_LONGEST = 1e7
_OPERATORS = {ast.Mult: operator.mul, ast.Div: operator.truediv, ast.Add: operator.add, ast.Sub: operator.sub}
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}

Basis = Literal["given", "stated", "assumed"]


@dataclass(frozen=True)
class Budget:
    """Seconds of one experiment, and how to reduce them: ``constant`` is FILE:NAME, ``variable`` a name.

    Both are empty if the budget cannot be set or is an option of the command.
    """

    fact: RepositoryFact
    constant: str = ""
    variable: str = ""

    @property
    def basis(self) -> Basis:
        """The origin of the value: the user, the repository, or a guess."""
        return "given" if self.fact.where == "given" else "assumed" if self.fact.where == "assumed" else "stated"


def find(repository: ForeignRepository, given: float | None, command: RepositoryFact) -> Budget:
    """The budget given by the flag, else by an option of the command, a constant or variable, else by the prose.

    Without any of these the budget is a guess, with the basis "assumed".
    """
    if given is not None:
        return Budget(RepositoryFact("budget", given, "given", FLAG))
    if option := _OPTION.search(str(command.value or "")):
        return Budget(RepositoryFact("budget", float(option[2]), command.where, FLAG, "an option of the command"))
    return (
        next(_held(repository), None)
        or next(_spoken(repository, command), None)
        or Budget(RepositoryFact("budget", _ASSUMED, "assumed", FLAG, "a guess: the repository states no time"))
    )


def seconds_of(text: str) -> float:
    """Seconds of ``300``, ``300 s``, ``five minutes`` or ``2h``. Raises ValueError for anything else."""
    match = _TIME.fullmatch(_IN_WORDS.sub(_in_digits, text.strip()))
    if match is None or not 0 < (seconds := _seconds(match)) < _LONGEST:
        raise ValueError(f"{text!r} is no time: write 90, 90s, 20m or 8h")
    return seconds


def says(text: str, seconds: float) -> bool:
    """Whether a line holds that time: a number with or without its unit, in digits or words, or a product."""
    text = _IN_WORDS.sub(_in_digits, text)
    products = (_arithmetic(part[0]) for part in re.finditer(r"\d[\d. ]*(?:\*[\d. ]+)+", text))
    return any(
        one is not None and math.isclose(one, seconds) for one in (*map(_seconds, _TIME.finditer(text)), *products)
    )


def _seconds(match: re.Match[str]) -> float:
    return float(match[1].replace(",", "").replace("_", "")) * _UNITS[(match[2] or "s")[0].lower()]


def filled(command: str) -> str:
    """A command with the numbers of its seed and budget options replaced by {seed} and {budget}."""
    return _OPTION.sub(r"\1{budget}", _SEED_OPTION.sub(r"\1{seed}", _SEED_SET.sub(r"\1\2{seed}", command)))


def _held(repository: ForeignRepository) -> Iterator[Budget]:
    for line in repository.lines(*repository.code):
        if held := _of_line(repository, line):
            yield held


def _of_line(repository: ForeignRepository, line: RepositoryLine) -> Budget | None:
    for form in _VARIABLES:
        if (match := form.search(line.text)) and 0 < float(match[2]) < _LONGEST:
            return Budget(RepositoryFact("budget", float(match[2]), line.where, FLAG, match[1]), variable=match[1])
    match = _NAMED.match(line.text)
    seconds = _arithmetic(match[2]) if match else None
    if match is None or seconds is None or not 0 < seconds < _LONGEST:
        return None
    held = line.file.endswith(".py") and match[1] in constants.read(repository.text(line.file))
    return Budget(
        RepositoryFact("budget", seconds, line.where, FLAG, match[1]), f"{line.file}:{match[1]}" if held else ""
    )


def _spoken(repository: ForeignRepository, command: RepositoryFact) -> Iterator[Budget]:
    """What the pages for agents say, else all prose."""
    for pages in (repository.for_agents, repository.prose):
        yield from _said_on(repository, command, pages)


def _said_on(repository: ForeignRepository, command: RepositoryFact, pages: list[str]) -> Iterator[Budget]:
    for line in repository.lines(*pages):
        if spoken := _SPOKEN.search(line.text):
            seconds = float(spoken[1]) * _UNITS[spoken[2][0].lower()]
            if 0 < seconds < _LONGEST:
                yield Budget(RepositoryFact("budget", seconds, line.where, FLAG, "stated in the text"))
    names = scripts_of(str(command.value or ""), repository)
    beside = {line.where for line in _after(repository, command.where)}
    lasting: dict[float, RepositoryLine] = {}
    for line in repository.lines(*pages):
        about = _OF_A_RUN.search(line.text) or any(name in line.text for name in names)
        for sentence in re.split(r"(?<=[.!])\s+", _IN_WORDS.sub(_in_digits, line.text)):
            said = about or (line.where in beside and _THEN.search(sentence))
            for match in _LASTS.finditer(sentence) if said else ():
                seconds = float(match[1]) * _UNITS[match[2][0].lower()]
                if 0 < seconds < _LONGEST and not _OF_OTHERS.search(_INCLUDED.sub("", sentence)):
                    lasting.setdefault(seconds, line)
    if len(lasting) == 1:  # of several times it is not known which is an experiment's
        [(seconds, line)] = lasting.items()
        yield Budget(RepositoryFact("budget", seconds, line.where, FLAG, "stated in the text"))


def _after(repository: ForeignRepository, where: str) -> Iterator[RepositoryLine]:
    """The line of the command, and the first one after it that has words."""
    file, _, number = where.rpartition(":")
    if not number.isdigit() or file not in repository.prose:
        return
    for line in repository.lines(file):
        if line.number >= int(number):
            yield line
        if line.number > int(number) and re.search(r"\w", line.text) and not line.text.startswith("```"):
            return


def _in_digits(match: re.Match[str]) -> str:
    """``two and a half minutes`` as ``2.5 minutes``."""
    return f"{_WORDS[match['number'].lower()] + (0.5 if match['more'] or match['half'] else 0.0):g} {match['unit']}"


def _arithmetic(text: str) -> float | None:
    """The value of an expression of numbers and * / + -; nothing else is evaluated."""
    try:
        return _value(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError, ZeroDivisionError):
        return None


def _value(node: ast.expr) -> float:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return float(node.value)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return float(_OPERATORS[type(node.op)](_value(node.left), _value(node.right)))
    raise ValueError("unsupported expression")

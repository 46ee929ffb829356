"""Finds the constraints that the prose states: memory, lines of the editable files, numbers that the command prints.

Only clear sentences count; what looks like a constraint and is none here is listed as left out, with the reason.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from trainer.foreign.facts import RepositoryFact
from trainer.foreign.repository import ForeignRepository, RepositoryLine

_MOST_LEFT_OUT, _QUOTED = 10, 100
_NUMBER = r"(?P<number>\d[\d,]*(?:\.\d+)?)"
_BOUND = (
    r"(?:(?P<strict>under|below|less than|fewer than|<)"
    r"|(?P<most>at most|no more than|not more than|up to|within|limited to|a maximum of|maximum(?: of)?|<=|≤"
    r"|(?:not|never|n't|cannot)\b[^.,;:]{0,40}?\b(?:exceed(?:ing)?|above|over|beyond|more than|longer than))"
    r"|(?P<least>(?:not|never|n't|cannot)\b[^.,;:]{0,40}?\b(?:below|under|less than)|above|at least|no less than|>=|≥))"
)
_LINES = re.compile(rf"{_BOUND}\s+{_NUMBER}\s+lines?\b(?! of (?!code|python|source))", re.IGNORECASE)
_BYTES = re.compile(rf"{_BOUND}\s+{_NUMBER}\s*(?P<unit>[MG])i?B\b(?!/)", re.IGNORECASE)
_AMOUNT = re.compile(r"(?<![\w.])(\d[\d,]*(?:\.\d+)?)\s*([MG])i?B\b(?!/)", re.IGNORECASE)
_PRINTED = re.compile(rf"`(?P<name>\w+)`[^`.;]{{0,60}}?{_BOUND}\s+{_NUMBER}(?![\w%.]*[\w%])", re.IGNORECASE)
_TRUE = re.compile(
    r"`(?P<name>\w+)`\s+(?:must|has to|needs? to|should|shall)\s+(?:always\s+)?(?:be|stay|remain|print|say|read)\s+"
    r"[`\"]?(?:true|yes|ok|pass(?:ed)?)\b",
    re.IGNORECASE,
)
_ORDERS = re.compile(
    r"\b(?:must|may|has to|have to|needs? to|should|shall|keep|stay|never|cannot|do not|don't|limited to)\b|^at most\b",
    re.IGNORECASE,
)
_UNSURE = re.compile(r"\b(?:if|unless|when|except|for example|e\.g\.|need not|no need|not (?:have|need) to)\b|\?", re.I)
_SOFT = re.compile(r"\b(?:soft|ideally|preferably|try to|aim (?:to|for)|(?:if|where) possible)\b", re.IGNORECASE)
_MEMORY = re.compile(r"\b(?:[Mm]emory|RAM|RSS)\b")
_GPU_MEMORY = re.compile(r"\b(?:VRAM|(?:GPU|CUDA|video|device) memory)\b", re.IGNORECASE)
_OTHER_BYTES = re.compile(
    r"\b(?:disk|swap|downloads?|data ?sets?|checkpoints?|artifacts?|logs?|caches?|shared memory|into memory|tests?"
    r"|loads?|per \w+|each)\b",
    re.IGNORECASE,
)
_OTHER_LINES = re.compile(
    r"\b(?:functions?|methods?|class(?:es)?|diffs?|changes?|commits?|messages?|notes?|logs?|outputs?|prints?|patch(?:es)?"
    r"|docstrings?|comments?|summar\w+|each|per|reports?|add|adds|added|new|reads?|trains? on|process(?:es)?|loads?"
    r"|parses?|uses?|samples?|writes?|generates?)\b",
    re.IGNORECASE,
)
_THE_FILE = re.compile(
    r"\b(?:the|your|this|it as one) (?:whole |entire |training |single )?(?:script|file|source|code|solution)\b", re.I
)
_FILE = re.compile(r"(?:[\w-]+/)*[\w.-]+\.[A-Za-z]\w{0,4}\b")
_NO_NUMBER = re.compile(
    r"\btests?\b.{0,30}\b(?:must|should|have to|has to|need to|still)\b.{0,20}\bpass"
    r"|\b(?:soft|hard) (?:constraint|limit|cap)s?\b",
    re.IGNORECASE,
)
_VRAM_KEY = re.compile(r"\b(\w*(?:vram|gpu_mem(?:ory)?)\w*_mb)\s*:")
_NEW_PARAGRAPH = re.compile(r"\s*(?:[-*+•]|\d+[.)])\s+|\s*\||#|>")
_SENTENCE = re.compile(r"\S.*?(?:[.;!?](?=\s|$)|$)")


@dataclass(frozen=True)
class StatedLimit:
    """A constraint for task.toml. ``section``: the keys of its table, without ``hard``."""

    name: str
    section: dict[str, str | float]
    hard: bool
    where: str

    @property
    def fact(self) -> RepositoryFact:
        bound = next(f"{key.replace('_', ' ')} {self.section[key]:g}" for key in _LIMITS if key in self.section)
        kind = "hard" if self.hard else "soft: recorded, decides nothing"
        note = "[constraints] in task.toml; correct it there"
        value = f"{self.name}: {f'{bound} {self._unit}'.strip()}, {kind}"
        return RepositoryFact("constraint", value, self.where, "", note)

    @property
    def _unit(self) -> str:
        return {"memory_mb": "MB", "lines": "lines"}.get(str(self.section["kind"]), str(self.section.get("unit", "")))


@dataclass(frozen=True)
class _Sentence:
    text: str
    where: str
    soft: bool


class _Unclear(Exception):
    """Why a sentence gives no constraint."""


_LIMITS = ("at_most", "at_least")


def find(
    repository: ForeignRepository, editable: Sequence[str], metric: str, in_json: bool
) -> tuple[list[StatedLimit], list[RepositoryFact]]:
    """The constraints, and what is left out. ``in_json``: whether the metric is read from JSON."""
    stated: dict[tuple[str, bool], list[StatedLimit]] = defaultdict(list)
    left: list[RepositoryFact] = []
    for sentence in _sentences(repository):
        reader = _LimitReader(repository, sentence, editable, metric, in_json)
        try:
            limits = reader.limits()
        except _Unclear as unclear:
            left.append(_left_out(sentence, str(unclear)))
            continue
        for limit in limits:
            stated[limit.name, limit.hard].append(limit)
        if not limits and _NO_NUMBER.search(sentence.text):
            left.append(_left_out(sentence, "a constraint needs a number"))
    known: list[StatedLimit] = []
    for (name, hard), limits in stated.items():
        if all(limit.section == limits[0].section for limit in limits):
            both = not hard and (name, True) in stated
            known.append(replace(limits[0], name=f"{name}_soft") if both else limits[0])
        else:
            lines = ", ".join(limit.where for limit in limits)
            left.append(RepositoryFact("left out", name, lines, "", "a constraint with several limits: state one"))
    return known, left[:_MOST_LEFT_OUT]


def memory_named(repository: ForeignRepository) -> float:
    """The largest amount of the machine's memory that the prose names, in MB; 0 if it names none."""
    amounts = [0.0]
    for sentence in _sentences(repository):
        if _MEMORY.search(sentence.text) and not (
            _GPU_MEMORY.search(sentence.text) or _OTHER_BYTES.search(sentence.text)
        ):
            amounts += [
                float(number.replace(",", "")) * (1024 if unit in "gG" else 1)
                for number, unit in _AMOUNT.findall(sentence.text)
            ]
    return max(amounts)


def _left_out(sentence: _Sentence, reason: str) -> RepositoryFact:
    return RepositoryFact("left out", sentence.text[:_QUOTED], sentence.where, "", f"no [constraints]: {reason}")


class _LimitReader:
    """Reads one sentence."""

    def __init__(
        self, repository: ForeignRepository, sentence: _Sentence, editable: Sequence[str], metric: str, in_json: bool
    ) -> None:
        self.repository, self.sentence, self.text = repository, sentence, sentence.text
        self.editable, self.metric, self.in_json = editable, metric, in_json

    def limits(self) -> list[StatedLimit]:
        """Those that the sentence orders; _Unclear for one that this project cannot hold a source to."""
        if not _ORDERS.search(self.text) or _UNSURE.search(_SOFT.sub("", self.text)):
            return []
        stated = [self._lines(), self._memory(), self._printed()]
        return [limit for limit in stated if limit is not None]

    def _lines(self) -> StatedLimit | None:
        match = self._one(_LINES)
        if match is None:
            return None
        named = {name for name in _FILE.findall(self.text) if name in self.repository.files}
        if _OTHER_LINES.search(self.text):
            raise _Unclear("not the lines of all editable files")
        if named != set(self.editable) and (named or len(self.editable) != 1 or not _THE_FILE.search(self.text)):
            raise _Unclear("not clearly the lines of the editable files together")
        limit = _number(match) - (1 if match["strict"] else 0)
        return self._limit("lines", {"kind": "lines", "at_most": limit}) if limit > 0 else None

    def _memory(self) -> StatedLimit | None:
        on_gpu = bool(_GPU_MEMORY.search(self.text))
        if _OTHER_BYTES.search(self.text) or not (on_gpu or _MEMORY.search(self.text)):
            return None
        match = self._one(_BYTES)
        if match is None:
            return None
        limit = _whole(_number(match) * (1024 if match["unit"] in "gG" else 1))
        if not on_gpu:
            return self._limit("memory", {"kind": "memory_mb", "at_most": limit}) if limit > 0 else None
        code = (line.text for line in self.repository.lines(*self.repository.code) if "print" in line.text)
        keys = {key for text in code for key in _VRAM_KEY.findall(text)}
        if len(keys) != 1:
            raise _Unclear('memory of a GPU is measured only with [budget] device = "gpu"')
        pattern = rf"^\s*{keys.pop()}\s*:\s*(\S+)"
        return self._limit("vram", {"kind": "printed", "pattern": pattern, "unit": "MB", "at_most": limit})

    def _printed(self) -> StatedLimit | None:
        match = _PRINTED.search(self.text) or _TRUE.search(self.text)
        if match is None or match["name"] == self.metric or match["name"] in self.repository.files:
            return None
        name = match["name"]
        shown = re.compile(rf"\b{name}\b[\"']?\s*:")
        code = self.repository.lines(*self.repository.code)
        if not any(shown.search(line.text) and re.search(r"print|echo|json|dump", line.text) for line in code):
            raise _Unclear(f"the code prints no {name!r}")
        where = {"key": name} if self.in_json else {"pattern": rf"^\s*{name}\s*:\s*(\S+)"}
        if match.re is _TRUE:
            return self._limit(name, {"kind": "printed", **where, "at_least": 1})
        bound = "at_least" if match["least"] else "at_most"
        return self._limit(name, {"kind": "printed", **where, bound: _number(match)})

    def _one(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """The only match; none if it is a lower bound, which a machine needs and a source does not keep."""
        matches = list(pattern.finditer(self.text))
        if len(matches) > 1:
            raise _Unclear("several limits in one sentence")
        return matches[0] if matches and not matches[0]["least"] else None

    def _limit(self, name: str, section: dict[str, str | float]) -> StatedLimit:
        return StatedLimit(name, section, not self.sentence.soft, self.sentence.where)


def _number(match: re.Match[str]) -> float:
    return _whole(float(match["number"].replace(",", "")))


def _whole(number: float) -> float:
    return int(number) if float(number).is_integer() else number


def _sentences(repository: ForeignRepository) -> Iterator[_Sentence]:
    """The sentences of the prose outside code blocks. What follows a soft heading or lead-in is soft."""
    for file in repository.prose:
        soft = fenced = False
        paragraph: list[RepositoryLine] = []
        for line in [*repository.lines(file), RepositoryLine(file, 0, "")]:
            fence = line.text.lstrip().startswith(("```", "~~~"))
            if fence or fenced or not line.text.strip() or _NEW_PARAGRAPH.match(line.text):
                yield from _split(paragraph, soft)
                paragraph = []
            fenced = fenced != fence
            if fence or fenced:
                continue
            if line.text.startswith("#") or line.text.rstrip(" *_").endswith(":"):
                soft = bool(_SOFT.search(line.text))
            if line.text.strip() and not line.text.startswith("#"):
                paragraph.append(line)


def _split(paragraph: Sequence[RepositoryLine], soft: bool) -> Iterator[_Sentence]:
    starts, text = [], ""
    for line in paragraph:
        starts.append((len(text), line.where))
        text += re.sub(r"^\s*(?:[-*+•>]|\d+[.)])\s+|\*\*|__", "", line.text).strip() + " "
    for match in _SENTENCE.finditer(text):
        where = next(where for start, where in reversed(starts) if start <= match.start())
        yield _Sentence(match[0].strip(), where, soft or bool(_SOFT.search(match[0])))

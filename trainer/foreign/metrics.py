"""Finds the metric of a repository: its name, where to read it, and which direction is better."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

from trainer.foreign.commands import is_launcher
from trainer.foreign.facts import RepositoryFact, missing
from trainer.foreign.repository import ForeignRepository, RepositoryLine, whole_lines
from trainer.metric_names import loose_direction, named_direction, plain_name

METRIC, FILE, DIRECTION = "--metric", "--metric-file", "--direction"
# also matches NaN and inf: a run that ends in NaN must not be scored by an earlier line
# and tensor(0.5), np.float64(0.5)
_NUMBER = (
    r"(?:[\w.]+\()?([-+]?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
    r"|[nN]a[nN]|[iI]nf(?:inity)?))"
)
_NAME = r"[A-Za-z][\w./@-]{1,39}"
_SAYING = r"(?:print|echo|f?printf|puts|println!?|cout|fmt\.\w+|console\.log|log(?:ger)?\.info)\b.{0,40}?"
_VALUE = r"""\s*[:=]\s*(?:[%{$]|"|'|`)"""
_PRINTED = re.compile(rf"""{_SAYING}["'`](?:\\n)?({_NAME}){_VALUE}""")
_WITHIN = re.compile(rf"""{_SAYING}["'`][^"'`]{{0,80}}?(?:[\s|,;(]|\\n)({_NAME}){_VALUE}""")
_IN_WORDS = re.compile(rf"""{_SAYING}["'`](?:\\n)?([A-Za-z][\w-]*(?: [\w()-]+){{1,4}}){_VALUE}""")
_SHOWN = re.compile(rf"\s*({_NAME})\s*[:=]\s*[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?\s*(?:\S{{1,6}})?\s*")
_QUOTED = re.compile(rf"`({_NAME}):\s+[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?%?`")
_GREP = re.compile(rf"""grep\s+(?:-\w+\s+)*["']?\^?({_NAME})[:=\\|"']""")
_MARKED = re.compile(rf"`({_NAME})(?: <[\w. -]{{1,20}}>)?`|\*\*({_NAME})\*\*|^(?:\s{{2,}}|\t)({_NAME}) [-+]?\d+\.\d+$")
_JSON_OUT = re.compile(r"print\(\s*json\.dumps|json\.dump\([\s\S]{1,1500}?sys\.stdout|console\.log\(\s*JSON\.stringify")
_IDENTIFIER = re.compile(r"(?<![\w/.`*])[a-z][a-z0-9]*(?:_[a-z0-9]+)+(?![\w/.`*(])")
_RATE = re.compile(rf"{_SAYING}(?:%[\d.]*[dfg]|\}})\s+([A-Za-z]{{2,12}}/(?:s|sec|second)\b)")
_JSON_FILE = re.compile(r"""["'`\s(]([\w./-]{1,80}\.json)["'`\s),.:;]""")
_JSON_KEY = re.compile(r"""\\?["']([A-Za-z_][\w-]{1,39})\\?["']\s*:""")
_SAYS = {
    way: re.compile(
        rf"\b(?:(?:{more})(?: \S+)?(?: is|=| are)? (?:better|wins)|(?:{most})|as (?:{as_})\b)",
        re.IGNORECASE,
    )
    for way, more, most, as_ in (
        ("lower", "lower|fewer|less|smaller|shorter", r"lowest|fewest|minimi[sz]\w*|smaller is", "low|small"),
        ("higher", "higher|more|larger|bigger|greater", r"highest|maximi[sz]\w*|larger is", "high|large"),
    )
}
_DECIDES = re.compile(
    r"\b(?:decides|(?:only )?(?:one|number|figure|line|value) that counts|goal|objective|(?:is|as) (?:the |our )?score"
    r"|score is|judged (?:on|by)|went up|goes up|rise|raise|increased"
    r"|(?:bring|get|drive|push) \S+ (?:down|up)|go(?:es)? down)\b",
    re.IGNORECASE,
)
_NEGATED = re.compile(
    r"\b(?:not|ignore|only informative|debugging|context only|for curiosity|never mind)\b|n't\b", re.IGNORECASE
)
_GREPPED = 20  # mentions
_SENTENCE = re.compile(r"(?<=[.!;])\s+")
_LAST_LINE = re.compile(r"\blast (?:line|thing|number)\b|\bprinted last\b", re.IGNORECASE)
_DOTTED = re.compile(r"`((?!\S*(?:/|\.(?:json|py|md|toml|txt|sh)`))[a-z]\w*(?:\.\w+)+)`")
_QUICK = re.compile(r"\b(?:faster|fastest|as fast)\b", re.I)  # means lower for a time, higher for a rate
_AUXILIARY = re.compile(
    r"^(?:num_|n_|total|peak|startup|step|epoch|depth|seed|commit|status|training_seconds|warmup|mfu|gpu|device|params"
    r"|url|http)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Metric:
    """``pattern`` for a line of text, or ``key`` of JSON, in ``file`` (empty: in the output)."""

    name: RepositoryFact
    pattern: str = ""
    file: str = ""
    key: str = ""


def pattern_of(name: str, first: bool = True) -> str:
    """A regular expression for ``name: value`` and ``name = value``; ``first``: only at the start of a line."""
    start = r"^\s*" if first else r"(?:^|[\s|,;(])"
    return rf"{start}{re.escape(name)}\s*[:=]\s*{_NUMBER}"


def find(repository: ForeignRepository, name: str | None, file: str | None) -> Metric:
    """The metric that the flags name, or the most likely one that the repository prints or writes."""
    if file is not None:
        return _in_file(file, name or _key_near(repository, file), "given" if name else file)
    if name is not None:
        fact = RepositoryFact("metric", name, "given", METRIC)
        return _json_key(repository, fact) or Metric(fact, pattern=pattern_of(name, first=False))
    for pages in (repository.for_agents, repository.prose):
        said = _named_in_prose(repository, pages)
        if metric := _rate(repository, pages) or _printed(repository, pages, pages is repository.prose, said):
            return metric
        if said and said[0]:
            return said[1]
        written = _written(repository, pages)
        if written.name.is_known:
            return written
        if said:
            return said[1]
    return _in_words(repository) or written


def _printed(
    repository: ForeignRepository, pages: list[str], unsaid: bool, said: tuple[set[str], Metric] | None
) -> Metric | None:
    """A name that the code prints with its value; ``unsaid``: also one that no page mentions, if there is but one such,
    or the last where a page speaks of the last line. ``said``: what the prose names."""
    for form, first in ((_PRINTED, True), (_WITHIN, False)):
        printed, mentions = _names_printed(repository, form, pages)
        weights = {name: _weight(name, mentions[name]) for name in printed}
        best = max(weights, key=lambda name: weights[name], default=None)
        if best is None or weights[best] <= 0 or not (mentions[best] or unsaid):
            continue
        sure = mentions[best] >= _GREPPED or _directed(repository, best, pages)
        if said is not None and said[0] and best != said[1].name.value and not sure:
            return said[1]  # what the prose marks goes before what is printed first
        rivals = [name for name in printed if weights[name] >= weights[best] - 3 and _weight(name, 0) > 0]
        if not mentions[best] and len(rivals) > 1:
            if not any(_LAST_LINE.search(line.text) for line in repository.lines(*pages)):
                return Metric(missing("metric", METRIC, f"which of the numbers printed: {', '.join(rivals)}?"))
            best = rivals[-1]
        return Metric(RepositoryFact("metric", best, printed[best].where, METRIC), pattern=pattern_of(best, first))
    return None


def _rate(repository: ForeignRepository, pages: list[str]) -> Metric | None:
    """A rate that stands behind the number that is printed, ``12 tok/s``, where a sentence says that more is better."""
    for line in repository.lines(*repository.code):
        for unit in _RATE.findall(line.text):
            for spoken in whole_lines(repository.lines(*pages)):
                if unit in spoken.text and _SAYS["higher"].search(spoken.text):
                    pattern = rf"{_NUMBER}\s*{re.escape(unit)}(?!\w)"
                    return Metric(RepositoryFact("metric", unit, line.where, METRIC), pattern=pattern)
    return None


def _in_file(file: str, key: str, where: str) -> Metric:
    fact = RepositoryFact("metric", key, where, METRIC) if key else missing("metric", METRIC, f"which key of {file}?")
    if file.endswith(".json"):
        return Metric(fact, file=file, key=key)
    return Metric(fact, pattern=pattern_of(key or "?"), file=file)


def _json_key(repository: ForeignRepository, fact: RepositoryFact) -> Metric | None:
    """A name ``a.b`` that is a path of keys in the JSON that the code prints, by its last key where only one place of
    the code has that: so other output may surround the JSON."""
    key = str(fact.value).rpartition(".")[2]
    code = repository.code
    if not any(_JSON_OUT.search(repository.text(name)) for name in code):
        return None
    as_keys = len(re.findall(rf"""["']{re.escape(key)}["']\s*:""", "\n".join(map(repository.text, code))))
    if not as_keys:
        return None
    return Metric(
        fact,
        pattern=rf"[\"']{re.escape(key)}[\"']\s*:\s*{_NUMBER}" if as_keys == 1 else "",
        key="" if as_keys == 1 else str(fact.value),
    )


def _named_in_prose(repository: ForeignRepository, pages: list[str]) -> tuple[set[str], Metric] | None:
    """Of the names that the prose marks as code or in bold, or that look like one, those that the code prints with a
    number (``name: 1.0``, ``name 1.0``, a row of a table, a key of JSON on the output): all that are marked, none where
    the likeliest is not; and the likeliest."""
    marked: Counter[str] = Counter()
    clearly: set[str] = set()
    where: dict[str, RepositoryLine] = {}
    for line in whole_lines(repository.lines(*pages)):
        for sentence in _SENTENCE.split(line.text):
            directs = any(says.search(sentence) for says in _SAYS.values())
            decides = (directs or bool(_DECIDES.search(sentence))) and not _NEGATED.search(sentence)
            names = [one for pair in _MARKED.findall(sentence) for one in pair if one]
            clearly |= set(names)
            for name in (*names, *_IDENTIFIER.findall(sentence)):
                times = 1 + (name in names) + 10 * decides
                marked[name] += times + (100 if directs and _AUXILIARY.match(name) else 0)
                where.setdefault(name, line)
    candidates: list[tuple[float, Metric]] = []
    prints_json = any(_JSON_OUT.search(repository.text(name)) for name in repository.code)
    for name, times in marked.items():
        quoted = re.escape(name)
        printed = re.compile(
            rf"""{_SAYING}["'`][^"'`]{{0,120}}(?<![\w/]){quoted}(?:\s*[:=]\s*|(?:\s*\|)?(?:\s|\\t)+)[%{{$]"""
            rf"""|{_SAYING}["'`]{quoted}\s*[:=]?\s*["'`]\s*,"""
        )
        as_key = re.compile(rf"""["']{quoted}["']\s*:""")
        fact = RepositoryFact("metric", name, where[name].where, METRIC)
        if any(printed.search(line.text) for line in repository.lines(*repository.code)):
            pattern = rf"(?:^|[\s|,;(]){quoted}\s*[|:=]?\s*{_NUMBER}"
        elif prints_json and any(
            as_key.search(line.text) for line in repository.lines(*repository.code, *repository.prose)
        ):
            pattern = rf"[\"']{quoted}[\"']\s*:\s*{_NUMBER}"
        elif "." in name and (in_json := _json_key(repository, fact)):
            candidates.append((_weight(name, times) + 1, in_json))
            continue
        else:
            continue
        candidates.append((_weight(name, times), Metric(fact, pattern=pattern)))
    best = max(candidates, key=lambda pair: pair[0], default=None)
    if best is None or best[0] <= 0:
        return None
    known = {str(one.name.value) for _, one in candidates} & clearly
    return known if best[1].name.value in known else set(), best[1]


def _directed(repository: ForeignRepository, name: str, pages: list[str]) -> bool:
    """Whether a sentence names it with the better direction."""
    word = re.compile(rf"(?<![\w/.]){re.escape(name)}(?![\w.])")
    sentences = (one for line in whole_lines(repository.lines(*pages)) for one in _SENTENCE.split(line.text))
    return any(word.search(one) and any(says.search(one) for says in _SAYS.values()) for one in sentences)


def _in_words(repository: ForeignRepository) -> Metric | None:
    """The last printed number with a name of several words that looks like a metric, as in ``Final loss: 0.1``."""
    last = None
    for line in repository.lines(*repository.code):
        for match in _IN_WORDS.finditer(line.text):
            name = plain_name(match[1])
            if _weight(name, 0) > 0:
                last = Metric(RepositoryFact("metric", name, line.where, METRIC), pattern=pattern_of(match[1]))
    return last


def _names_printed(
    repository: ForeignRepository, form: re.Pattern[str], pages: list[str]
) -> tuple[dict[str, RepositoryLine], Counter[str]]:
    """The names printed in a form, with their lines, and how much the pages mention each; grep counts most."""
    printed: dict[str, RepositoryLine] = {}
    own = [name for name in repository.code if not is_launcher(name, repository)]
    for line in repository.lines(*own):
        for match in form.finditer(line.text):
            printed.setdefault(match[1].rstrip("."), line)
    mentions: Counter[str] = Counter()
    for line in repository.lines(*pages):
        if line.number <= _front_matter(repository.text(line.file)):
            continue
        if shown := _SHOWN.fullmatch(line.text):
            printed.setdefault(shown[1], line)
            mentions[shown[1]] += 1
        for match in _QUOTED.finditer(line.text):
            printed.setdefault(match[1], line)
            mentions[match[1]] += 3
        for match in _GREP.finditer(line.text):
            printed.setdefault(match[1], line)
            mentions[match[1]] += _GREPPED
        for name in printed:
            if re.search(rf"(?<![\w/]){re.escape(name)}(?!\w)", line.text):
                mentions[name] += 3 if any(says.search(line.text) for says in _SAYS.values()) else 1
    for line in repository.lines(*repository.code):
        for match in _GREP.finditer(line.text):
            mentions[match[1]] += _GREPPED if match[1] in printed else 0
    return printed, mentions


@lru_cache(maxsize=256)
def _front_matter(text: str) -> int:
    """The number of lines of YAML at the start of a text, which nothing prints."""
    lines = text.splitlines()
    if not lines or lines[0].strip() != "---":
        return 0
    return next((number for number, line in enumerate(lines[1:], 2) if line.strip() in ("---", "...")), 0)


def _weight(name: str, mentions: int) -> float:
    known = loose_direction(name) is not None
    side = bool(_AUXILIARY.match(name))
    return mentions + 5 * known + 3 * name.lower().startswith(("val", "test", "score", "metric")) - 100 * side


def _written(repository: ForeignRepository, pages: list[str]) -> Metric:
    """The metric in a JSON file that is mentioned but does not exist, so a run probably writes it."""
    for line in repository.lines(*pages, *(repository.code if pages is repository.prose else ())):
        for match in _JSON_FILE.finditer(f" {line.text} "):
            name = match[1].removeprefix("./")
            if name not in repository.files and name not in ("package.json", "config.json"):
                return _in_file(name, _key_near(repository, name), line.where)
    note = "no code prints NAME: VALUE or writes a JSON file; see also --metric-file"
    return Metric(missing("metric", METRIC, note))


def _key_near(repository: ForeignRepository, file: str) -> str:
    """The most likely key of a JSON file, from the texts that mention the file."""
    for line in whole_lines(repository.lines(*repository.prose)):
        for sentence in _SENTENCE.split(line.text):
            if file in sentence and (dotted := _DOTTED.search(sentence)) and dotted[1] not in repository.files:
                return dotted[1]
    texts = [*repository.prose, *repository.code]
    naming = [name for name in texts if file in (text := repository.text(name)) or file.rsplit("/", 1)[-1] in text]
    return _likeliest_key(repository, naming) or _likeliest_key(repository, repository.code)


def _likeliest_key(repository: ForeignRepository, names: list[str]) -> str:
    weights: Counter[str] = Counter()
    for line in repository.lines(*names):
        for match in _JSON_KEY.finditer(line.text):
            key = match[1]
            spoken = sum(f"`{key}`" in repository.text(one) for one in repository.prose)
            weights[key] += int(_weight(key, 5 * spoken)) + 1
    best = max(weights, key=lambda key: weights[key], default="")
    return best if weights[best] > 0 else ""


def direction(repository: ForeignRepository, metric: str | None, given: str | None) -> RepositoryFact:
    """The better direction, from a sentence that names the metric, the metric's name, or a sentence of the prose.

    Where a sentence that names the metric contradicts its name, nothing is known: it may be about another metric.
    """
    if given:
        return RepositoryFact("direction", given, "given", DIRECTION)
    for pages in (repository.for_agents, repository.prose):
        stated = _direction(repository, metric, pages)
        if stated.where not in ("not found", "by its name"):
            break
    return stated


def _direction(repository: ForeignRepository, metric: str | None, pages: list[str]) -> RepositoryFact:
    named = loose_direction(metric or "")
    its_name = re.compile(rf"(?<![\w/]){re.escape(metric or '?')}(?![\w/])")
    said: list[tuple[str, RepositoryLine, bool]] = []
    for line in repository.lines(*pages):
        for way, says in _SAYS.items():
            if says.search(line.text):
                said.append((way, line, bool(metric and its_name.search(line.text))))
        if _QUICK.search(line.text):
            said.append((named or "lower", line, False))
    certain = named_direction(metric or "") == (named, True)
    by_name = RepositoryFact(
        "direction", named, "by its name", DIRECTION, "no sentence names it with the better direction"
    )
    near = {way: line for way, line, about in reversed(said) if about}
    if near and certain and named not in near:
        [(way, line), *_] = near.items()
        note = f"{metric} sounds like {named} is better, and {line.where} says {way}"
        return missing("direction", DIRECTION, note)
    if certain and not near:
        return by_name
    for ways in (near, {way: line for way, line, _ in reversed(said)}):
        if len(ways) == 1 and (ways is near or named in (None, *ways)):
            [(way, line)] = ways.items()
            return RepositoryFact("direction", way, line.where, DIRECTION)
    if named and not said:
        return by_name
    return missing("direction", DIRECTION, "lower or higher: the better direction is stated nowhere")

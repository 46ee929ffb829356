"""Finds the editable files of a repository, and which of the others are read-only or executable."""

from __future__ import annotations

import re
from collections.abc import Sequence

from programs.errors import UsageError
from trainer.foreign.commands import scripts_of
from trainer.foreign.facts import RepositoryFact, missing
from trainer.foreign.repository import ForeignRepository, RepositoryLine, whole_lines

FLAG = "--editable"
_MAY = re.compile(
    r"\b(?:modify|edit|edits|edited|change|changed|modified|editable|rewrite|write into|tune"
    r"|optimi[sz]e|improve|hack(?: on)?|yours|work on"
    r"|what you (?:may|can)(?: do)?|the (?:only )?file you|(?:where )?you (?:work|own)(?: in)?|work in|fair game"
    r"|(?:ideas|changes|edits|experiments) go in(?:to)?|(?:one|an?) (?:idea|change|edit) in"
    r"|(?:tuning|work|changes?) (?:happens?|takes? place) in|free to|, yes)\b",
    re.IGNORECASE,
)
_MAY_NOT = re.compile(
    r"\b(?:do not|don't|never|not|cannot|can't|must not|without|read-only|readonly|fixed|untouched|frozen"
    r"|off[ -]limits|leave\b.{1,60}\b(?:alone|as (?:it is|they are))|(?:please|just) leave"
    r"|leave (?:them|it|these|those|this|that|as is)|keep off|hands off|neither|nor|sealed|nobody but|, no)\b",
    re.IGNORECASE,
)
_ONLY_THEN = re.compile(r"\b(?:cannot|can't|must not|not allowed|off limits|read-only)\b", re.IGNORECASE)
_NO_OTHER = re.compile(
    r"\b(?:(?:nothing|nowhere) else|nothing to the rest)\b|, (?:with the exception of|except)\b", re.IGNORECASE
)
_REASON = re.compile(r",? \b(?:since|because)\b", re.IGNORECASE)
_THE_REST = re.compile(r"\b(?:(?:everything|anything|all) else|all (?:the )?others?|the rest)\b", re.IGNORECASE)
_BY_STEM = re.compile(r"\bthe (\w+) (?:file|script|module)\b", re.IGNORECASE)
_SAID_BEFORE = re.compile(r"\b(?:both|either|them|these)\b", re.IGNORECASE)
_THE_SAME = re.compile(
    r"\b(?:it|its|them|they|these|this|that|both|either|(?:modif|edit|chang|touch|rewrit|alter)\w*|leave as is)\b",
    re.IGNORECASE,
)
_ANOTHER = re.compile(  # what the verb is about, where that is no file: "do not change the data"
    r"\b(?:modif|edit|chang|touch|rewrit|alter)\w* (?:the|its|any|how|what|your|an?)"
    r" (?!\w*\s?(?:files?|scripts?|code|contents?(?! of)|modules?|programs?|latter|former|same)\b)\w",
    re.IGNORECASE,
)
_OF_ANOTHER = re.compile(  # the same in the passive: "the held-out points (seed 12) must not be changed"
    r"^\W*(?:the|its|any|all|your) "
    r"(?!\w*\s?(?:files?|scripts?|code|contents?|modules?|programs?|latter|former|others?)\b)"
    r"(?:[^.;()]|\([^()]*\)){1,40}?\b(?:must|may|can|should|are|is)(?: ?not|n't| never)\b",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"(?<=[.;!])(?:\*\*)?\s+|,\s+(?=but\b)|\s+\(?(?=but not\b)")
_RUN_IN = re.compile(r"\*\*([^*]+)\*\*")  # a heading at the start of its paragraph
_CONSTANT = re.compile(r"`|\b[A-Z][A-Z0-9]*_?[A-Z0-9]+\b")
_TO_PROSE = re.compile(r"\]\([^)\s]*\.(?:md|rst|txt)(?:#[^)]*)?\)")  # the target of a link, which is for reading
_FILE = re.compile(r"`?((?:[\w-]+/)*[\w.-]+\.\w{1,5}|(?:[\w-]+/)+\*?)`?")
_PARTS = re.compile(
    r"`?(?P<folder>(?:[\w-]+/)+)`?[^()/.;]{0,40}"
    r"\((?P<names>`?[\w.-]+\.\w{1,5}`?(?:(?:,| and|, and)\s*`?[\w.-]+\.\w{1,5}`?)*)\)"
)
_SOURCE = re.compile(r"\.(?:py|cc?|cpp|cu|rs|go|[jt]s|jl|sh|java|zig|f90|lua)$")
_TRAINS = re.compile(r"train|main|fit|learn|run|solve|optimi", re.IGNORECASE)
_MOST = 20


def editable(repository: ForeignRepository, given: Sequence[str], command: str | None) -> RepositoryFact:
    """The editable files: given by the flag, else allowed by the prose, else the script that the command starts."""
    if given:
        if unknown := [name for name in given if name not in repository.files]:
            near = ", ".join(list(repository.files)[:8])
            raise UsageError(f"--editable {unknown[0]}: no such file in the repository", hint=f"it has {near}")
        return RepositoryFact("editable", sorted(set(given)), "given", FLAG)
    allowed, where = _allowed(repository)
    if allowed:
        return RepositoryFact("editable", allowed, where, FLAG)
    if "train.py" in repository.files:
        note = "guessed from the file's name; no sentence states what may be edited"
        return RepositoryFact("editable", ["train.py"], "train.py", FLAG, note)
    scripts = [name for name in scripts_of(command or "", repository) if not re.search(r"bench|eval|test|score", name)]
    reader = _Reader(repository)
    for line in whole_lines(repository.lines(*repository.prose)):
        reader.take(line)
    scripts = [
        name
        for name in scripts
        if _SOURCE.search(name) and name not in reader.refused and not _has_rival(name, repository, reader)
    ]
    sources = [name for name in repository.files if _SOURCE.search(name) and not name.endswith(".sh")]
    if not scripts and len(sources) == 1:
        return RepositoryFact("editable", sources, sources[0], FLAG, "the only source file")
    if scripts:
        return RepositoryFact("editable", scripts[:1], "the command", FLAG, "no sentence states what may be edited")
    return missing("editable", FLAG, "no sentence states which files may be edited")


def _has_rival(name: str, repository: ForeignRepository, reader: _Reader) -> bool:
    """Whether a script imports a file that the prose names and does not forbid: then that one may be what is edited,
    and this one the judge."""
    folder = name.rpartition("/")[0]
    imported = re.findall(r"^\s*(?:from|import)\s+(\w+)", repository.text(name), re.MULTILINE)
    beside = {f"{folder}/{module}.py".lstrip("/") for module in imported} & repository.files.keys()
    return bool(beside & reader.named - reader.refused) and not _TRAINS.search(name)


def _allowed(repository: ForeignRepository) -> tuple[list[str], str]:
    """Files that the prose allows to edit, and the line of the first such sentence."""
    for file in repository.prose:
        reader = _Reader(repository)
        for line in whole_lines(repository.lines(file)):
            reader.take(line)
        allowed = [name for name in reader.allowed if name not in reader.refused and name not in repository.prose]
        if allowed:
            return sorted(allowed[:_MOST]), reader.where
    return [], ""


class _Reader:
    """Reads sentences in order. A heading applies to the text below it, "do not" also to the files named before."""

    def __init__(self, repository: ForeignRepository) -> None:
        self.repository = repository
        self.allowed: list[str] = []
        self.refused: set[str] = set()
        self.named: set[str] = set()  # one by one, not as a part of a folder
        self.where = ""
        self._allows = self._refuses = False

    def take(self, line: RepositoryLine) -> None:
        if line.text.rstrip(" *").endswith(":") or line.text.startswith("#"):
            allows = bool(_MAY.search(line.text))
            self._refuses = bool(_ONLY_THEN.search(line.text) or (allows and _MAY_NOT.search(line.text)))
            self._allows = allows and not self._refuses
        run_in = _RUN_IN.match(line.text)
        forbidden = bool(run_in and _MAY_NOT.search(run_in[1]))
        granted = bool(run_in and not forbidden and _MAY.search(run_in[1]))
        last: list[str] = []
        is_described = False  # the last sentence that names a file is about that one, and gives no permission
        for sentence in _SENTENCE.split(_TO_PROSE.sub("]", line.text)):
            sentence, *others = _NO_OTHER.split(sentence, maxsplit=1)
            names = self._names(sentence)
            self.refused |= {name for text in others for name in self._names(text)} - set(names)
            self.named |= {name for name in names if name in sentence}
            if _THE_REST.search(sentence):
                names = [name for name in names if name not in self.named and name not in self.allowed]
            forbids = forbidden or bool(_MAY_NOT.search(_REASON.split(sentence)[0]))
            allows = not forbids and bool(self._allows or granted or _MAY.search(sentence))
            if self._refuses or forbids:
                other = _CONSTANT.search(sentence) or _OF_ANOTHER.search(sentence)
                about_last = not other and _THE_SAME.search(sentence)
                meant = last if about_last or self._refuses else []
                others_stay = not {*self.allowed} <= {*meant, *self.refused}
                if not self._refuses and _ANOTHER.search(sentence) and not (is_described and others_stay):
                    meant = [name for name in meant if name not in self.allowed]  # a part of what was just allowed
                self.refused |= set(names or meant)
            elif allows:
                meant = names or (last if _SAID_BEFORE.search(sentence) else [])
                self.allowed = list(dict.fromkeys([*self.allowed, *meant]))
                self.where = self.where or (line.where if meant else "")
            is_described = len(set(names)) == 1 and not allows if names else is_described
            last = names or last

    def _names(self, sentence: str) -> list[str]:
        sentence = _PARTS.sub(_spelled_out, sentence)
        stems = (_by_stem(stem, self.repository) for stem in _BY_STEM.findall(sentence))
        return [name for text in (*_FILE.findall(sentence), *stems) for name in _expanded(text, self.repository)]


def _spelled_out(match: re.Match[str]) -> str:
    """``sub/ … (a.py, b.py)`` as ``sub/a.py, sub/b.py``: the names in brackets are what is meant of the folder."""
    return ", ".join(match["folder"] + name for name in re.findall(r"[\w.-]+\.\w{1,5}", match["names"]))


def _expanded(text: str, repository: ForeignRepository) -> list[str]:
    """The files that a name in a sentence refers to: a file, or the sources below a folder."""
    text = text.removeprefix("./")
    if text in repository.files:
        return [text]
    if text.endswith(("/", "/*")):
        folder = text.rstrip("*")
        return [name for name in repository.files if name.startswith(folder) and _SOURCE.search(name)]
    return []


def _by_stem(stem: str, repository: ForeignRepository) -> str:
    """The only source file of that name without its ending ("the policy file"), or an empty string."""
    named = [
        name
        for name in repository.files
        if _SOURCE.search(name) and name.rpartition("/")[2].partition(".")[0].lower() == stem.lower()
    ]
    return named[0] if len(named) == 1 else ""


def read_only(repository: ForeignRepository, edits: Sequence[str]) -> list[str]:
    """All files except the editable ones and the prose, which instructs the researcher and is not needed to run."""
    return [name for name in repository.files if name not in edits and name not in repository.prose]


def executable(repository: ForeignRepository) -> list[str]:
    return [name for name, (_, run) in repository.files.items() if run and name not in repository.prose]

"""A research program: markdown files with an entry file, immutable once read."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path

from programs.charter import Charter
from programs.common.errors import EnvironmentProblem, ProgramError
from programs.common.ids import content_id, normalise
from programs.common.text import BOM, decode
from programs.directives import CHARTER, FILE, ORDER, Directive, read_directives, read_file_directives
from programs.evolved_for import EvolvedFor, with_label, without_label
from programs.file_set import ENTRY, HEAD, Files, gathered, is_document, packed, require_path, require_size, unpacked
from programs.front_matter import without_front_matter
from programs.ideas import ProgramIdea, read_ideas
from programs.patches import ProgramPatch, read_patches
from programs.settings import CharterSettings, settings_of
from programs.structure import PATH, outline

_WORD = re.compile(r"\w+(?:['’\-.]\w+)*")
# Scripts without spaces between words: Thai, Lao, Myanmar, Khmer, kana, Han. A word has about two characters.
_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)


@dataclass(frozen=True)
class Program:
    """``files`` are pairs of path and bytes: the entry file first, the others by path. The charter and the ideas are
    those of the entry file; every file has directives.

    ``living``: files that a researcher appends to. A run starts with them; they are not part of the program's id.
    ``evolved_for``: the label of a champion's entry file, which is not in its bytes here (`programs.evolved_for`).
    Programs with equal files and name are equal.
    """

    files: Files
    name: str
    settings: CharterSettings = field(compare=False)
    directives: tuple[Directive, ...] = field(compare=False)
    ideas: tuple[ProgramIdea, ...] = field(compare=False)
    living: Files = ()
    patches: tuple[ProgramPatch, ...] = field(default=(), compare=False)
    evolved_for: EvolvedFor | None = field(default=None, compare=False)

    @property
    def charter(self) -> Charter:
        return self.settings.charter

    @property
    def raw(self) -> bytes:
        """The bytes of the entry file."""
        return self.files[0][1]

    @property
    def text(self) -> str:
        """The text of the entry file."""
        return self.raw.decode("utf-8")

    @property
    def further(self) -> dict[str, str]:
        """The texts of the files beside the entry file, by path."""
        return {path: raw.decode("utf-8") for path, raw in self.files[1:]}

    @property
    def is_set(self) -> bool:
        """Whether there are files beside the entry file."""
        return bool(self.living) or len(self.files) > 1

    @cached_property
    def document(self) -> str:
        """What is stored and shown of the program, and parsed again: its text, or one text with all its files."""
        return packed(self.files, self.living) if self.is_set else self.text

    @property
    def labelled(self) -> Program:
        """The same with its label in the bytes of the entry file; only for writing or sending it."""
        (entry, raw), *others = self.files
        return replace(self, files=((entry, with_label(raw, self.evolved_for)), *others))

    @cached_property
    def program_id(self) -> str:
        """The hash of the normalised entry file and of the path and normalised text of every other file."""
        return _identity(self.text, self.files[1:], self.files[0][0])

    @cached_property
    def words(self) -> int:
        """Words of the files without their front matter; scripts without spaces count two characters as one word."""
        body = " ".join(without_front_matter(raw.decode("utf-8")) for _, raw in self.files)
        unspaced = len(_UNSPACED.findall(body))
        return len(_WORD.findall(_UNSPACED.sub(" ", body))) + (unspaced + 1) // 2

    @cached_property
    def addresses(self) -> dict[str, str]:
        """By directive id: file, headings and number, ``roles/critic.md › Process › 3``; without a file for the entry
        file's."""
        counted: Counter[str] = Counter()
        out = {}
        for directive in self.directives:
            counted[directive.heading] += directive.kind != ORDER
            last = str(counted[directive.heading]) if directive.kind != ORDER else ORDER
            if directive.kind == CHARTER:
                last = directive.text.partition(":")[0]
            headings = filter(None, directive.heading.split(PATH))
            out[directive.directive_id] = FILE.join([*headings, last])
        return out

    def cite(self, *fields: str) -> tuple[str, ...]:
        """The directive ids of those of the charter's fields that the program sets, in that order."""
        charter = [directive for directive in self.directives if directive.kind == CHARTER]
        ids = {directive.text.partition(":")[0]: directive.directive_id for directive in charter}
        return tuple(ids[field] for field in fields if field in ids)

    def write(self, folder: Path) -> None:
        """Write every file below a folder, living ones too. Raises EnvironmentProblem."""
        try:
            for name, raw in (*self.files, *self.living):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(raw)
        except OSError as error:
            raise EnvironmentProblem(f"{folder}: {error.strerror}") from None

    def with_text(self, text: str, name: str = "") -> Program:
        """The program with another entry file, or that of a document. Raises ProgramError."""
        if is_document(text):
            return Program.parse(text, name or self.name)
        return self.with_files({self.files[0][0]: text}, name)

    def with_parts(self, text: str, other: Program) -> Program:
        """The program with another entry file that has parts of another program, and the files that these lead to."""
        own, more = dict((*self.files, *self.living)), dict((*other.files[1:], *other.living))
        return self.with_files({**more, **own, self.files[0][0]: text})

    def with_files(self, files: Mapping[str, str | bytes | None], name: str = "") -> Program:
        """The program with some files replaced or added, or removed (None). Files that no file links to or names any
        longer are left out. Raises ProgramError."""
        entry = self.files[0][0]
        new = {**dict((*self.files, *self.living)), **files}
        pool = {path: _bytes(text, path) for path, text in new.items() if text is not None}
        return Program.gather(pool.pop(entry), pool.get, name or self.name, entry)

    @classmethod
    def gather(cls, raw: bytes, read: Callable[[str], bytes | None], name: str, entry: str, file: str = "") -> Program:
        """The program of an entry file and the files of its folder that it leads to. ``read(path)``: one of those."""
        others, living = gathered(entry, raw, read, file or name)
        return cls.parse(raw, name, file=file, others=others, living=living, entry=entry)

    @classmethod
    def parse(
        cls,
        text: str | bytes,
        name: str = "program",
        *,
        file: str = "",
        others: Mapping[str, str | bytes] | None = None,
        living: Mapping[str, str | bytes] | None = None,
        entry: str = ENTRY,
    ) -> Program:
        """Reads a program from a document, or from its entry file and its ``others`` and ``living`` files by path.

        Raises ProgramError ``file:line: …`` (``file`` defaults to the name).
        """
        file = file or name
        raw = _bytes(text, file)
        if is_document(raw) and not (others or living):  # else `_whole` refuses it
            entry, files, living = unpacked(decode(raw, file), file)
            raw, others = _bytes(files.pop(entry), file), files
        raw, label = without_label(raw)
        more, state = _files(others or {}, entry), _files(living or {}, entry)
        if more or state:
            require_path(entry, "")
            raw = _whole(entry, raw)
            require_size([(entry, raw), *more, *state], file)
        else:
            entry = ENTRY
        parsed = _parsed(raw, name, file, more, state, entry)
        return replace(parsed, evolved_for=label) if label else parsed


def program_id(raw: bytes) -> str:
    """The id of the program with these bytes, without parsing its structure; empty if they are not text."""
    try:
        if is_document(raw):
            return Program.parse(raw).program_id
        return _identity(decode(without_label(raw)[0], "program"))
    except ProgramError:
        return ""


def _identity(text: str, others: Files = (), entry: str = ENTRY) -> str:
    parts = [part for path, raw in others for part in (path, normalise(raw.decode("utf-8").removeprefix(BOM)))]
    if others and entry != ENTRY:
        parts.append(entry)
    return content_id("p", normalise(text.removeprefix(BOM)), *parts)


def _files(files: Mapping[str, str | bytes], entry: str) -> Files:
    return tuple((require_path(path, entry), _whole(path, _bytes(text, path))) for path, text in sorted(files.items()))


def _whole(path: str, raw: bytes) -> bytes:
    """A file of several, with a line end. Raises ProgramError where it is no text or contains the head of a file."""
    if HEAD.search(decode(raw, path)):
        raise ProgramError(f"{path}:1: a line ==> PATH <== begins another file", hint="change that line")
    return raw if raw.endswith((b"\n", b"\r")) else raw + b"\n"


@lru_cache(maxsize=128)  # a study parses the same few programs in each run; parsing one takes 10 ms
def _parsed(raw: bytes, name: str, file: str, others: Files, living: Files, entry: str) -> Program:
    text = decode(raw, file)
    parsed = outline(text, file)
    settings = settings_of(text, file)
    directives, patches = read_directives(parsed, settings), read_patches(parsed)
    ideas = read_ideas(parsed, directives, patches)
    for path, other in others:
        directives += read_file_directives(path, outline(decode(other, path), path), len(directives))
    return Program(((entry, raw), *others), settings.name or name, settings, directives, ideas, living, patches)


def _bytes(text: str | bytes, file: str) -> bytes:
    if isinstance(text, bytes):
        return text
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        raise ProgramError(f"{file}:{line}: a lone surrogate is not valid text", hint="save it as UTF-8") from None

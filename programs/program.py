"""A research program: markdown files with an entry file, immutable once read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath

from programs import directives as _directives
from programs import ideas as _ideas
from programs.charter import Charter
from programs.directives import Directive
from programs.errors import EnvironmentProblem, NotFound, ProgramError
from programs.front_matter import locate
from programs.ideas import ProgramIdea
from programs.ids import content_id, normalise
from programs.settings import read_settings
from programs.structure import outline
from programs.text import BOM, MAX_BYTES, decode, split_lines

ENTRY = "program.md"
_WORD = re.compile(r"\w+(?:['’\-.]\w+)*")
# Scripts without spaces between words: Thai, Lao, Myanmar, Khmer, kana, Han. A word has about two characters.
_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)


@dataclass(frozen=True)
class Program:
    """``files`` are pairs of path and bytes: the entry file `program.md` first, the others by path.

    The other fields are parsed from the entry file. Programs with equal files and name are equal.
    """

    files: tuple[tuple[str, bytes], ...]
    name: str
    charter: Charter = field(compare=False)
    directives: tuple[Directive, ...] = field(compare=False)
    ideas: tuple[ProgramIdea, ...] = field(compare=False)

    @property
    def raw(self) -> bytes:
        """The bytes of the entry file."""
        return self.files[0][1]

    @property
    def text(self) -> str:
        return self.raw.decode("utf-8")

    @cached_property
    def program_id(self) -> str:
        """The hash of the normalised entry file and of the path and normalised text of every other file."""
        return _identity(self.text, self.files[1:])

    @cached_property
    def words(self) -> int:
        """Words of the body, without the front matter; scripts without spaces count two characters as one word."""
        lines = split_lines(self.text)
        body = "".join(lines[locate(lines).end :])
        unspaced = len(_UNSPACED.findall(body))
        return len(_WORD.findall(_UNSPACED.sub(" ", body))) + (unspaced + 1) // 2

    @classmethod
    def parse(
        cls,
        text: str | bytes,
        name: str = "program",
        *,
        file: str = "",
        others: Mapping[str, str | bytes] | None = None,
    ) -> Program:
        """Reads a program from its entry file and its ``others`` by relative path.

        Raises ProgramError ``file:line: …`` (``file`` defaults to the name).
        """
        file = file or name
        raw = text if isinstance(text, bytes) else _encode(text, file)
        more = [(_relative(path), _bytes(path, other)) for path, other in sorted((others or {}).items())]
        return _parsed(raw, name, file, tuple(more))

    @classmethod
    def load(cls, path: Path | str) -> Program:
        """Reads a file. Raises NotFound, EnvironmentProblem or ProgramError."""
        path = Path(path)
        try:
            with path.open("rb") as file:
                raw = file.read(MAX_BYTES + 1)  # a device or a pipe may never end; parse refuses larger files
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"{path}: no such file", hint="give the path of a program.md") from None
        except IsADirectoryError:
            raise NotFound(f"{path}: this is a folder", hint=f"did you mean {path}/program.md?") from None
        except OSError as error:
            raise EnvironmentProblem(f"{path}: {error.strerror}") from None
        return cls.parse(raw, path.stem, file=str(path))


def program_id(raw: bytes) -> str:
    """The id of the program with these bytes, without parsing its structure; empty if they are not text."""
    try:
        return _identity(decode(raw, "program"))
    except ProgramError:
        return ""


def _identity(text: str, others: tuple[tuple[str, bytes], ...] = ()) -> str:
    parts = (part for path, raw in others for part in (path, normalise(raw.decode("utf-8").removeprefix(BOM))))
    return content_id("p", normalise(text.removeprefix(BOM)), *parts)


def _relative(path: str) -> str:
    """Raises ProgramError for a path that leaves the program's folder, is its entry file or no markdown."""
    parts = PurePosixPath(path).parts
    if path != "/".join(parts) or path == ENTRY or not path.endswith(".md") or {"..", "/"} & set(parts):
        raise ProgramError(f"{path}: not a markdown file of a program", hint=f"a relative path, not {ENTRY}")
    return path


def _bytes(path: str, text: str | bytes) -> bytes:
    raw = text if isinstance(text, bytes) else _encode(text, path)
    decode(raw, path)
    return raw


@lru_cache(maxsize=128)  # a study parses the same few programs in each run; parsing one takes 10 ms
def _parsed(raw: bytes, name: str, file: str, others: tuple[tuple[str, bytes], ...]) -> Program:
    text = decode(raw, file)
    parsed = outline(text, file)
    settings = read_settings(parsed.lines, locate(parsed.lines, file), file)
    named = _directives.collect(parsed, settings)
    files = ((ENTRY, raw), *others)
    return Program(files, settings.name or name, settings.charter, named, _ideas.collect(parsed, named))


def _encode(text: str, file: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        raise ProgramError(f"{file}:{line}: a lone surrogate is not valid text", hint="save it as UTF-8") from None

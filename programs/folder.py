"""Reads a program from disk: one file, or an entry file with the markdown files that it links to or names."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from programs.errors import Ambiguous, EnvironmentProblem, NotFound, ProgramError
from programs.file_set import (
    ENTRY,
    gathered,
    is_about_repository,
    is_document,
    references,
    resolved,
)
from programs.program import Program
from programs.text import MAX_BYTES

_AGENTS = ("AGENTS.md", "CLAUDE.md")
_MOST_LISTED = 2_000  # files and folders that are looked at for markdown that is not part of the program


def load(path: Path | str) -> Program:
    """The program at a path: a file or a folder. Raises NotFound, Ambiguous, EnvironmentProblem or ProgramError."""
    path = Path(path)
    entry = entry_of(path) if path.is_dir() else path
    loaded = Program.load(entry)
    if loaded.is_set or is_document(loaded.raw):
        return loaded
    name = unicodedata.normalize("NFC", entry.name)
    others, living = gathered(name, loaded.raw, _Disk(entry.parent), str(entry))
    _refuse_outside(entry.parent, [(name, loaded.raw), *others.items()])
    if not others and not living and not path.is_dir():
        return loaded
    called = path.resolve().name if path.is_dir() else ""
    return Program.parse(loaded.raw, called or path.stem, file=str(entry), others=others, living=living, entry=name)


def entry_of(folder: Path) -> Path:
    """The entry file of a folder: program.md, else AGENTS.md or CLAUDE.md, else README.md, else its only .md file.

    Raises NotFound, or Ambiguous where two of the same rank differ.
    """
    try:
        names = sorted(one.name for one in os.scandir(folder) if one.name.lower().endswith(".md") and one.is_file())
    except OSError as error:
        raise EnvironmentProblem(f"{folder}: {error.strerror}") from None
    ranks = ([ENTRY], [name.lower() for name in _AGENTS], ["readme.md"])
    for rank in (*ranks, [name.lower() for name in names]):
        found = [folder / name for name in names if name.lower() in rank]
        if found and len({path.read_bytes() for path in found}) > 1:
            shown = ", ".join(path.name for path in found[:4])
            hint = f"name the one to begin with: {found[0]}, or call it {ENTRY}"
            raise Ambiguous(f"{folder}: {len(found)} files could be the entry file of the program: {shown}", hint=hint)
        if found:
            exact = [path for path in found if path.name == ENTRY]
            return (exact or found)[0]
    raise NotFound(f"{folder}: this folder has no .md file to begin with", hint=f"a program's entry file is {ENTRY}")


def left_out(path: Path, program: Program) -> list[str]:
    """Markdown files of a program's folder that no file of the program links to or names."""
    known = {name for name, _ in (*program.files, *program.living)}
    known |= {unicodedata.normalize("NFD", name) for name in known}
    out, looked = [], 0
    for top, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "node_modules")
        looked += len(folders) + len(names)
        here = Path(top).relative_to(path)
        out += [str(here / name) for name in sorted(names) if name.endswith(".md") and str(here / name) not in known]
        if looked > _MOST_LISTED:
            break
    return [name for name in out if name != program.files[0][0] and not is_about_repository(name)]


def _refuse_outside(root: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Raises ProgramError for a link to a file that exists outside the folder."""
    for source, raw in files:
        for one in references(raw.decode("utf-8")):
            outside = (root / source).parent / one.path
            if (
                one.link
                and not resolved(one.path, source)
                and not is_about_repository(outside.name)
                and exists(outside)
            ):
                hint = "copy the file into the program's folder, or remove the link"
                raise ProgramError(f"{root / source}:{one.line}: {one.path} is outside the folder {root}", hint=hint)


def exists(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False


@dataclass(frozen=True)
class _Disk:
    """The markdown files in a folder on disk. Raises ProgramError where one lies outside, EnvironmentProblem."""

    root: Path

    def read(self, path: str) -> bytes | None:
        forms = [self.root / unicodedata.normalize(form, path) for form in ("NFC", "NFD")]
        found = next((each for each in forms if exists(each)), None)
        if found is None:
            return None
        if not found.resolve().is_relative_to(self.root.resolve()):
            message = f"{found}:1: this symbolic link leads out of the folder {self.root}"
            raise ProgramError(message, hint="copy the file into the program's folder")
        try:
            with found.open("rb") as file:
                return file.read(MAX_BYTES + 1)
        except OSError as error:
            raise EnvironmentProblem(f"{found}: {error.strerror}") from None

    def below(self, folder: str) -> list[str]:
        try:
            found = sorted(str(each.relative_to(self.root)) for each in (self.root / folder).rglob("*.md"))
        except OSError as error:
            raise EnvironmentProblem(f"{self.root / folder}: {error.strerror}") from None
        return [unicodedata.normalize("NFC", each) for each in found]

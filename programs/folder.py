"""Reads a program from disk: one file, or an entry file with the markdown files that it links to or names."""

from __future__ import annotations

import errno
import io
import os
import posixpath
import stat
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from zipfile import BadZipFile

from programs.common.errors import Ambiguous, EnvironmentProblem, NotFound, ProgramError
from programs.common.files import open_zip, read_entry
from programs.common.text import MAX_BYTES, split_lines
from programs.file_set import ENTRY, MAX_FILES, is_about_repository, is_document, named_files, require_path
from programs.program import Program

_MOST_LISTED = 2_000  # files and folders that are looked at for markdown that is not part of the program


def load(path: Path | str) -> Program:
    """The program at a path: a file or a folder. Raises NotFound, Ambiguous, EnvironmentProblem or ProgramError."""
    path = Path(path)
    entry, name = (entry_of(path), path.resolve().name) if path.is_dir() else (path, path.stem)
    raw = _start_of(entry)
    if is_document(raw):
        return Program.parse(raw, entry.stem, file=str(entry))
    called = unicodedata.normalize("NFC", entry.name)
    return Program.gather(raw, lambda path: _read(entry.parent, path), name, called, str(entry))


def entry_of(folder: Path) -> Path:
    """The entry file of a folder. Raises NotFound, EnvironmentProblem, Ambiguous, or ProgramError for a link out."""
    try:
        pages = [Path(item) for item in os.scandir(folder) if item.name.lower().endswith(".md") and item.is_file()]
        entry = entry_among({path.name: _start_of(path) for path in pages}, str(folder))
        _require_inside(folder, folder / entry)
        return folder / entry
    except OSError as error:
        raise EnvironmentProblem(f"{folder}: {error.strerror}") from None


def entry_among(files: Mapping[str, bytes], where: str) -> str:
    """The entry file: program.md, else AGENTS.md or CLAUDE.md, else README.md, else the only .md file.

    Of several of the same rank, the one that no other links to or names. Raises NotFound, or Ambiguous.
    """
    names = sorted(files)
    for rank in ([ENTRY], ["agents.md", "claude.md"], ["readme.md"], [name.lower() for name in names]):
        entries = [name for name in names if name.lower() in rank]
        if ENTRY in entries:
            return ENTRY
        if len({files[name] for name in entries}) == 1:  # copies of each other
            return entries[0]
        named = _named_among(entries, files) if len(entries) <= MAX_FILES else set[str]()
        if len(above := [name for name in entries if name not in named]) == 1:
            return above[0]
        if entries:
            listed = ", ".join(entries[:4])
            hint = f"name the file to begin with, or call it {ENTRY}"
            raise Ambiguous(
                f"{where}: {len(entries)} files could be the entry file of the program: {listed}", hint=hint
            )
    raise NotFound(f"{where}: there is no .md file to begin with", hint=f"a program's entry file is {ENTRY}")


def _named_among(among: Sequence[str], files: Mapping[str, bytes]) -> set[str]:
    """The files that another of these links to or names, as a CLAUDE.md does with ``@AGENTS.md``."""
    names = set[str]()
    for source in among:
        lines = split_lines(files[source].decode("utf-8", "replace"))
        names |= {path for _, _, paths in named_files(lines, 0, "") for path in paths if path != source}
    return names


def from_zip(raw: bytes, file: str) -> tuple[Program, list[str]]:
    """The program in a zip archive, with the limits of a folder, and the markdown files that are not part of it.

    Raises ProgramError, NotFound or Ambiguous.
    """
    try:
        files = _unzipped(raw, file)
    except (BadZipFile, OSError):
        raise ProgramError(f"{file}:1: the zip archive cannot be read", hint="zip the folder again") from None
    top = posixpath.commonpath(map(posixpath.dirname, files)) if files else ""
    files = {path.removeprefix(f"{top}/"): text for path, text in files.items()}
    entry = entry_among({path: text for path, text in files.items() if "/" not in path}, file)
    program = Program.gather(files[entry], files.get, file, entry)
    return program, _unused(files, program)


def packed_bytes(raw: bytes) -> int:
    """The bytes of the markdown files of a zip archive, unpacked, as it states them; 0 for one that cannot be read."""
    try:
        with open_zip(io.BytesIO(raw)) as archive:
            return sum(row.file_size for row in archive.infolist()[:_MOST_LISTED] if row.filename.endswith(".md"))
    except (BadZipFile, OSError):
        return 0


def _unzipped(raw: bytes, file: str) -> dict[str, bytes]:
    """The markdown files of an archive. Nothing is unpacked that is larger than a program may be."""
    with open_zip(io.BytesIO(raw)) as archive:
        rows = archive.infolist()
        if len(rows) > _MOST_LISTED:
            raise ProgramError(f"{file}:1: the zip archive has {len(rows):,} files", hint="zip the program alone")
        wanted = [row for row in rows if row.filename.endswith(".md") and "__MACOSX" not in row.filename]
        if sum(row.file_size for row in wanted) > 4 * MAX_BYTES:
            message = f"{file}:1: the .md files of the zip archive are larger than {4 * MAX_BYTES:,} bytes"
            raise ProgramError(message, hint="zip the program alone")
        files: dict[str, bytes] = {}
        for row in wanted:
            path = require_path(unicodedata.normalize("NFC", row.filename), "")
            if stat.S_ISLNK(row.external_attr >> 16):
                raise ProgramError(f"{file}:1: {path} is a symbolic link", hint="zip the file that it leads to")
            files[path] = read_entry(archive, row, 4 * MAX_BYTES)
        return files


def left_out(path: Path, program: Program) -> list[str]:
    """Markdown files of a program's folder that no file of the program links to or names."""
    out: list[str] = []
    looked = 0
    for top, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "node_modules")
        looked += len(folders) + len(names)
        here = Path(top).relative_to(path)
        out += [str(here / name) for name in sorted(names) if name.endswith(".md")]
        if looked > _MOST_LISTED:
            break
    return [name for name in _unused(out, program) if name != entry_of(path).name]


def _unused(paths: Iterable[str], program: Program) -> list[str]:
    known = {unicodedata.normalize("NFC", name) for name, _ in (*program.files, *program.living)}
    return [path for path in paths if unicodedata.normalize("NFC", path) not in known and not is_about_repository(path)]


def _start_of(path: Path) -> bytes:
    """As much of a file as is needed to refuse one that is too large, or never ends."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"{path}: no such file", hint="give the path of a program.md") from None
    except OSError as error:
        raise EnvironmentProblem(f"{path}: {error.strerror}") from None


def _read(root: Path, path: str) -> bytes | None:
    """A file below a folder, None if there is none. Raises ProgramError where it lies outside, EnvironmentProblem."""
    try:
        forms = (root / unicodedata.normalize(form, path) for form in ("NFC", "NFD"))
        existing = next((path_form for path_form in forms if path_form.is_file()), None)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return None
        raise EnvironmentProblem(f"{root / path}: {error.strerror}") from None
    if existing is None:
        return None
    _require_inside(root, existing)
    return _start_of(existing)


def _require_inside(root: Path, path: Path) -> None:
    """Raises ProgramError where a link leads out of the folder."""
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        message = f"{path}:1: this symbolic link leads out of the folder {root}"
        raise ProgramError(message, hint="copy the file into the program's folder")

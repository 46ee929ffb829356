"""The files of a program: which belong to its folder's program, and their text in one piece.

A program of several files is a folder. Where a program's text is stored or shown, it is one text: each file below a
line ``==> PATH <==``, or ``==> PATH (living) <==``; the first is the entry file.
"""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath

from programs.common.errors import ProgramError
from programs.common.text import MAX_BYTES, MAX_LINES, decode, split_lines
from programs.front_matter import locate

ENTRY = "program.md"
MAX_FILES = 64  # of a program, living ones included; the largest seen in public repositories has 31
MAX_PATH = 200  # characters
Files = tuple[tuple[str, bytes], ...]  # path and bytes

_FORBIDDEN = set("\"'`<>|*?:\\")  # some file systems refuse them, and prompts and pages quote paths
HEAD = re.compile(r"^==> (.{1,400}?)( \(living\))? <==$", re.MULTILINE)
_NAMED = re.compile(r"(?<![\w/.:@?=&#\-*{}<>$])@?([\w.\-]+(?:/[\w.\-]+)*\.md)(?![\w/]|\.\w)")
_FENCE = re.compile(r"[ \t>]*(`{3,}|~{3,})")
_LIVING = re.compile(r"living[ \t]*:[ \t]*true[ \t]*(?:#.*)?", re.IGNORECASE)
# files about a repository, which its programs often mention; the task's own files are what a researcher sees of it
_ABOUT = re.compile(
    r"(?:README|LICEN[SC]E|CHANGELOG|CONTRIBUTING|CODE_OF_CONDUCT|SECURITY)(?:\.[\w-]+)?\.md", re.IGNORECASE
)


def named_files(lines: Sequence[str], body: int, source: str) -> Iterator[tuple[int, str, list[str]]]:
    """The .md files that the lines of a file link to or name, in their order: the number of the line, the path as it is
    written, and the paths in the folder that it may mean: beside the file ``source``, or from the top.

    Web addresses and fenced code are left out.
    """
    fence = ""
    for number, line in enumerate(lines[body:], body + 1):
        mark = _FENCE.match(line)
        if mark and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
        elif not fence:
            for path in _NAMED.findall(line):
                both = posixpath.normpath(posixpath.join(posixpath.dirname(source), path)), posixpath.normpath(path)
                inside = (name_inside for name_inside in dict.fromkeys(both) if not name_inside.startswith("../"))
                yield number, path, [unicodedata.normalize("NFC", name_inside) for name_inside in inside]


def gathered(
    entry: str, raw: bytes, read: Callable[[str], bytes | None], where: str
) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """The other files of a program and its living files: what the entry file links to or names, what these do, and so
    on. ``read(path)``: a file of the folder, or None.

    A file is living if its front matter says ``living: true``. Raises ProgramError, ``where:1: …`` for too many files.
    """
    others: dict[str, bytes] = {}
    living: dict[str, bytes] = {}
    waiting = [(entry, raw)]
    while waiting:
        source, content = waiting.pop(0)
        lines = split_lines(decode(content, where if source == entry else source))
        body = locate(lines).end
        if source != entry and any(_LIVING.fullmatch(line.strip()) for line in lines[:body]):
            living[source] = others.pop(source)
            continue
        for _, _, candidates in named_files(lines, body, source):
            path, entry_bytes = next(
                ((candidate, text) for candidate in candidates if (text := read(candidate)) is not None), (entry, b"")
            )
            if path not in (entry, *others, *living) and not is_about_repository(path):
                others[path] = entry_bytes
                waiting.append((path, entry_bytes))
                require_size([(entry, raw), *others.items(), *living.items()], where)
    return others, living


def is_about_repository(path: str) -> bool:
    return "/" not in path and _ABOUT.fullmatch(path) is not None


def require_path(path: str, entry: str = ENTRY) -> str:
    """The path. Raises ProgramError for one that leaves the program's folder, is its entry file or no markdown."""
    parts = PurePosixPath(path).parts
    plain = path == "/".join(parts) and path.isprintable() and not set(path) & _FORBIDDEN and len(path) <= MAX_PATH
    if not plain or path == entry or not path.endswith(".md") or {"..", "/", ".git"} & set(parts):
        shown = path if path.isprintable() else repr(path)
        raise ProgramError(f"{shown}: not a markdown file of a program", hint=f"a relative path, not {entry}")
    return path


def require_size(files: Sequence[tuple[str, bytes]], where: str) -> None:
    """Raises ProgramError for more files, bytes or lines than a program may have, and for a file that is a folder of
    another one."""
    folders = {str(above) for path, _ in files for above in PurePosixPath(path).parents}
    if twice := sorted(folders & {path for path, _ in files}):
        raise ProgramError(f"{where}:1: {twice[0]} is a file and a folder", hint="give one of them another name")
    together = b"".join(raw for _, raw in files)
    for what, count, most in (
        ("files", len(files), MAX_FILES),
        ("bytes together", len(together), MAX_BYTES),
        ("lines together", together.count(b"\n"), MAX_LINES),
    ):
        if count > most:
            message = f"{where}:1: the program has {count:,} {what}; the maximum is {most:,}"
            raise ProgramError(message, hint="only the entry file and what it links to or names belong to a program")


def is_document(text: str | bytes) -> bool:
    """Whether a text is that of several files."""
    start = text[:500]
    return HEAD.match(start if isinstance(start, str) else start.decode("utf-8", "replace")) is not None


def packed(files: Files, living: Files) -> str:
    """The text of these files; each ends with a line end."""
    every = [(path, raw, "") for path, raw in files] + [(path, raw, " (living)") for path, raw in living]
    return "".join(f"==> {path}{mark} <==\n{raw.decode()}" for path, raw, mark in every)


def unpacked(text: str, file: str) -> tuple[str, dict[str, str], dict[str, str]]:
    """(path of the entry file, the texts of the files by path, those of the living files). Raises ProgramError."""
    _, *parts = HEAD.split(text)
    files: dict[str, str] = {}
    living: dict[str, str] = {}
    for path, is_living, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        if path in files or path in living:
            raise ProgramError(f"{file}:1: {path} is there twice", hint="each file stands below one line ==> PATH <==")
        (living if is_living else files)[path] = body.removeprefix("\n")
    if not files:
        raise ProgramError(f"{file}:1: there is no entry file", hint="the first file is not a living one")
    return next(iter(files)), files, living

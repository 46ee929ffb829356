"""A set of markdown files as one text, and which other files a text refers to.

A program of several files is stored wherever a program's text is stored (study.toml, ledger, jobs) as one text, its
*document*: a table of kind, bytes and path of each file, then the files one after another, byte for byte.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol
from urllib.parse import unquote

from programs.errors import ProgramError
from programs.front_matter import locate
from programs.text import MAX_BYTES, MAX_LINES, decode, split_lines

ENTRY = "program.md"
MAX_FILES = 64  # of a program, living ones included; the largest seen in public repositories has 31
MAX_PATH = 200  # characters
_FORBIDDEN = set("\"'`<>|*?:\\")  # some file systems refuse them, and prompts and pages quote paths
Files = tuple[tuple[str, bytes], ...]  # path and bytes

_OPENING = "<!-- metaloop: a program of "
_HEAD = re.compile(re.escape(_OPENING).encode() + rb"(\d{1,4}) files: kind, bytes and path of each, then their texts\n")
_ROW = re.compile(rb"(entry|file|living) (\d{1,9}) ([^\n]+)\n")
_END = b"-->\n"

_LINK = re.compile(r"\]\(\s*(?:<([^<>\n]{1,400})>|([^\s()<>]{1,400}))(?:\s[^()\n]{0,200})?\)")
_QUOTED = re.compile(r"`([^`\s]{1,400})`")
_BARE = re.compile(r"(?<![\w/.\-:@#`])@?((?:\./|(?:\.\./)+|/)?[\w.\-]+(?:/[\w.\-]+)*(?:\.md|/))(?![\w/`\-]|\.\w)")
_STRANGE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|.*[*?{}$<>|\\\\]")
_WRITES = r"append|log|record|write|add|note|save|collect|put"
_BEFORE = re.compile(
    rf"\b(?:(?:{_WRITES})(?:s|ed|ing)?\b[^.!?\n]*?\b(?:to|in|into)|(?:update|maintain|extend)s?)\s+"
    r"(?:the\s+|a\s+|your\s+)?(?:file\s+)?[`\[*_\"'(@]*$",
    re.IGNORECASE,
)
_SENTENCE = 160  # characters before a name that are searched for a verb
_OVERLAP = 200  # names of one line that are compared with each new one
_FENCE = re.compile(r"[ \t>]*(`{3,}|~{3,})")
_FOLDER = re.compile(r"(?:^|/)(?:roles|skills|agents|prompts|commands)/$")  # folders that a program may name whole
_NEVER = re.compile(r"\b(?:never|not|no)\b|n['’]t\b", re.IGNORECASE)
_LIVING = re.compile(r"^living[ \t]*:[ \t]*(true|yes|false|no)[ \t]*(?:#.*)?$", re.IGNORECASE)
# files about a repository, which its programs often mention; the task's own files are what a researcher sees of it
_ABOUT = re.compile(
    r"(?:README|LICEN[SC]E|CHANGELOG|CONTRIBUTING|CODE_OF_CONDUCT|SECURITY)(?:\.[\w-]+)?\.md", re.IGNORECASE
)


@dataclass(frozen=True)
class Reference:
    """A relative path that a text links to or names. ``line`` from 1; ``written``: the text says to write to it."""

    line: int
    path: str
    link: bool
    written: bool = False


def references(text: str) -> list[Reference]:
    """The markdown files, and folders such as ``roles/``, that a text links to or names, in the order of its lines.

    Web addresses, other kinds of files and fenced code are left out.
    """
    lines = split_lines(text)
    body, fence, before = locate(lines).end, "", ""
    out: list[Reference] = []
    for at, line in enumerate(lines[body:], body + 1):
        mark = _FENCE.match(line)
        if mark and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
        elif not fence:
            out += _in_line(before, line, at)
        before = line.strip()
    return out


def _in_line(before: str, line: str, at: int) -> Iterator[Reference]:
    """``before``: the line above, in which a sentence may begin."""
    taken: list[tuple[int, int]] = []
    for pattern, link in ((_LINK, True), (_QUOTED, False), (_BARE, False)):
        for match in pattern.finditer(line):
            begin, end = match.span()
            path = match[match.lastindex or 0].split("#")[0].split("?")[0]
            path = unquote(path) if link else path.removeprefix("@")
            wanted = (path.endswith(".md") and path != ".md") or _FOLDER.search(path)
            if not wanted or _STRANGE.match(path) or not path.isprintable():
                continue
            if not any(begin < last and first < end for first, last in taken[-_OVERLAP:]):
                taken.append((begin, end))
                said = f"{before} {line[max(0, begin - _SENTENCE) : begin]}"[-_SENTENCE:]
                yield Reference(at, path, link and path.endswith(".md"), _is_written(said, link))


def _is_written(before: str, link: bool) -> bool:
    """Whether the words before a name say to write to that file: ``append … to``, ``log … in``, ``update``."""
    if link:  # the words before the link's text
        before = before.rpartition("[")[0]
    said = _BEFORE.search(before)
    return bool(said) and not _NEVER.search(re.split(r"[.!?]\s", before)[-1])


def marked_living(text: str) -> bool | None:
    """What the front matter of a file says under ``living:``; None if it says nothing."""
    lines = split_lines(text)
    for line in lines[: locate(lines).end]:
        if match := _LIVING.match(line.strip()):
            return match[1].lower() in ("true", "yes")
    return None


def is_about_repository(path: str) -> bool:
    return "/" not in path and _ABOUT.fullmatch(path) is not None


def resolved(path: str, source: str) -> list[str]:
    """The paths in the set that a reference may mean: beside the file ``source``, else from the top. Paths that leave
    the folder are not among them."""
    candidates = [_within(PurePosixPath(source).parent, path), _within(PurePosixPath(), path)]
    return [unicodedata.normalize("NFC", each) for each in dict.fromkeys(candidates) if each]


def _within(folder: PurePosixPath, path: str) -> str:
    parts: list[str] = list(folder.parts)
    if path.startswith("/"):
        return ""
    for part in path.split("/"):
        if part == ".." and not parts:
            return ""
        if part == "..":
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


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
    hint = "only the entry file and what it links to or names belong to a program"
    if len(files) > MAX_FILES:
        raise ProgramError(f"{where}:1: the program has {len(files):,} files; the maximum is {MAX_FILES}", hint=hint)
    if (size := sum(len(raw) for _, raw in files)) > MAX_BYTES:
        message = f"the program's {len(files)} files have {size:,} bytes together; the maximum is {MAX_BYTES:,}"
        raise ProgramError(f"{where}:1: {message}", hint=hint)
    if (lines := sum(raw.count(b"\n") for _, raw in files)) > MAX_LINES:
        message = f"the program's {len(files)} files have {lines:,} lines together; the maximum is {MAX_LINES:,}"
        raise ProgramError(f"{where}:1: {message}", hint=hint)


class Pool(Protocol):
    """Files from which a program can be gathered; paths from its folder."""

    def read(self, path: str) -> bytes | None:
        """The bytes of a markdown file; None if there is none."""

    def below(self, folder: str) -> Sequence[str]:
        """The markdown files in a folder."""


@dataclass(frozen=True)
class FilePool:
    """Files in memory."""

    files: Mapping[str, bytes]

    def read(self, path: str) -> bytes | None:
        return self.files.get(path)

    def below(self, folder: str) -> Sequence[str]:
        return sorted(path for path in self.files if path.startswith(f"{folder}/"))


def gathered(entry: str, raw: bytes, pool: Pool, where: str) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """The other files of a program and its living files: what the entry file links to or names, and so on.

    A file is living if its front matter says ``living: true``, or if the entry file says to write to it. Raises
    ProgramError, ``where:1: …`` for too many files.
    """
    said = references(decode(raw, where))
    written = {path for one in said if one.written for path in resolved(one.path, entry)}
    others: dict[str, bytes] = {}
    living: dict[str, bytes] = {}
    waiting = [(entry, said)]
    while waiting:
        source, said = waiting.pop(0)
        for path, content in (each for one in said for each in _meant(one, source, pool)):
            if path in others or path in living or path == entry or is_about_repository(path):
                continue
            text = decode(content, path)
            marked = marked_living(text)
            if marked or (marked is None and path in written):
                living[path] = content
            else:
                others[path] = content
                waiting.append((path, references(text)))
            require_size([(entry, raw), *others.items(), *living.items()], where)
    return others, living


def _meant(one: Reference, source: str, pool: Pool) -> Iterator[tuple[str, bytes]]:
    """The files that a reference means; none where there is nothing."""
    for path in resolved(one.path, source):
        paths = pool.below(path) if one.path.endswith("/") else [path]
        files = [(each, raw) for each in paths[: MAX_FILES + 1] if (raw := pool.read(each)) is not None]
        if files:
            yield from files
            return


@dataclass(frozen=True)
class Document:
    """The files of a document."""

    entry: str
    text: bytes
    others: Mapping[str, bytes]
    living: Mapping[str, bytes]


def is_document(text: str | bytes) -> bool:
    return text.startswith(_OPENING) if isinstance(text, str) else text.startswith(_OPENING.encode())


def packed(files: Files, living: Files) -> bytes:
    """The document of these files; the first is the entry."""
    kinds = ["entry", *["file"] * (len(files) - 1), *["living"] * len(living)]
    both = (*files, *living)
    head = f"{_OPENING}{len(both)} files: kind, bytes and path of each, then their texts\n"
    table = "".join(f"{kind} {len(raw)} {path}\n" for kind, (path, raw) in zip(kinds, both, strict=True))
    return (head + table).encode() + _END + b"".join(raw for _, raw in both)


def unpacked(raw: bytes, file: str) -> Document:
    """The files of a document. Raises ProgramError where it is damaged."""
    head = _HEAD.match(raw)
    rows, at = [], head.end() if head else 0
    for _ in range(int(head[1]) if head else 0):
        row = _ROW.match(raw, at)
        rows += [row] if row else []
        at = row.end() if row else at
    whole = head and len(rows) == int(head[1]) and [r[1] for r in rows].count(b"entry") == 1 and rows[0][1] == b"entry"
    if not whole or not raw.startswith(_END, at) or len(raw) - at - len(_END) != sum(int(r[2]) for r in rows):
        hint = "it was edited or cut; write the files into a folder instead"
        raise ProgramError(f"{file}:1: this text of several files does not fit its own table of files", hint=hint)
    at += len(_END)
    kinds: dict[bytes, dict[str, bytes]] = {b"entry": {}, b"file": {}, b"living": {}}
    for row in rows:
        path = row[3].decode("utf-8", "replace")
        if any(path in known for known in kinds.values()):
            raise ProgramError(f"{file}:1: {path} is there twice")
        kinds[row[1]][path] = raw[at : (at := at + int(row[2]))]
    ((entry, text),) = kinds[b"entry"].items()
    return Document(entry, text, kinds[b"file"], kinds[b"living"])

"""Source: the editable files of a task as one immutable value with an id."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from programs.common.errors import Corrupt, NotFound, TaskError
from programs.common.files import read_inside
from programs.common.ids import content_id

MOST_FILE = 256 << 20  # bytes of a task's file: as many as a copied repository may have in all


def task_file_bytes(folder: Path, name: str) -> bytes:
    """The content of a file of a task's folder, which may be a stranger's. Raises TaskError unless it is a regular
    file in the folder, of at most MOST_FILE bytes."""
    try:
        return read_inside(folder, name, MOST_FILE)
    except Corrupt as error:
        hint = f"a task has regular files in its folder, of at most {MOST_FILE >> 20} MB; [run] readable shows others"
        raise TaskError(error.message, hint=hint) from None
    except OSError as error:
        raise TaskError(f"{folder / name}: {error.strerror}", hint="make the file readable, or remove it") from None


def imported_modules(tree: ast.AST) -> set[str]:
    """Top-level names of the modules that a Python file imports, apart from relative imports."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


@dataclass(frozen=True)
class Source:
    """The text of each editable file, sorted by name; equal texts are the same source."""

    files: tuple[tuple[str, str], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "files", tuple(sorted(self.files)))

    @classmethod
    def from_folder(cls, folder: Path, names: Iterable[str]) -> Source:
        """Read the named files of ``folder``; NotFound names a missing one, TaskError one that is no regular file."""
        files = []
        for name in names:
            if not (folder / name).is_file():
                raise NotFound(f"{folder / name}: no such file", hint="the task lists it under [task] editable")
            files.append((name, task_file_bytes(folder, name).decode("utf-8", "replace")))
        return cls(tuple(files))

    @cached_property
    def source_id(self) -> str:
        return content_id("s", *(part for file in self.files for part in file))

    def text(self, name: str = "train.py") -> str:
        for file_name, text in self.files:
            if file_name == name:
                return text
        raise NotFound(f"{name} is not among the editable files: {', '.join(name for name, _ in self.files)}")

    def with_text(self, name: str, text: str) -> Source:
        """A source in which one file has another text."""
        return Source(tuple((n, text if n == name else t) for n, t in self.files))

    def write(self, folder: Path) -> None:
        """Write every file under ``folder``, with the same bytes as read."""
        for name, text in self.files:
            path = folder / name
            if "/" in name:
                path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())

    def diff(self, other: Source) -> str:
        """Unified diff from this source to ``other``; empty if they are equal."""
        ours, theirs = dict(self.files), dict(other.files)
        parts: list[str] = []
        for name in sorted(ours.keys() | theirs.keys()):
            lines = difflib.unified_diff(
                ours.get(name, "").splitlines(),
                theirs.get(name, "").splitlines(),
                f"a/{name}",
                f"b/{name}",
                lineterm="",
            )
            parts.extend(line + "\n" for line in lines)
        return "".join(parts)

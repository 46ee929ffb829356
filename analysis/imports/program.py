"""The program of a log: the program.md in its folder, valid or not."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.imports.text import UnreadableLog, read_bytes
from analysis.writing_events import DirectiveEntry
from programs.errors import MetaloopError
from programs.ids import content_id, normalise
from programs.program import Program
from programs.text import MAX_BYTES

if TYPE_CHECKING:
    from pydantic import JsonValue

NAMES = ("program.md", "PROGRAM.md", "Program.md")


def beside(log: Path, repository: Path | None, name: str) -> tuple[dict[str, JsonValue] | None, str]:
    """(the `program` event of the program next to a log or at the top of its repository, its problem).

    An invalid program is stored as text without directives, with the reason; an unreadable one is None.
    """
    for folder in dict.fromkeys(path_ for path_ in (log.absolute().parent, repository) if path_ is not None):
        for candidate in NAMES:
            path = folder / candidate
            if path.is_file() and not path.is_symlink():
                return _event(path, name)
    return None, ""


def _event(path: Path, name: str) -> tuple[dict[str, JsonValue] | None, str]:
    try:
        raw = read_bytes(path, MAX_BYTES)
        text = raw.decode("utf-8")
    except UnreadableLog as error:
        return None, f"{path.name}: {error}"
    except UnicodeDecodeError:
        return None, f"{path.name}: not UTF-8"
    base: dict[str, JsonValue] = {"kind": "program", "generation": None, "operator": "import", "parent_ids": []}
    try:
        program = Program.parse(raw, name, file=path.name)
    except MetaloopError as error:
        base |= {"program_id": content_id("p", normalise(text)), "name": name, "words": None, "text": text}
        return base | {"directives": []}, error.message
    base |= {"program_id": program.program_id, "name": program.name, "words": program.words, "text": program.document}
    return base | {"directives": [asdict(entry) for entry in DirectiveEntry.all_of(program)]}, ""

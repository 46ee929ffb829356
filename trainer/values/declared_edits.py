"""The edit space of a task folder: the knobs that task.toml declares, each checked against the editable files."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from programs.common.errors import TaskError
from trainer import task_file
from trainer.edits import EditSpace, Knob, Replacement
from trainer.source import task_file_bytes
from trainer.values import constants, nested_values


def edit_space(path: Path, text: str, parsed: task_file.TaskFile) -> EditSpace:
    """``path`` and ``text``: of task.toml. Raises TaskError, with file and line."""
    sources = {name: _source_text(path.parent / name) for name in parsed.task.editable}
    knobs: dict[str, Knob] = {}  # by name in lower case
    for name, edit in parsed.edits.items():
        for where, message, hint in _faults(name, edit, sources):
            task_file.complain(path, text, ("edits", name, *where), message, hint)
        if name.lower() in knobs:
            message = "the name occurs twice (case is ignored)"
            task_file.complain(path, text, ("edits", name), message, "give it another name")
        knobs[name.lower()] = _knob(name, edit)
    return EditSpace(tuple(knobs.values()))


def _faults(name: str, edit: task_file.EditSection, sources: dict[str, str]) -> Iterator[task_file.Fault]:
    """The value that a knob sets is in its file, and each text that a patch replaces is there once."""
    if not {edit.file, *(part.file for part in edit.replace)} <= sources.keys():
        yield (), "names a file that is not editable", "see [task] editable"
    known = nested_values.read(edit.file, sources[edit.file])
    if edit.at and edit.at not in known:
        near = get_close_matches(edit.at, known, 3, 0.4)
        hint = f"near: {', '.join(near)}" if near else "docs/tasks.md shows the forms of an address"
        yield (), f"{edit.file} has no value {edit.at}", hint
    elif not edit.at and edit.kind != "patch" and name not in constants.read(sources[edit.file]):
        message = f"{edit.file} has no constant {name} at the top level"
        yield (), message, f"add a line '{name} = value', or correct the name"
    changed = dict(sources)
    for part in edit.replace:
        if (count := changed[part.file].count(part.find)) != 1:
            message = f"the text of find occurs {count} times in {part.file}"
            yield ("replace", "find"), message, "it must occur exactly once"
        changed[part.file] = changed[part.file].replace(part.find, part.with_)


def _knob(name: str, edit: task_file.EditSection) -> Knob:
    values: list[Any] = [False, True] if edit.kind == "patch" else edit.values
    if edit.kind in ("float", "int"):
        values = sorted(map(float if edit.kind == "float" else int, values))
    replacements = tuple(Replacement(part.file, part.find, part.with_) for part in edit.replace)
    fields = edit.model_dump(exclude={"values", "replace"})
    return Knob(name, values=tuple(values), replacements=replacements, **fields)


def _source_text(path: Path) -> str:
    """The text of an editable file; TaskError, with file and line, if it is not text or not valid Python."""
    try:
        raw = task_file_bytes(path.parent, path.name)
        text = raw.decode("utf-8")
        if path.suffix == ".py":
            compile(text, str(path), "exec", dont_inherit=True)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise TaskError(f"{path}:{line}: not UTF-8 (byte {error.start})", hint="save the file as UTF-8") from None
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None) or 1
        message = getattr(error, "msg", None) or str(error)
        hint = "the baseline must run: correct that line"
        raise TaskError(f"{path}:{line}: not valid Python: {message}", hint=hint) from None
    return text

"""The cheap checks of a proposal, before anything is trained."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import lru_cache

from arena.home.chain import merged
from programs.errors import UsageError
from programs.ids import content_id
from trainer.experiment import SOURCE_BYTES
from trainer.source import Source
from trainer.task import Task


def checked_files(files: object, task: Task, base: Mapping[str, str]) -> dict[str, str]:
    """The changed files of a proposal. Raises UsageError with the first fault."""
    if not isinstance(files, dict) or not files:
        raise UsageError("a proposal has no files")
    for name, text in files.items():
        if name not in task.editable:
            raise UsageError(f"{str(name)[:80]!r} is not an editable file of the task")
        if not isinstance(text, str):
            raise UsageError(f"{name} is not a text")
        if "\0" in text:
            raise UsageError(f"{name} contains a null byte")
        _bare(name, text)
    if all(base.get(name) == text for name, text in files.items()):
        raise UsageError("the proposal changes nothing")
    whole = {**base, **files}
    if sum(len(text.encode()) for text in whole.values()) > SOURCE_BYTES:
        raise UsageError(f"the source is larger than {SOURCE_BYTES >> 10} KB")
    return dict(files)


def rebased(changed: Mapping[str, str], base: Mapping[str, str], main: Mapping[str, str]) -> dict[str, str] | None:
    """The whole source of a proposal on today's main; None if both changed the same lines, or it no longer parses."""
    whole = dict(main)
    for name, text in changed.items():
        new = merged(base.get(name, ""), main.get(name, ""), text)
        if new is None:
            return None
        try:
            _bare(name, new)
        except UsageError:
            return None
        whole[name] = new
    return whole


def normal_form(files: Mapping[str, str]) -> str:
    """A hash of the source without layout, comments and docstrings: equal for proposals that differ in them alone."""
    return content_id("s", *(part for name in sorted(files) for part in (name, _bare(name, files[name]))))


def source_of(files: Mapping[str, str]) -> Source:
    return Source(tuple(files.items()))


@lru_cache(maxsize=8)  # a proposal's texts are asked for by its check and by its normal form
def _bare(name: str, text: str) -> str:
    """The text without layout, comments and docstrings, if it is Python. Raises UsageError if it should be and is
    not."""
    if not name.endswith(".py"):
        return text
    try:
        tree = ast.parse(text)
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list):
                body[:] = [each for each in body if not _is_idle(each)]
        return ast.dump(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UsageError(f"{name} is not Python: {error}"[:200]) from None


def _is_idle(node: ast.stmt) -> bool:
    """A statement that only states a constant, as docstrings do, or nothing."""
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))

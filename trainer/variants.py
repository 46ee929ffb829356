"""Tasks made from others: `task init DIR --like TASK` copies one, optionally for another language or as another member
of its family; members that a command line names (``tabular:7``) are made in the user's cache."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from programs.errors import UsageError
from trainer.families import write_member
from trainer.scaffold import refuse_taken, task_name, with_value
from trainer.task import TASKS, Task, builtin_tasks
from trainer.user_files import user_cache

_LEFT = shutil.ignore_patterns("__pycache__", "card.json")  # a card is valid only for the measured task
_MEMBERS = re.compile(r"([a-z][\w-]*):(\d+)(?:-(\d+))?")
_MOST = 1000  # members that one text names


@dataclass(frozen=True)
class Variant:
    """The requested variant of the task ``like``. ``grammar`` is the number of another generated language, ``member``
    the number of a member of the task's family."""

    like: str = "tinylm"
    grammar: int | None = None
    member: int | None = None


def init_like(folder: Path, wanted: Variant) -> Task:
    """Write the task into ``folder`` without overwriting files. On an error nothing is written.

    UsageError for a task that does not support the request.
    """
    base = _base(wanted)
    refuse_taken(folder, [path.name for path in base.iterdir() if path.name != "__pycache__"])
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".task-", dir=folder.parent) as temporary:
        draft = Path(temporary) / task_name(folder)
        shutil.copytree(base, draft, ignore=_LEFT)
        toml = draft / "task.toml"
        text = with_value(toml.read_text("utf-8"), "task", "name", task_name(folder))
        if wanted.grammar is not None:
            text = with_value(text, "data", "grammar", wanted.grammar)
        toml.write_text(text, "utf-8")
        written = Task.load(draft)
        if wanted.member is not None:
            write_member(written, wanted.member, draft)
            Task.load(draft)
        folder.mkdir(exist_ok=True)
        for path in draft.iterdir():
            path.rename(folder / path.name)
    return Task.load(folder)


def tasks_of(text: str) -> Iterator[Task]:
    """The tasks that ``text`` names: a name, a folder, or members of a family (``tabular:1-8``)."""
    match = _MEMBERS.fullmatch(text)
    if match is None:
        yield Task.load(text)
        return
    first, last = int(match[2]), int(match[3] or match[2])
    if not 0 < first <= last < first + _MOST:
        raise UsageError(f"{text}: members are numbered from 1, at most {_MOST} at a time", hint="tabular:1-8")
    base = Task.load(match[1])
    yield from (member(base, number) for number in range(first, last + 1))


def member(base: Task, number: int) -> Task:
    """Member ``number`` of the family of ``base``, made once in the user's cache. UsageError if it has no family."""
    folder = user_cache() / "tasks" / base.task_id / f"{base.name}-{number}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".member-", dir=folder.parent) as temporary:
            made = init_like(Path(temporary) / folder.name, Variant(str(base.folder), member=number))
            try:
                made.folder.rename(folder)
            except OSError:
                if not folder.is_dir():  # else another process was faster
                    raise
    return Task.load(folder)


def _base(wanted: Variant) -> Path:
    """The folder of the task to copy, which must support the request."""
    if wanted.like not in builtin_tasks():
        if wanted.member is not None:
            return Task.load(wanted.like).folder
        raise UsageError(f"--like {wanted.like}: no built-in task", hint=f"one of {', '.join(builtin_tasks())}")
    if wanted.grammar is not None and Task.load(wanted.like).grammar is None:
        raise UsageError(f"--grammar: the task {wanted.like} does not support a grammar", hint="leave out --like")
    return TASKS / wanted.like

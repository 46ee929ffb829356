"""New tasks: an empty one, a copy of another (`task init DIR --like TASK`), a member of a family.

Section ``[family]`` of task.toml says what distinguishes members, each drawn by a number: a member has other data
(``[data] variant``, else ``grammar``, else ``seed``) and another untouched train.py, whose constants are drawn from the
values that the family names. Members of a family share the names of their knobs; families differ in them, and share
roles. Members that a command line names (``tabular:7``) are made in the user's cache.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from programs.common.errors import UsageError
from trainer.edits import Edit, Value
from trainer.task import TASKS, Task, builtin_tasks
from trainer.user_files import user_cache

_FILES = ("task.toml", "train.py", "prepare.py", "data.py")


def task_name(folder: Path) -> str:
    """A valid task name made from a folder's name."""
    name = re.sub(r"[^a-z0-9_-]+", "-", folder.resolve().name.lower()).strip("-_")
    return name if name[:1].isalpha() else f"task-{name}".rstrip("-")


def with_value(toml: str, section: str, key: str, value: str | int) -> str:
    """task.toml with another value of a key that it has. UsageError if the key has no line of its own."""
    with suppress(tomllib.TOMLDecodeError, KeyError, AttributeError):
        wanted = tomllib.loads(toml)
        wanted[section].update({key: value})
        for line in re.finditer(rf"""(?m)^([ \t]*){key}[ \t]*=[ \t]*(?:"[^"\n]*"|'[^'\n]*'|[^\s#]+)""", toml):
            written = f"{line[1]}{key} = {json.dumps(value)}"  # ids of members depend on its bytes
            changed = toml[: line.start()] + written + toml[line.end() :]
            if tomllib.loads(changed) == wanted:
                return changed
    raise UsageError(f"task.toml: cannot replace {key} of [{section}]", hint=f"write {key} = … on a line of its own")


def init(folder: Path | str, name: str | None = None) -> Path:
    """Write the four files of a new task into ``folder``; existing files are never overwritten."""
    folder = Path(folder)
    refuse_taken(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for file in _FILES:
        text = (TASKS / "_new" / file).read_text("utf-8")
        (folder / file).write_text(text.replace('"NAME"', f'"{name or task_name(folder)}"'), "utf-8")
    return folder


def refuse_taken(folder: Path, files: Iterable[str] = _FILES) -> None:
    """Raise UsageError if one of the files of a new task already exists."""
    for file in files:
        if (folder / file).exists():
            raise UsageError(f"{folder / file}: already exists", hint="name an empty or new folder")


_KEYS = ("variant", "grammar", "seed")  # of [data], the first that a task has


def baseline_of(task: Task, number: int) -> Edit:
    """What distinguishes a member's untouched script from that of the family's first task."""
    import numpy as np

    if task.family is None:
        raise UsageError(f"the task {task.name} is no family", hint="task.toml needs a section [family]")
    digest = hashlib.sha256(f"{task.family.name} {number}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:16], "big"))
    values: dict[str, Value] = {}
    for name, offered in task.family.baseline.items():
        drawn = rng.random() < task.family.share
        at = int(rng.integers(len(offered)))
        if drawn:
            values[name] = offered[at]
    return Edit(values)


def write_member(task: Task, number: int, folder: Path) -> None:
    """Turn ``folder``, a copy of the family's task, into its member ``number``; 0 leaves it as it is."""
    if number == 0:
        return
    for name, text in task.edits.apply(task.baseline(), baseline_of(task, number)).files:
        (folder / name).write_text(text, "utf-8")
    path = folder / "task.toml"
    path.write_text(_numbered(path.read_text("utf-8"), number), "utf-8")


def _numbered(toml: str, number: int) -> str:
    """task.toml with the number in the key of [data] that distinguishes data sets."""
    key = next((key for key in _KEYS if key in tomllib.loads(toml).get("data", {})), "")
    if not key:
        raise UsageError("task.toml has no key of [data] that names its data", hint=f"one of {', '.join(_KEYS)}")
    return with_value(toml, "data", key, number)


_LEFT = shutil.ignore_patterns("__pycache__", "card.json")  # a card is valid only for the measured task
_MEMBERS = re.compile(r"([a-z][\w-]*):(\d+)(?:-(\d+))?")
_MOST = 1000  # members that one text names


def init_like(folder: Path, like: str, member: int | None = None) -> Task:
    """Write a copy of the task ``like``, or the ``member`` of its family, into ``folder`` without overwriting files. On
    an error nothing is written.

    UsageError for a task that does not support the request.
    """
    base = _base(like, member)
    refuse_taken(folder, [path.name for path in base.iterdir() if path.name != "__pycache__"])
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".task-", dir=folder.parent) as temporary:
        draft = Path(temporary) / task_name(folder)
        shutil.copytree(base, draft, ignore=_LEFT)
        toml = draft / "task.toml"
        text = with_value(toml.read_text("utf-8"), "task", "name", task_name(folder))
        toml.write_text(text, "utf-8")
        written = Task.load(draft)
        if member is not None:
            write_member(written, member, draft)
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
            created = init_like(Path(temporary) / folder.name, str(base.folder), number)
            try:
                created.folder.rename(folder)
            except OSError:
                if not folder.is_dir():  # else another process was faster
                    raise
    return Task.load(folder)


def _base(like: str, member: int | None) -> Path:
    """The folder of the task to copy, which must support the request."""
    if like in builtin_tasks():
        return TASKS / like
    if member is not None:
        return Task.load(like).folder
    raise UsageError(f"--like {like}: no built-in task", hint=f"one of {', '.join(builtin_tasks())}")

"""Tasks made from others: `task init DIR --like TASK` copies one, optionally for another language, the user's own text
or as another member of its family; members that a command line names (``tabular:7``) are made in the user's cache."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from programs.errors import UsageError
from trainer.families import write_member
from trainer.scaffold import refuse_taken, task_name, with_value
from trainer.task import TASKS, Task, builtin_tasks
from trainer.text_source import at_hand
from trainer.user_files import user_cache

_LEFT = shutil.ignore_patterns("__pycache__", "card.json")  # a card is valid only for the measured task
_EXAMINE = "import sys; sys.path.insert(0, sys.argv[1]); import data; print(data.examine())"
_MEMBERS = re.compile(r"([a-z][\w-]*):(\d+)(?:-(\d+))?")
_MOST = 1000  # members that one text names
_OF_TEXT, _OF_LANGUAGE = "gpt", "tinylm"  # defaults of --like


@dataclass(frozen=True)
class Variant:
    """The requested variant. ``grammar`` is the number of another generated language, ``text`` a file or folder,
    ``member`` the number of a member of the task's family."""

    like: str | None = None
    grammar: int | None = None
    text: Path | None = None
    member: int | None = None

    @property
    def base(self) -> str:
        return self.like or (_OF_LANGUAGE if self.text is None else _OF_TEXT)


def init_like(folder: Path, wanted: Variant) -> tuple[Task, str]:
    """Write the task into ``folder`` without overwriting files; returns it with the report of its data.py on the text.

    On an error nothing is written. UsageError for an unsuitable text or a task that does not support the request.
    """
    base = _base(wanted)
    refuse_taken(folder, [path.name for path in base.iterdir() if path.name != "__pycache__"])
    source = _source(wanted.text, folder) if wanted.text is not None else ""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".task-", dir=folder.parent) as temporary:
        draft = Path(temporary) / task_name(folder)
        shutil.copytree(base, draft, ignore=_LEFT)
        toml = draft / "task.toml"
        toml.write_text(_written(toml.read_text("utf-8"), wanted, source, task_name(folder)), "utf-8")
        examined = _examined(draft) if source else ""
        written = Task.load(draft)
        if wanted.member is not None:
            write_member(written, wanted.member, draft)
            Task.load(draft)
        folder.mkdir(exist_ok=True)
        for path in draft.iterdir():
            path.rename(folder / path.name)
    return Task.load(folder), examined


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
            made = init_like(Path(temporary) / folder.name, Variant(str(base.folder), member=number))[0]
            try:
                made.folder.rename(folder)
            except OSError:
                if not folder.is_dir():  # else another process was faster
                    raise
    return Task.load(folder)


def _base(wanted: Variant) -> Path:
    """The folder of the task to copy, which must support the request."""
    if wanted.base not in builtin_tasks():
        if wanted.member is not None:
            return Task.load(wanted.base).folder
        raise UsageError(f"--like {wanted.base}: no built-in task", hint=f"one of {', '.join(builtin_tasks())}")
    if wanted.grammar is not None and wanted.text is not None:
        raise UsageError("--grammar and --text exclude each other", hint="give one of them")
    for key, value in (("grammar", wanted.grammar), ("text", wanted.text)):
        if value is not None and not _reads(wanted.base, key):
            able = ", ".join(name for name in builtin_tasks() if _reads(name, key))
            message = f"--{key}: the task {wanted.base} does not support a {key}"
            raise UsageError(message, hint=f"leave out --like, or use --like with one of {able}")
    return TASKS / wanted.base


def _reads(name: str, key: str) -> bool:
    """Whether the task's data.py reads ``[data] grammar``, or ``source`` for a text."""
    key = {"text": "source"}.get(key, key)
    data = TASKS / name / "data.py"
    return data.is_file() and re.search(rf"""["']{key}["']""", data.read_text("utf-8")) is not None


def _source(text: Path, folder: Path) -> str:
    """The absolute path of the text as task.toml names it."""
    path = text.expanduser().resolve()
    if not path.exists():
        raise UsageError(f"--text {text}: no such file or folder", hint="name a file or a folder of text")
    if not (path.is_file() or path.is_dir()):
        raise UsageError(f"--text {text}: neither a file nor a folder", hint="name a file or a folder of text")
    if folder.resolve().is_relative_to(path):
        raise UsageError(f"{folder} is inside the text {text}", hint="make the task in another folder")
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise UsageError(f"--text {str(path)!r}: the path is not UTF-8", hint="rename it") from None
    return str(path)


def _written(toml: str, wanted: Variant, source: str, name: str) -> str:
    """task.toml with its new name, and with the origin of the text in its section [data]."""
    toml = with_value(toml, "task", "name", name)
    if wanted.grammar is not None:
        return _with_data(toml, {"grammar": wanted.grammar})
    if not source:
        return toml
    said = json.dumps(f"The trainer of {wanted.base} on {Path(source).name}, scored on unseen text.")
    toml = re.sub(r"(?m)^description = .*$", lambda _: f"description = {said}", toml, count=1)
    return _with_data(toml, {"source": source, **({"public": True} if at_hand(source) else {})})


def _with_data(toml: str, values: dict[str, str | int | bool]) -> str:
    """task.toml with these values in [data], replacing other values for the origin of the text."""
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
    head, mark, rest = toml.partition("\n[data]\n")
    if not mark:
        return "\n".join([toml.rstrip(), "", "[data]", *lines, ""])
    section, end, tail = rest.partition("\n[")
    kept = [line for line in section.splitlines() if not re.match(r"\s*(source|grammar|public)\s*=", line)]
    return head + mark + "\n".join([*lines, *kept, ""]) + end + tail


def _examined(folder: Path) -> str:
    """The report of ``examine()`` in its data.py, if defined, which tests the text and may adapt the task to it."""
    if not re.search(r"(?m)^def examine\(", (folder / "data.py").read_text("utf-8")):
        return ""
    command = [sys.executable, "-s", "-P", "-B", "-c", _EXAMINE, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1].removeprefix("ValueError: ")
        message, _, hint = last.partition("; ")
        raise UsageError(message, hint=hint or 'see "Texts and languages" in docs/tasks.md')
    return done.stdout.strip()

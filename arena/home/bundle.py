"""The task as volunteers get it: the files of its folder, under one hash.

`pack` is the host's half. `unpack` is the volunteer's: it treats the bundle as hostile, writes nothing outside its
folder, and refuses a task that would run a command or read a file of the volunteer.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from arena.cluster.files import files_of
from arena.home import normal_form
from programs.common.bounded import json_value
from programs.common.errors import MetaloopError, UsageError
from programs.common.text import one_line
from trainer.scoring import SCORED_WITHOUT_ITS_CODE
from trainer.task import Task
from trainer.values import constants, nested_values

MOST_BYTES, MOST_FILES, MOST_NAME = 8 << 20, 400, 200
MOST_BODY = 2 * MOST_BYTES
PARSED, MOST_PARSED = (".py", ".toml", ".json"), 256 << 10  # what is read to know the task; bytes of each
CPU_SECONDS = 10  # to read a task; an honest one takes one, most of it for imports
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")


@dataclass(frozen=True)
class Bundle:
    """``body``: JSON, each file's bytes in base 64 by its name, sorted. ``digest``: SHA-256 of it, hex."""

    body: bytes

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(self.body).hexdigest()


def refuse_unfit(task: Task) -> None:
    """Raises UsageError for a task that strangers cannot search."""
    why = ""
    if task.public:
        why = "its hidden data are public"
    elif task.run is not None:
        why = "it runs a command"
    elif task.law is not None:
        why = "it is simulated: nothing is trained"
    if why:
        raise UsageError(f"task {task.name} cannot be shared: {why}", hint="metaloop task show lists others")


def pack(task: Task) -> Bundle:
    """Raises UsageError for a task that cannot be shared or is too large."""
    refuse_unfit(task)
    files = {name: content for name, content, _ in files_of(task.folder)}
    if sum(map(len, files.values())) > MOST_BYTES or len(files) > MOST_FILES:
        raise UsageError(f"task {task.name} is larger than {MOST_BYTES >> 20} MB or {MOST_FILES} files")
    coded = {name: base64.b64encode(files[name]).decode() for name in sorted(files)}
    return Bundle(json.dumps(coded, separators=(",", ":")).encode())


def unpack(body: bytes, digest: str, folder: Path, main: Mapping[str, str]) -> Task:
    """The task with main's files as its baseline (none: its own), in a new ``folder``. Raises UsageError where the
    bundle is not what it was announced as or is not harmless: a process with limits reads it first."""
    if len(body) > MOST_BODY or hashlib.sha256(body).hexdigest() != digest:
        raise UsageError("the task bundle is not the one that was announced")
    try:
        files = {str(name): base64.b64decode(text, validate=True) for name, text in json_value(body).items()}
    except (ValueError, TypeError, AttributeError):
        raise UsageError("the task bundle is damaged") from None
    if "task.toml" in main:
        raise UsageError("main has a task.toml, which could change the task that was agreed to")
    files |= {name: text.encode("utf-8", "replace") for name, text in main.items()}
    if len(files) > MOST_FILES or sum(map(len, files.values())) > MOST_BYTES:
        raise UsageError("the task bundle is too large")
    for name, content in files.items():
        if not _NAME.fullmatch(name) or len(name) > MOST_NAME or ".." in name.split("/"):
            raise UsageError(f"the task bundle has a file with a forbidden name: {name[:80]!r}")
        if name.endswith(PARSED) and len(content) > MOST_PARSED:
            raise UsageError(f"{name} of the task bundle is larger than {MOST_PARSED >> 10} KB")
    folder.mkdir(parents=True, mode=0o755)  # the sandbox reads it as another user; its parents are private
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    answer = normal_form.limited_python(["-P", "-m", "arena.home.bundle", str(folder)], list(main))
    if answer != {}:
        raise UsageError(answer["fault"] if answer else "the task bundle takes too long or too much memory to read")
    return Task.load(str(folder))


def check(folder: Path, main: Sequence[str]) -> None:
    """Read an unpacked task of a stranger as a run does, and take from its task.toml what no longer fits ``main``, its
    files that have moved on. Raises UsageError for what is refused."""
    import tomli_w

    path = folder / "task.toml"
    parsed = tomllib.loads(path.read_text("utf-8"))
    edits = parsed.get("edits", {})
    names = main or [path.relative_to(folder).as_posix() for path in folder.rglob("*.py")]
    texts = {name: (folder / name).read_text("utf-8") for name in names}
    parsed["edits"] = {name: edit for name, edit in edits.items() if _fits(name, edit, texts)}
    parsed.pop("family", None)  # it names knobs, and a volunteer makes no variants
    path.write_text(tomli_w.dumps(parsed), "utf-8")
    task = Task.load(str(folder))
    refuse_unfit(task)
    if task.scoring["kind"] not in SCORED_WITHOUT_ITS_CODE:
        raise UsageError("code of this task would take part in its scoring, which runs outside the sandbox; refused")
    if main and set(main) != set(task.editable):
        raise UsageError("main has other files than the task lets volunteers edit")
    task.laid_files()  # compiles them


def _fits(name: str, edit: Mapping[str, Any], texts: Mapping[str, str]) -> bool:
    """Whether a knob's value, or the anchors of a patch, are still in the files, which have moved on."""
    text = texts.get(edit.get("file", "train.py"), "")
    if edit.get("kind") != "patch":
        return edit["at"] in nested_values.read("train.py", text) if edit.get("at") else name in constants.read(text)
    changed = dict(texts)
    for replacement in edit.get("replace", []):
        file = replacement.get("file", "train.py")
        if changed.get(file, "").count(replacement["find"]) != 1:
            return False
        changed[file] = changed[file].replace(replacement["find"], replacement["with"])
    return True


def main() -> None:
    """The process with limits: reads the names of main's files, answers with an object, and the fault in it."""
    normal_form.confine(CPU_SECONDS)
    answer = {}
    try:
        check(Path(sys.argv[1]), json.load(sys.stdin))
    except MetaloopError as refused:
        answer["fault"] = one_line(refused.message)[:300]
    except Exception as error:  # process boundary: a hostile task may fail anywhere
        answer["fault"] = one_line(f"the task bundle is damaged: {type(error).__name__}: {error}")[:300]
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()

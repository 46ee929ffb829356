"""The task as volunteers get it: the files of its folder, under one hash.

`pack` is the host's half. `unpack` is the volunteer's: it treats the bundle as hostile, writes nothing outside its
folder, and refuses a task that would run a command or read a file of the volunteer.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arena.cluster.files import files_of
from programs.errors import UsageError
from trainer.scoring import SCORED_WITHOUT_ITS_CODE
from trainer.task import Task
from trainer.values import constants, nested_values

MOST_BYTES, MOST_FILES, MOST_NAME = 8 << 20, 400, 200
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")


@dataclass(frozen=True)
class Bundle:
    """``body``: JSON, each file's bytes in base 64 by its name, sorted. ``digest``: SHA-256 of it, hex."""

    body: bytes

    @property
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
    bundle is not what it was announced as or is not harmless."""
    if len(body) > 2 * MOST_BYTES or hashlib.sha256(body).hexdigest() != digest:
        raise UsageError("the task bundle is not the one that was announced")
    try:
        coded = json.loads(body)
        files = {str(name): base64.b64decode(text, validate=True) for name, text in coded.items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise UsageError("the task bundle is damaged") from None
    if len(files) > MOST_FILES or sum(map(len, files.values())) > MOST_BYTES:
        raise UsageError("the task bundle is too large")
    for name in [*files, *main]:
        if not _NAME.fullmatch(name) or len(name) > MOST_NAME or ".." in name.split("/"):
            raise UsageError(f"the task bundle has a file with a forbidden name: {name[:80]!r}")
    harmless = _harmless(files.get("task.toml", b""), main)
    folder.mkdir(parents=True, mode=0o755)  # the sandbox reads it as another user; its parents are private
    for name, content in {**files, **{n: t.encode() for n, t in main.items()}, "task.toml": harmless}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    task = Task.load(str(folder))
    refuse_unfit(task)
    if task.scoring["kind"] not in SCORED_WITHOUT_ITS_CODE:
        raise UsageError("code of this task would take part in its scoring, which runs outside the sandbox; refused")
    if main and set(main) != set(task.editable):
        raise UsageError("main has other files than the task lets volunteers edit")
    return task


def _harmless(toml: bytes, main: Mapping[str, str]) -> bytes:
    """task.toml without the prepared patches that no longer fit main's files. Raises UsageError for what is refused."""
    import tomli_w

    try:
        parsed = tomllib.loads(toml.decode())
    except (ValueError, RecursionError):
        raise UsageError("the task bundle has no readable task.toml") from None
    source = parsed.get("data", {}).get("source", "") if isinstance(parsed.get("data"), dict) else ""
    if "run" in parsed or source not in ("", "stdlib"):
        raise UsageError("the task would run a command or read a file of this machine; it is refused")
    edits = parsed.get("edits", {})
    parsed["edits"] = {name: edit for name, edit in edits.items() if _fits(name, edit, main)}
    parsed.pop("family", None)  # it names knobs, and a volunteer makes no variants
    return tomli_w.dumps(parsed).encode()


def _fits(name: str, edit: Mapping[str, Any], main: Mapping[str, str]) -> bool:
    """Whether a knob's value, or the anchors of a patch, are still in main's files, which have moved on."""
    text = main.get(edit.get("file", "train.py"), "")
    if edit.get("kind") != "patch":
        return bool(
            edit["at"] in nested_values.read("train.py", text) if edit.get("at") else name in constants.read(text)
        )
    changed = dict(main)
    for one in edit.get("replace", []):
        file = one.get("file", "train.py")
        if changed.get(file, "").count(one["find"]) != 1:
            return False
        changed[file] = changed[file].replace(one["find"], one["with"])
    return True

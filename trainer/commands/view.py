"""The sandbox of a command: the system, the interpreter, paths that the task names, and a copy of the task's files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from programs.common.errors import TaskError, UsageError
from trainer.commands import compile_cache
from trainer.commands.job import HOME, CommandJob
from trainer.sandbox import login_keys
from trainer.sandbox.blob import memory_file
from trainer.sandbox.process_tree import CommandLimits
from trainer.sandbox.view import View, checked, environment

WORK, COMPILED = "/task", "/compiled"


def view_of(job: CommandJob, limits: CommandLimits) -> View:
    """TaskError for a path that may not be shown."""
    size = limits.disk_mb
    memory = {WORK: size, "/tmp": size, HOME: size, "/dev/shm": min(size, 256)}
    if job.compiled is not None:
        memory[COMPILED] = job.compiled_mb
    texts = (*job.readable, *filter(os.path.isabs, job.links.values()))
    named = {text: readable_path(text, job.hidden) for text in texts}
    return View(
        user="work",
        readable={f"{HOME}/{text[2:]}" if text.startswith("~/") else str(path): path for text, path in named.items()},
        memory=memory,
        hidden=job.hidden,
        bound={f"{WORK}/{name}": path for name, path in job.bound.items()},
        devices=(job.gpu.binds, job.gpu.driver_folders) if job.gpu else ((), ()),
    )


def order_of(job: CommandJob, limits: CommandLimits, stack: ExitStack) -> tuple[dict[str, Any], list[int]]:
    """What `trainer.inside.supervise` is to do, and the descriptors that it reads, open until the end of ``stack``."""
    given = sorted((name, file) for name, file in job.files.items() if not login_keys.is_key(name, file[0]))
    content = memory_file(b"".join(data for _, (data, _) in given))
    stack.callback(os.close, content)
    compiled = job.compiled or {}
    order = {
        "command": list(job.command),
        "environment": _environment(job),
        "folder": WORK,
        "limits": limits.inside(),
        "files": [(name, len(data), 0o755 if run else 0o644) for name, (data, run) in given],
        "given": content,
        "links": list(job.links.items()),
        "kept": list(job.kept),
        "wanted": list(job.wanted),
        "wanted_bytes": limits.result_mb << 20,
        "compiled": (COMPILED, compiled.get("compiled"), compiled.get("compiled_out"), job.compiled_mb << 20),
    }
    return order, [content, *compiled.values()]


def _environment(job: CommandJob) -> dict[str, str]:
    """The command's environment, without Metaloop's own variables, keys, or paths that are not shown."""
    shown = [path for text in job.readable if not text.startswith("~/") for path in (readable_path(text),)]
    tools = [str(path / "bin") for path in shown if (path / "bin").is_dir()]
    own = environment(tools) | {"PYTHONUNBUFFERED": "1", "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    if gpu := job.gpu:
        own |= {**gpu.environment, "LD_LIBRARY_PATH": ":".join(gpu.driver_folders)}
    own |= compile_cache.environment(COMPILED) if job.compiled is not None else {}
    return {**own, **job.environment, "HOME": HOME}


def readable_path(text: str, hidden: Sequence[Path] = ()) -> Path:
    """A path that a task may show to its command. TaskError for home folders, keys, Metaloop's files, missing paths,
    and paths in ``hidden`` folders."""
    path = Path(text).expanduser()
    where = f"[run] {text!r}"
    hint = "metaloop task init --from finds what a repository needs"
    if not path.is_absolute() or ".." in path.parts:
        raise TaskError(f"{where}: is not an absolute path", hint=hint)
    if reason := login_keys.refusal(path):
        raise TaskError(f"{where}: {reason}", hint=hint)
    try:
        return checked(path, hidden, reader="commands")
    except UsageError as error:
        raise TaskError(f"{where}: {error.message}", hint=error.hint) from None

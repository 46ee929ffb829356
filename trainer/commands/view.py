"""What a task shows to its commands beside their files: paths that its [run] section names."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from programs.common.errors import TaskError, UsageError
from trainer.jobs.job import Job

HOME = "/home/work"  # of a command in the sandbox
_FIXED = {"PYTHONUNBUFFERED": "1", "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}


def with_shown_paths(
    job: Job, readable: Sequence[str], links: Mapping[str, str] | None = None, *, sandboxed: bool
) -> Job:
    """A command of a task, with what every command gets: the paths that it may read, whose programs come first on its
    PATH, and fixed settings of Python. A path that starts with ``~/`` is in the sandbox's home; absolute targets of
    ``links`` are readable, too. TaskError for a path that may not be shown."""
    links = links or {}
    job = replace(job, links=links, environment=_FIXED | dict(job.environment))
    if not sandboxed:
        folders = [Path(text).expanduser() / "bin" for text in readable]
        return replace(job, tools=[str(path) for path in folders if path.is_dir()])
    texts = (*readable, *filter(os.path.isabs, links.values()))
    paths = {text: readable_path(text, job.hidden) for text in texts}
    folders = [paths[text] / "bin" for text in readable if not text.startswith("~/")]
    return replace(
        job,
        readable={f"{HOME}/{text[2:]}" if text.startswith("~/") else str(path): path for text, path in paths.items()},
        tools=[str(path) for path in folders if path.is_dir()],
    )


def readable_path(text: str, hidden: Sequence[Path] = ()) -> Path:
    """A path that a task may show to its command. TaskError for home folders, keys, Metaloop's files, missing paths,
    and paths in ``hidden`` folders."""
    from trainer.sandbox import login_keys  # for Linux alone
    from trainer.sandbox.view import checked

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

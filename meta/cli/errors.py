"""How an error reaches the user: one line and a hint, or a JSON object; and the exit code.

The kinds are a closed list, so that a script can switch on them.
"""

from __future__ import annotations

import errno
import json
from dataclasses import dataclass

import click

from programs.errors import MetaloopError

KINDS: dict[str, int] = {
    "usage": 2,
    "not_found": 2,
    "ambiguous": 2,
    "not_comparable": 2,
    "cap_reached": 3,
    "credential": 4,
    "environment": 1,
    "busy": 1,
    "corrupt": 1,
    "internal": 1,
}
DRAINED = 130


@dataclass(frozen=True)
class Problem:
    """An error as the user meets it. ``kind`` is one of :data:`KINDS`; ``exit_code`` is the process's."""

    kind: str
    message: str
    hint: str = ""
    ids: tuple[str, ...] = ()
    exit_code: int = 1

    def lines(self) -> list[str]:
        text = _one_line(self.message)  # a study that drained as it was asked to has not failed
        out = [text if self.exit_code == DRAINED else f"error: {text}"]
        if self.ids:
            out.append("  " + "  ".join(self.ids))
        if self.hint:
            out.append(f"hint: {_one_line(self.hint)}")
        return out

    def to_json(self) -> str:
        body = {"kind": self.kind, "message": self.message, "ids": list(self.ids), "hint": self.hint}
        return json.dumps({"error": body}, ensure_ascii=False)


def classify(error: BaseException) -> Problem:
    """The problem that an exception stands for; what nobody foresaw is ``internal``."""
    if isinstance(error, MetaloopError):
        kind = error.kind if error.kind in KINDS else "internal"
        return Problem(kind, error.message, error.hint, error.ids, error.exit_code)
    if isinstance(error, click.ClickException):
        return _from_click(error)
    if isinstance(error, OSError) and error.errno is not None:
        return _from_os(error)
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    hint = "the same command with --debug shows where; please report it"
    return Problem("internal", f"unexpected {what}", hint, (), KINDS["internal"])


def report(problem: Problem, *, as_json: bool) -> None:
    """Write a problem to stderr; an error is never data."""
    text = problem.to_json() if as_json else "\n".join(problem.lines())
    click.echo(text, err=True)


def wants(flag: str, argv: list[str]) -> bool:
    """Whether ``flag`` (``--json``, ``--debug``) was asked for, also where parsing failed before it."""
    import os

    before = argv[: argv.index("--")] if "--" in argv else argv
    value = os.environ.get("METALOOP_" + flag.strip("-").upper(), "")
    return flag in before or value.lower() in {"1", "true", "yes", "on", "t", "y"}


def _from_click(error: click.ClickException) -> Problem:
    message = error.format_message().strip().rstrip(".")
    hint = getattr(error, "hint", "")
    context = getattr(error, "ctx", None)
    if not hint and context is not None:
        hint = f"{context.command_path} --help"
    message = message[:1].lower() + message[1:]
    for theirs, ours in (("a valid integer", "a whole number"), ("a valid float", "a number")):
        message = message.replace(f"{theirs} range", ours).replace(theirs, ours)
    return Problem("usage", message, hint, (), KINDS["usage"])


def _from_os(error: OSError) -> Problem:
    place = f"{error.filename}: " if error.filename else ""
    message = f"{place}{error.strerror or error}"
    hints = {
        errno.ENOSPC: "free some space, then give the same command again: what was finished is kept",
        errno.EACCES: "give yourself the right to write there, or choose another folder with --study DIR",
        errno.EROFS: "choose a folder that can be written, with --study DIR",
    }
    if isinstance(error, FileNotFoundError):
        return Problem("not_found", message, "check the path", (), KINDS["not_found"])
    hint = hints.get(error.errno or 0, "metaloop doctor")
    return Problem("environment", message, hint, (), KINDS["environment"])


def _one_line(text: str) -> str:
    return " ".join(text.split())

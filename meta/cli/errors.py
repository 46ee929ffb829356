"""How an error reaches the user: one line and a hint, or a JSON object; and the exit code.

The kinds are a closed list, so that a script can switch on them.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass

import click

from meta.cli.output import clean, json_line
from programs.errors import MetaloopError
from programs.text import wrapped

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
EXTRA = ("sqlalchemy", "nh3", "multipart")  # packages of contests and shared projects


@dataclass(frozen=True)
class ErrorReport:
    """An error as it is reported to the user. ``kind`` is one of :data:`KINDS`; ``exit_code`` is the process's."""

    kind: str
    message: str
    hint: str = ""
    ids: tuple[str, ...] = ()
    exit_code: int = 1

    def lines(self) -> list[str]:
        text = _one_line(self.message)  # a study that stopped as requested has not failed
        out = [text if self.exit_code == DRAINED else f"error: {text}"]
        if self.ids:
            out.append("  " + "  ".join(map(_one_line, self.ids)))
        if self.hint and self.exit_code == DRAINED:  # the commands that go on
            out += ["next:", *(f"  {_one_line(command)}" for command in self.hint.splitlines())]
        elif self.hint:
            out.append(f"hint: {_one_line(self.hint)}")
        return out

    def to_json(self) -> str:
        body = {"kind": self.kind, "message": self.message, "ids": list(self.ids), "hint": self.hint}
        return json_line({"error": body})


def classify(error: BaseException) -> ErrorReport:
    """The report of an exception; the kind of an unexpected one is ``internal``."""
    if isinstance(error, MetaloopError):
        kind = error.kind if error.kind in KINDS else "internal"
        return ErrorReport(kind, error.message, error.hint, error.ids, error.exit_code)
    if isinstance(error, click.ClickException):
        return _from_click(error)
    if isinstance(error, OSError) and error.errno is not None:
        return _from_os(error)
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in EXTRA:
        message, hint = "contests and shared projects need further packages", 'pip install "metaloop[contest]"'
        return ErrorReport("environment", message, hint, (), KINDS["environment"])
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    hint = "METALOOP_DEBUG=1 before the same command prints a traceback; please report it"
    return ErrorReport("internal", f"unexpected {what}", hint, (), KINDS["internal"])


def report(problem: ErrorReport, *, as_json: bool) -> None:
    """Write an error to stderr; it is never data. The hint of what was stopped is a command, so it stays one line."""
    if as_json:
        click.echo(problem.to_json(), err=True)
        return
    first, *more = problem.lines()
    kept = problem.exit_code == DRAINED
    click.echo("\n".join([wrapped(first), *(line if kept else wrapped(line) for line in more)]), err=True)


def wants(flag: str, argv: list[str]) -> bool:
    """Whether ``flag`` (``--json``, ``--debug``) is set, also where parsing failed before it."""
    import os

    before = argv[: argv.index("--")] if "--" in argv else argv
    value = os.environ.get("METALOOP_" + flag.strip("-").upper(), "")
    return flag in before or value.lower() in {"1", "true", "yes", "on", "t", "y"}


def _from_click(error: click.ClickException) -> ErrorReport:
    message = error.format_message().strip().rstrip(".")
    hint = getattr(error, "hint", "")
    context = getattr(error, "ctx", None)
    if not hint and context is not None:
        hint = f"{context.command_path} --help"
    message = message[:1].lower() + message[1:]
    for theirs, ours in (("a valid integer", "a whole number"), ("a valid float", "a number")):
        message = message.replace(f"{theirs} range", ours).replace(theirs, ours)
    return ErrorReport("usage", message, hint, (), KINDS["usage"])


def _from_os(error: OSError) -> ErrorReport:
    path = f"{error.filename}: " if error.filename else ""
    message = f"{path}{error.strerror or error}"
    hints = {
        errno.ENOSPC: "free some disk space and run the same command again; finished work is kept",
        errno.EACCES: "make it writable, or choose another folder with --study DIR",
        errno.EROFS: "choose a writable folder with --study DIR",
    }
    if isinstance(error, FileNotFoundError):
        return ErrorReport("not_found", message, "check the path", (), KINDS["not_found"])
    hint = hints.get(error.errno or 0, "metaloop doctor")
    return ErrorReport("environment", message, hint, (), KINDS["environment"])


def _one_line(text: str) -> str:
    return " ".join(clean(text).split())

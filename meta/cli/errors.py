"""How an error reaches the user: one line and a hint, or a JSON object; and the exit code.

The kinds are a closed list, so that a script can switch on them.
"""

from __future__ import annotations

import errno
import os

import click

from meta.cli.output import clean, json_line
from programs.common.distribution import EXTRAS, install_line
from programs.common.errors import EnvironmentProblem, MetaloopError, NotFound, UsageError
from programs.common.text import word_list, wrapped

KINDS = word_list("""
    usage not_found ambiguous not_comparable cap_reached credential environment busy corrupt internal
""")
DRAINED = 130


def classify(error: BaseException) -> MetaloopError:
    """An exception as an error of ours, with a kind of :data:`KINDS`; that of an unexpected one is ``internal``."""
    if isinstance(error, MetaloopError):
        return error
    if isinstance(error, click.ClickException):
        return _from_click(error)
    if isinstance(error, OSError) and error.errno is not None:
        return _from_os(error)
    if isinstance(error, ModuleNotFoundError) and (extra := EXTRAS.get((error.name or "").partition(".")[0])):
        return EnvironmentProblem(f"this command needs the package {error.name}", hint=install_line(extra))
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    hint = "METALOOP_DEBUG=1 before the same command prints a traceback; please report it"
    return MetaloopError(f"unexpected {what}", hint=hint)


def report(problem: MetaloopError, *, as_json: bool) -> None:
    """Write an error to stderr; it is never data. The hint of what was stopped is a command, so it stays one line."""
    if as_json:
        body = {"kind": problem.kind, "message": problem.message, "ids": list(problem.ids), "hint": problem.hint}
        click.echo(json_line({"error": body}), err=True)
        return
    click.echo("\n".join(lines(problem)), err=True)


def lines(problem: MetaloopError) -> list[str]:
    """An error as a person reads it. A study that stopped as requested has not failed; its hint are the commands that
    go on."""
    message = _one_line(problem.message)
    ids = ["  " + "  ".join(map(_one_line, problem.ids))] if problem.ids else []
    if problem.exit_code == DRAINED:
        commands = [f"  {_one_line(command)}" for command in problem.hint.splitlines()]
        return [wrapped(message), *ids, *(["next:", *commands] if commands else [])]
    hint = [f"hint: {_one_line(problem.hint)}"] if problem.hint else []
    return [wrapped(line) for line in (f"error: {message}", *ids, *hint)]


def wants(flag: str, argv: list[str]) -> bool:
    """Whether ``flag`` (``--json``, ``--debug``) is set, also where parsing failed before it."""
    before = argv[: argv.index("--")] if "--" in argv else argv
    value = os.environ.get("METALOOP_" + flag.strip("-").upper(), "")
    return flag in before or value.lower() in {"1", "true", "yes", "on", "t", "y"}


def _from_click(error: click.ClickException) -> MetaloopError:
    message = error.format_message().strip().rstrip(".")
    context = getattr(error, "ctx", None)
    hint = f"{context.command_path} --help" if context else ""
    message = message[:1].lower() + message[1:]
    for theirs, ours in (("a valid integer", "a whole number"), ("a valid float", "a number")):
        message = message.replace(f"{theirs} range", ours).replace(theirs, ours)
    return UsageError(message, hint=hint)


def _from_os(error: OSError) -> MetaloopError:
    path = f"{error.filename}: " if error.filename else ""
    message = f"{path}{error.strerror or error}"
    hints = {
        errno.ENOSPC: "free some disk space and run the same command again; finished work is kept",
        errno.EACCES: "make it writable, or choose another folder with --study DIR",
        errno.EROFS: "choose a writable folder with --study DIR",
    }
    if isinstance(error, FileNotFoundError):
        return NotFound(message, hint="check the path")
    return EnvironmentProblem(message, hint=hints.get(error.errno or 0, "metaloop doctor"))


def _one_line(text: str) -> str:
    return " ".join(clean(text).split())

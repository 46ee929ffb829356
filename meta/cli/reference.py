"""Prints the help of every command as one markdown page: ``python -m meta.cli.reference > cli.md``."""

from __future__ import annotations

from collections.abc import Iterator

import click

from meta.cli.errors import KINDS
from meta.cli.main import root

TITLE = """# Command line

Data goes to stdout, everything else to stderr. At a terminal, tables are aligned and coloured; in a pipe they are
tab-separated with a header line; `--json` prints JSON, lists in an envelope `{"as_of": ..., "items": [...]}`
(`sql` prints a bare list of row objects). An error is one line with a hint; with `--json` it is an object
`{"error": {"kind", "message", "ids", "hint"}}` on stderr. The kinds are
KINDS.
"""


def reference() -> str:
    """The whole page: the printed help of every command."""
    parts = [TITLE.replace("KINDS", ", ".join(KINDS))]
    for path, command in commands():
        title = " ".join(path)
        parts.append(f"## {title}\n\n```\n{help_of(path, command)}\n```\n")
    return "\n".join(parts)


def commands(
    path: tuple[str, ...] = ("metaloop",), command: click.Command = root
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """A command with its path, and those below it, in the order of the table."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            if child := command.get_command(context, name):
                yield from commands((*path, name), child)


def help_of(path: tuple[str, ...], command: click.Command) -> str:
    """What ``--help`` prints, at a width of 80."""
    context = click.Context(command, info_name=" ".join(path), **command.context_settings)
    context.terminal_width = 80
    lines = command.get_help(context).rstrip().split("\n")
    return "\n".join(line.rstrip() for line in lines)


if __name__ == "__main__":
    click.echo(reference(), nl=False)

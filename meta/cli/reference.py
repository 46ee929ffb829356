"""Prints the help of every command as one page, in markdown, or for man(1) with ``man``:

python -m meta.cli.reference > cli.md
python -m meta.cli.reference man > metaloop.1; man ./metaloop.1
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from meta.cli.errors import KINDS
from meta.cli.main import root
from programs.common.distribution import VERSION

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


def man_page() -> str:
    """The same for man(1), in its macros (man(7)): a section for each command."""
    parts = [f'.TH METALOOP 1 "" "metaloop {VERSION}"\n.SH NAME\nmetaloop \\- improve program.md files']
    parts += [
        f".SH {' '.join(path).upper()}\n.nf\n{_verbatim(help_of(path, command))}\n.fi" for path, command in commands()
    ]
    return "\n".join(parts) + "\n"


def _verbatim(text: str) -> str:
    """Lines of plain text as roff: without escapes, hyphens that can be copied, and no line that reads as a macro."""
    plain = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join("\\&" + line if line.startswith((".", "'")) else line for line in plain.split("\n"))


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
    click.echo(man_page() if sys.argv[1:] == ["man"] else reference(), nl=False)

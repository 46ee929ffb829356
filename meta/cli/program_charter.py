"""``metaloop program charter``: the settings in a program's front matter, or the settings that its prose implies."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click

from analysis.wording import many
from inner_loop.events import CallEvent
from meta.cli import charter_shown, resolve
from meta.cli.flags import ModelFlags, ProgramOrNone, YesFlag
from meta.cli.options import Above0, flag, only, verb
from meta.cli.output import Column, Output, Row, brief
from meta.cli.researcher_choice import ResearcherChoice
from programs.errors import UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from programs.charter_read import CharterReading
    from programs.program import Program

CHARTER = (
    Column("field", style="bold"),
    Column("value", show=brief),
    Column("set", "set here"),
    Column("description", wrap=True, style="dim"),
)
#: Any of these on the command line reads the prose. Environment variables do not: a reading may cost money.
READING = ("prose", "model", "output", "write", "record", "replay")


@verb(
    ("metaloop program charter", "every field: default, unit, meaning"),
    ("metaloop program charter screen-waves", "with this program's settings"),
    ("metaloop program charter my/program.md -m gpt-4o-mini", "read from its prose by a model"),
)
def charter(
    out: Output,
    program: ProgramOrNone,
    prose: Annotated[
        bool, flag("Read the prose without a model: only usual wordings, and what export --prose writes.")
    ],
    chosen: Annotated[ModelFlags, only("model")],
    max_usd: Annotated[float | None, flag("Spending limit of this command in dollars.", type=Above0, metavar="USD")],
    more: Annotated[ModelFlags, only("price", "record", "replay")],
    output: Annotated[
        str | None, flag("Write the program with the new charter to this file; - is stdout.", "-o", metavar="FILE|-")
    ],
    write: Annotated[bool, flag("Write the new charter into PROGRAM; asks before it changes a value.")],
    yes: YesFlag,
) -> None:
    """Show a program's settings (its charter). Metaloop enforces them for scripts and
    models; agents get them as sentences.

    With -m, a language model reads the settings from the prose. The output shows each
    setting with its sentence in the program, then sentences that contradict each other, and
    sentences for which there is no setting. -o and --write put the settings into the front
    matter; its other fields stay unchanged. --prose needs no model: it reads the sentences
    that `metaloop export --prose` writes, and usual wordings such as "after three failures
    in a row change the category"."""
    source = click.get_current_context().get_parameter_source
    if not any(source(name) is click.core.ParameterSource.COMMANDLINE for name in READING):
        as_set(out, program)
        return
    if program is None:
        raise UsageError("name the program to read", hint="metaloop program charter FILE -m NAME")
    file, loaded = _file(program, output, write), resolve.one_program(program)
    if write and not yes:
        _require_terminal(program, loaded)
    models = replace(more, model=chosen.model, max_usd=max_usd)
    reading, spent = _read(out, loaded, models, yes)
    _give(out, program, loaded, reading, spent, file=file, stdout=output == "-", yes=yes)


def as_set(out: Output, program: str | None) -> None:
    """Show every field with its value: the default, or the one in a program's front matter."""
    from programs.charter import Charter, fields
    from programs.charter_edit import charter_fields

    loaded = resolve.one_program(program) if program else None
    active = loaded.charter if loaded else Charter()
    given = charter_fields(loaded.text) if loaded else {}
    items = [
        {
            "field": name,
            "value": active.get(name),
            "set": "yes" if name in given else "",
            "description": info.description or "",
        }
        for name, info in fields()
    ]
    if out.mode == "person":
        out.show(described(items))
    else:
        out.rows(items, CHARTER)
    if loaded and not given:
        from programs.charter_read import read_phrases

        phrases = len(read_phrases(loaded.text).findings)
        hint = f"--prose reads {many(phrases, 'sentence')} that do" if phrases else "-m NAME reads its prose"
        out.note(f"the front matter sets no field; {hint}")


def described(items: Sequence[Row]) -> RenderableType:
    """Each field and its value on one line, what it means below."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    lines: list[RenderableType] = []
    for item in items:
        here = ("  set here" if item["set"] else "", "green")
        lines.append(Text.assemble((str(item["field"]), "bold"), f" = {brief(item['value'])}", here))
        lines.append(Padding(Text(str(item["description"]), style="dim"), (0, 0, 0, 4)))
    return Group(*lines)


def _file(program: str, target: str | None, into: bool) -> Path | None:
    """The file to write, checked before anything costs money. None: no file, or stdout."""
    if target and into:
        raise UsageError("--output and --write exclude each other", hint="leave one of them out")
    if into:
        file = Path(program).expanduser()
        if not file.is_file():
            raise UsageError(f"{program} is not a file", hint="name the entry file, or -o FILE writes a new one")
        return file
    if not target or target == "-":
        return None
    file = Path(target).expanduser()
    if file.exists():
        raise UsageError(f"{file} already exists", hint="name a new file; --write changes PROGRAM itself")
    return file


def _read(out: Output, loaded: Program, models: ModelFlags, yes: bool) -> tuple[CharterReading, list[CallEvent]]:
    """The reading, and the events of its model calls."""
    from programs.charter_read import read_phrases

    base = read_phrases(loaded.text)
    if not models.model:
        if models.record or models.replay:
            raise UsageError("--record and --replay need a model", hint="name it: -m NAME")
        out.note(
            "without a model, only usual wordings and what `metaloop export --prose` writes are read; -m reads all"
        )
        return base, []
    return _ask(out, ResearcherChoice.of(models, yes=yes), base)


def _ask(out: Output, models: ResearcherChoice, base: CharterReading) -> tuple[CharterReading, list[CallEvent]]:
    from inner_loop.models.contract import NoReply
    from meta import charter_reader
    from meta.cli.one_model import model_for

    calls: list[CallEvent] = []
    tokens = charter_reader.expected(charter_reader.prompt(base))
    model = model_for(out, models, tokens, charter_reader.most_calls(), calls.append)
    try:
        return charter_reader.ask(model, base, max_tokens=models.settled.reply_tokens), calls
    except NoReply as gone:
        raise gone.problem from None


def _give(
    out: Output,
    name: str,
    loaded: Program,
    reading: CharterReading,
    spent: Sequence[CallEvent],
    *,
    file: Path | None,
    stdout: bool,
    yes: bool,
) -> None:
    """Show the reading, and write the program where --output or --write is set."""
    from programs.charter_read import written

    text = written(loaded.text, reading)
    rows = charter_shown.rows_of(reading, loaded.text)
    if stdout and out.mode != "json":
        out.text(text)
    else:
        bill = charter_shown.bill_of(spent)
        charter_shown.show(out, rows, {"program": name, **bill, "text": text})
    charter_shown.summarize(out, rows, spent, loaded.text, text)
    if file is None:
        if text != loaded.text and not stdout:
            out.note("nothing written; -o FILE writes the program with this charter, --write changes PROGRAM itself")
        return
    _may_replace(file, rows, yes)
    if file.exists() and file.read_bytes() != loaded.raw:
        raise UsageError(f"{file} was changed meanwhile", hint="-o FILE writes a new file")
    file.write_bytes(text.encode())
    out.note(f"wrote {file}" if text != loaded.text else f"wrote {file}, unchanged")
    if loaded.is_set:
        out.note("this is the entry file; the charter is in it, and the other files of the program stay as they are")


def _require_terminal(name: str, loaded: Program) -> None:
    """Raise UsageError, before a call costs money, where values may be replaced and there is no terminal to confirm."""
    from programs.charter_edit import charter_fields

    given = charter_fields(loaded.text)
    if given and not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            f"{name}: --write may replace {', '.join(given)}, and there is no terminal to confirm it",
            hint="--yes replaces them; -o FILE writes a new file",
        )


def _may_replace(file: Path, rows: Sequence[Row], yes: bool) -> None:
    """Ask before values in the front matter of an existing file are replaced by those of the prose."""
    changed = [str(row["field"]) for row in rows if row["status"] == "changed"]
    if changed and not yes and file.exists():
        click.confirm(f"{file}: replace {', '.join(changed)} with the values of the prose?", abort=True, err=True)

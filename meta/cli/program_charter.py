"""``metaloop program charter``: what a program's front matter sets, or what its prose says, sentence by sentence."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import click

from inner_loop.events import CallEvent
from meta.cli import charter_shown, resolve
from meta.cli.flags import ModelFlags, ProgramOrNone, YesFlag
from meta.cli.options import Above0, flag, only, verb
from meta.cli.output import Column, Output, Row, brief
from meta.cli.researcher_choice import ResearcherChoice
from programs.errors import UsageError

if TYPE_CHECKING:
    from programs.charter_read import CharterReading
    from programs.program import Program

CHARTER = (
    Column("field", style="bold"),
    Column("value", show=brief),
    Column("set", "set here"),
    Column("description", wrap=True, style="dim"),
)
#: Typed, any of these asks for a reading of the prose. A variable of the environment does not: it may cost money.
READING = ("prose", "model", "output", "write", "record", "replay")


@verb(
    ("metaloop program charter", "every field: default, unit, what it does"),
    ("metaloop program charter screen-waves", "as this program's front matter sets it"),
    ("metaloop program charter my/program.md -m gpt-4o-mini", "what its prose says, with the lines"),
)
def charter(
    out: Output,
    program: ProgramOrNone,
    prose: Annotated[bool, flag("Without a model: the sentences that export --prose writes.")],
    chosen: Annotated[ModelFlags, only("model")],
    max_usd: Annotated[float | None, flag("Most dollars of this command.", type=Above0)],
    more: Annotated[ModelFlags, only("price", "record", "replay")],
    output: Annotated[
        str | None, flag("The program with that charter, as a new file; - is stdout.", "-o", metavar="FILE|-")
    ],
    write: Annotated[bool, flag("The same, into PROGRAM itself; asks before it changes a value.")],
    yes: YesFlag,
) -> None:
    """The charter, field by field: what the harness itself carries out.

    With -m a model reads it out of the prose: each field with the sentence that
    says so, whose words are checked against the program; then what contradicts
    itself, and what no field can carry. -o and --write put it into the front
    matter; fields of which the prose says nothing stay there as they are. Without
    -m, --prose reads the sentences that `metaloop export --prose` writes, and no
    others."""
    source = click.get_current_context().get_parameter_source
    if not any(source(name) is click.core.ParameterSource.COMMANDLINE for name in READING):
        as_set(out, program)
        return
    if program is None:
        raise UsageError("no program is named whose prose is to be read", hint="metaloop program charter FILE -m NAME")
    file, loaded = _file(program, output, write), resolve.one_program(program)
    if write and not yes:
        _somebody_there(program, loaded)
    models = replace(more, model=chosen.model, max_usd=max_usd)
    reading, spent = _read(out, loaded, models, yes)
    _give(out, program, loaded, reading, spent, file=file, stdout=output == "-", yes=yes)


def as_set(out: Output, program: str | None) -> None:
    """Every field with its value: the defaults, or as a program's front matter sets it."""
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
    out.rows(items, CHARTER)
    if loaded and not given:
        from programs.charter_read import read_phrases

        phrases = len(read_phrases(loaded.text).findings)
        told = f"{phrases} sentences of its prose do: --prose reads them" if phrases else "-m NAME reads its prose"
        out.note(f"its front matter sets none of them; {told}")


def _file(program: str, target: str | None, into: bool) -> Path | None:
    """Where to write, checked before anything costs money. None: nowhere, or to stdout."""
    if target and into:
        raise UsageError("--output and --write exclude each other", hint="leave one of them out")
    if into:
        file = Path(program).expanduser()
        if not file.is_file():
            raise UsageError(f"{program} is no file of yours", hint="-o FILE writes a new one")
        return file
    if not target or target == "-":
        return None
    file = Path(target).expanduser()
    if file.exists():
        raise UsageError(f"{file}: exists already", hint="name a new file; --write changes PROGRAM itself")
    return file


def _read(out: Output, loaded: Program, models: ModelFlags, yes: bool) -> tuple[CharterReading, list[CallEvent]]:
    """The reading, and the events of the calls that it took."""
    from programs.charter_read import read_phrases

    base = read_phrases(loaded.text)
    if not models.model:
        if models.record or models.replay:
            raise UsageError("--record and --replay are of a model's replies", hint="name it: -m NAME")
        out.note("no model: only sentences that `metaloop export --prose` writes are read; -m NAME reads all")
        return base, []
    return _ask(out, ResearcherChoice.of(models, yes=yes), base)


def _ask(out: Output, choice: ResearcherChoice, base: CharterReading) -> tuple[CharterReading, list[CallEvent]]:
    from inner_loop.models.client import ModelClient
    from inner_loop.models.contract import NoReply
    from inner_loop.run_context import RunContext
    from meta import charter_reader

    record, replay = (os.environ.get(name) for name in ("METALOOP_RECORD", "METALOOP_REPLAY"))
    asked = charter_reader.prompt(base)
    if not replay:
        from inner_loop.models.prices import price_of, require_ready

        require_ready(choice.config)
        tokens, said = charter_reader.expected(asked)
        price = price_of(choice.config.models[0], choice.config)
        cost = f"about ${price.of(tokens, said):.4f}" if price else "not priced"
        times = charter_reader.most_calls()
        out.note(f"{choice.config.models[0]}: a call of about {tokens + said:,} tokens, {cost}; at most {times} calls")
    choice.ready(None)
    calls: list[CallEvent] = []
    context = RunContext(
        config=choice.config,
        emit=lambda event: calls.append(cast(CallEvent, event)),
        record=Path(record) if record else None,
        replay=Path(replay) if replay else None,
    )
    try:
        return charter_reader.ask(ModelClient(context, 0), base, max_tokens=choice.config.reply_tokens), calls
    except NoReply as gone:
        raise gone.problem from None


def _give(
    out: Output, name: str, loaded: Program, reading: CharterReading, spent: Sequence[CallEvent], *,
    file: Path | None, stdout: bool, yes: bool,
) -> None:  # fmt: skip
    """Show what was read, and write the program where that was asked for."""
    from programs.charter_read import written

    text = written(loaded.text, reading)
    rows = charter_shown.rows_of(reading, loaded.text)
    if stdout and out.mode != "json":
        out.text(text)
    else:
        bill = charter_shown.bill_of(spent)
        charter_shown.show(out, rows, {"program": name, **bill, "text": text})
    charter_shown.tell(out, rows, spent, loaded.text, text)
    if file is None:
        if text != loaded.text and not stdout:
            out.note("nothing is written; -o FILE writes the program with this charter, --write changes it")
        return
    _may_replace(file, rows, yes)
    if file.exists() and file.read_bytes() != loaded.raw:
        raise UsageError(f"{file}: somebody wrote to it meanwhile", hint="-o FILE writes a new file")
    file.write_bytes(text.encode())
    out.note(f"wrote {file}" if text != loaded.text else f"wrote {file}: nothing in it changed")


def _somebody_there(name: str, loaded: Program) -> None:
    """Raise UsageError, before a call is paid for, where values that are set might give way and nobody can be asked."""
    from programs.charter_edit import charter_fields

    given = charter_fields(loaded.text)
    if given and not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            f"{name}: its front matter sets {', '.join(given)}, and nobody is there to be asked about them",
            hint="--yes takes what the prose says; -o FILE writes a new file",
        )


def _may_replace(file: Path, rows: Sequence[Row], yes: bool) -> None:
    """Ask before a value that somebody set gives way to that of the prose. A new file holds nobody's."""
    changed = [row["field"] for row in rows if row["status"] == "changed"]
    if changed and not yes and file.exists():
        click.confirm(f"{file}: replace {', '.join(changed)} by what the prose says?", abort=True, err=True)

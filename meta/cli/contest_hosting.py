"""What a host does beside serving, on the folder: ``metaloop contest void``, ``unvoid``, ``disputes``, ``answer``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import click

from meta.cli import resolve
from meta.cli.flags import ContestFolder
from meta.cli.options import argument, flag, verb
from meta.cli.output import Column, Output

EntryName = Annotated[str, argument(metavar="ENTRY")]
DISPUTES = (Column("dispute_id", "no.", right=True), Column("state"), Column("number", "entry", right=True),
            Column("entrant"), Column("by"), Column("reason", wrap=True), Column("answer", wrap=True),
            Column("raised_at", "raised", optional=True), Column("entry_id", person=False))  # fmt: skip


def opened(folder: str, out: Output) -> Any:
    from arena.contest.contest import Contest

    return Contest.open(resolve.contest_folder(folder, out))


def acted(out: Output, contest: Any, act: Any) -> None:
    """Tell what was done, and the ledger where nobody else will."""
    from arena.contest import acts
    from arena.contest.views import plain

    acts.write_down(contest)
    out.thing(plain(acts.row(act)))


@verb(
    ("metaloop contest void my-contest 7 --because 'sent twice'", "number 7 on the board"),
    ("metaloop contest unvoid my-contest 7", "takes it back"),
)
def void(
    out: Output,
    folder: ContestFolder,
    entry: EntryName,
    because: Annotated[str, flag("Why; everybody reads it, and it stays.", metavar="TEXT", required=True)],
) -> None:
    """Declare an entry void: no queue, no rank, no part in the decision, no cost to its
    entrant. A run in hand ends by itself. ENTRY is a number on the board, or an
    entry_id. Works beside `serve` and without it."""
    from arena.contest import acts

    contest = opened(folder, out)
    acted(out, contest, acts.void(contest, entry, because))
    place = resolve.typed(Path(folder))
    out.note(f"everybody reads why; metaloop contest unvoid {place} {entry} takes it back")
    if contest.phase() == "decided":
        out.note("the decision stays as it was announced; this is told beside it, and nobody moves up")


@verb(
    ("metaloop contest unvoid my-contest 7", "it goes on where it was"),
    ("metaloop contest unvoid my-contest 7 --because 'it was not'", "with a reason"),
)
def unvoid(
    out: Output,
    folder: ContestFolder,
    entry: EntryName,
    because: Annotated[str, flag("Why; everybody reads it.", metavar="TEXT", default="")],
) -> None:
    """Put a void entry back where the ledger says that it is. One that this host had
    given up by itself begins anew."""
    from arena.contest import acts

    contest = opened(folder, out)
    acted(out, contest, acts.unvoid(contest, entry, because))


@verb(
    ("metaloop contest disputes my-contest", "open ones first"),
    ("metaloop contest disputes my-contest --open", "those that wait for an answer"),
)
def disputes(
    out: Output, folder: ContestFolder, only_open: Annotated[bool, flag("Only those without an answer.", "--open")]
) -> None:
    """List the disputes of a contest with the host's answers."""
    from arena.contest.disputes import disputes as found
    from arena.contest.views import plain

    out.rows(plain(found(opened(folder, out), only_open)), DISPUTES, empty="no disputes")


@verb(
    ("metaloop contest answer my-contest 3 'Seen, and void.'", "the answer to dispute 3"),
    ("metaloop contest answer my-contest 3 'Looked at again.'", "anew: the earlier answer is replaced"),
)
def answer(
    out: Output,
    folder: ContestFolder,
    dispute: Annotated[int, argument(type=click.IntRange(min=1))],
    text: Annotated[str, argument()],
) -> None:
    """Answer a dispute; everybody reads it on the entry's page."""
    from arena.contest.disputes import answer as say
    from arena.contest.views import plain

    out.thing(plain(say(opened(folder, out), dispute, text).row()))

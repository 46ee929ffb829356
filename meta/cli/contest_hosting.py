"""The host's commands on a contest's folder: ``contest void``, ``unvoid``, ``forget``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from meta.cli import resolve
from meta.cli.flags import ContestFolder, YesFlag
from meta.cli.options import argument, flag, verb
from meta.cli.output import Output, ask

EntryName = Annotated[str, argument(metavar="ENTRY")]


def opened(folder: str, out: Output) -> Any:
    from arena.contest.contest import Contest

    return Contest.open(resolve.contest_folder(folder, out))


def acted(out: Output, contest: Any, act: Any) -> None:
    """Print the action and what it changes, and write it to the ledger unless a running host does."""
    from arena.contest import acts
    from arena.contest.views import plain

    acts.write_down(contest)
    out.thing(plain(acts.row(act)))
    racing = act.number in (contest.state().get("leaders") or [])
    out.note(acts.consequence(act.what, contest.phase(), racing))


@verb(
    ("metaloop contest void my-contest 'Cy 1' --because 'sent twice'", "the name on the leaderboard"),
    ("metaloop contest unvoid my-contest 'Cy 1'", "undoes it"),
)
def void(
    out: Output,
    folder: ContestFolder,
    entry: EntryName,
    because: Annotated[str, flag("Public reason; it stays on record.", metavar="TEXT", required=True)],
) -> None:
    """Declare an entry void. It leaves the queue, the ranking and the decision, and does
    not count against its entrant's quota. A run that has started is finished. A decision
    that was announced stays. ENTRY is a name as on the leaderboard, or a number or address
    from an entry's page. Works with or without `serve`."""
    from arena.contest import acts

    contest = opened(folder, out)
    acted(out, contest, act := acts.void(contest, entry, because))
    undo = f"metaloop contest unvoid {resolve.typed(Path(folder))} {act.number}"
    out.note(f"the reason is public; to undo: {undo}")


@verb(
    ("metaloop contest unvoid my-contest 'Cy 1'", "the entry resumes"),
    ("metaloop contest unvoid my-contest 'Cy 1' --because 'the mistake was ours'", "with a reason"),
)
def unvoid(
    out: Output,
    folder: ContestFolder,
    entry: EntryName,
    because: Annotated[str, flag("Public reason.", metavar="TEXT", default="")],
) -> None:
    """Undo `void`: the entry continues where it was. An entry that the server had given up
    after repeated errors starts again from the beginning."""
    from arena.contest import acts

    contest = opened(folder, out)
    acted(out, contest, acts.unvoid(contest, entry, because))


@verb(
    ("metaloop contest forget my-contest 'Ada'", "asks for confirmation first"),
    ("metaloop contest forget my-contest 'Ada' -y", "without asking"),
)
def forget(out: Output, folder: ContestFolder, name: Annotated[str, argument(metavar="NAME")], yes: YesFlag) -> None:
    """Remove an entrant's account: name, token and sessions. Their entries and results stay,
    under `former entrant N`: they still run, race and can win. Pages and commands show the
    new name everywhere. An announcement that was already made shows it with a note. The
    ledger's records keep the old name, because each record contains the hash of the one
    before. Works with or without `serve`; the page /host can do the same."""
    from arena.contest import removal

    contest = opened(folder, out)
    removal.check(contest, name)
    if not yes:
        out.note(
            f"The entries and results of {name} stay, under another name, and still run, race and can win "
            "(metaloop contest void takes an entry out). The ledger's records keep the name."
        )
        refused = "there is no terminal to ask whether to remove the account"
        ask(f"Remove the account of {name} for good?", refused, "-y removes it")
    now, removed = removal.ask(contest, name)
    decided = contest.phase() == "decided"
    out.thing(
        {
            "name": now,
            "removed": removed,
            "stay": "entries and results, under the new name" + ("" if decided else "; they still race and can win"),
            "kept": "the name in the ledger's records" + (", that of the announcement included" if decided else ""),
        },
        shown={"removed": "yes" if removed else "queued"},
    )
    if not removed:
        out.note("removal queued: serve or close does it within seconds, or when the experiment in progress ends")

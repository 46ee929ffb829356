"""``metaloop contest close``: finish the queue, run the leaders again, announce the winner."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from typing import TYPE_CHECKING, Annotated, cast

from analysis.wording import duration, many
from meta.cli import render, resolve
from meta.cli.contest_entrant import decided_rows, named
from meta.cli.flags import ContestFolder, WebhookFlag, YesFlag
from meta.cli.options import flag, verb
from meta.cli.output import Output, ask, clean
from programs.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from rich.status import Status

    from arena.contest.contest import Contest

LOOK_SECONDS = 0.5
MOST_OTHERS = 20  # entries outside the race, in lines of their own
LINE_SECONDS = 60.0  # between two lines of progress in a log, at least


@verb(
    ("metaloop contest close my-contest", "after the closing time in the rules"),
    ("metaloop contest close my-contest --early 'rain'", "before it; asks for confirmation first"),
)
def close(
    out: Output,
    folder: ContestFolder,
    early: Annotated[str | None, flag("Close before the time in the rules, with a public reason.", metavar="WHY")],
    webhook: WebhookFlag,
    yes: YesFlag,
) -> None:
    """Close a contest for good and announce the winner. Accepted entries get their
    remaining runs, and the leaders run once more on fresh seeds and data. Then the
    decision and the secret that the hidden data came from are published. Works with or
    without a running `serve`; if it is interrupted, the same command resumes."""
    from arena.contest.contest import Contest

    path = resolve.contest_folder(folder, out)
    contest = Contest.open(path)
    if contest.phase() != "decided":
        request_close(contest, early, resolve.typed(path), yes)
        follow(out, contest)
    present(out, contest)
    if webhook:
        from meta.notify import send

        said = {key: value for key, value in contest.announcement().items() if key != "secret"}
        out.note(send(webhook, {"command": "contest close", "contest": str(path), **said}))


def request_close(contest: Contest, early: str | None, name: str, yes: bool) -> None:
    """Record the request; the process that works on the contest carries it out. Raises UsageError if it is early, or
    ``early`` and not confirmed."""
    from arena.contest.settings import shown

    if contest.phase() in ("upcoming", "open"):
        if not early:
            when = shown(contest.config.closes)
            raise UsageError(
                f"by its rules the contest closes at {when}", hint=f"metaloop contest close {name} --early WHY"
            )
        if not yes:
            ask(
                f"Close {contest.config.title} before its time? No more entries are accepted; this cannot be undone. "
                f"What remains: {where(contest)}.",
                "there is no terminal to ask whether to close before the time in the rules",
                "-y closes it",
            )
    if not contest.state().get("close_asked"):
        contest.ask_close(early or "")


def follow(out: Output, contest: Contest) -> None:
    """Do the work in this process, unless another one already does: then wait for it."""
    from arena.contest.work import carry_on
    from programs.errors import Busy

    try:
        with CloseProgress(out, contest) as progress:
            while contest.phase() != "decided":
                try:
                    carry_on(contest, progress.note, count=lambda _: None)  # the display reads from the database itself
                except Busy:
                    time.sleep(LOOK_SECONDS)
                    continue
                if (contest.folder / "stop").exists():
                    raise KeyboardInterrupt
    except KeyboardInterrupt:
        out.note(left_over(contest))
        raise


def left_over(contest: Contest) -> str:
    """What becomes of a close that this process leaves: another one may be at work on it."""
    from arena.contest.work import is_waited_for
    from arena.study import Study

    again = f"metaloop contest close {resolve.typed(contest.folder)}"
    if Study.open(contest.folder).is_running() or is_waited_for(contest.folder):
        return f"serve goes on with the close; to follow it again: {again}"
    return f"the close is not finished, and nothing works on it now; to resume: {again} (or serve)"


class CloseProgress:
    """Shows how far the close is, whichever process works on it: one line that changes at a terminal; in a log a line
    at each look of the race, else at most one a minute."""

    def __init__(self, out: Output, contest: Contest) -> None:
        self.out, self.contest = out, contest
        self.looks, self.said, self.spoke = 0, "", float("-inf")
        self.status: Status | None = None
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> CloseProgress:
        if sys.stderr.isatty() and not self.out.quiet:
            from rich.console import Console

            self.status = Console(stderr=True, highlight=False).status("closing")
            self.status.start()
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()
        self.show()
        if self.status is not None:
            self.status.stop()

    def note(self, text: str) -> None:
        """A line that stays."""
        if self.status is not None:
            self.status.console.print(clean(text), markup=False)
        else:
            self.out.note(text)

    def show(self) -> None:
        """Bring the line at a terminal up to date, or write what a log lacks."""
        looks = cast("list[str]", self.contest.database.fact("deciding").get("looks", []))
        now, new, self.looks = where(self.contest), looks[self.looks :], len(looks)
        if self.status is not None:
            from rich.markup import escape

            for line in new:
                self.note(line)
            self.status.update(escape(render.fit(clean(now), self.status.console.width - 4)))
            return
        due = now not in ("", self.said) and time.monotonic() - self.spoke > LINE_SECONDS
        for line in (*new, *([now] if now and (new or due) else ())):
            self.out.note(line)
            self.said, self.spoke = now, time.monotonic()

    def _watch(self) -> None:
        from sqlalchemy.exc import SQLAlchemyError

        while not self.ended.wait(LOOK_SECONDS):
            with contextlib.suppress(OSError, SQLAlchemyError):  # the process that works on it reports a full disk
                self.show()


def where(contest: Contest) -> str:
    """How far the close is, with an estimate of the time left, in at most 76 characters; empty once it is done."""
    from arena.contest.acts import contenders
    from arena.contest.pace import deciding, most_seconds, progress_line, run_seconds
    from arena.contest.standing import queue_positions
    from arena.contest.views import host_rows

    if contest.phase() in ("deciding", "decided"):
        return progress_line(deciding(contest))
    order = queue_positions(contest, run_seconds(contest)[0])
    if not order:
        return (
            f"the leaders run again, at most {duration(most_seconds(contest, len(contenders(contest))))} at this pace"
        )
    entries = sum(row["state"] not in ("void", "failed") for row in host_rows(contest))
    most = duration(most_seconds(contest, entries))
    left = max(eta for _, eta in order.values())
    return f"{many(len(order), 'entry')} unfinished, about {duration(left)}; then the leaders, at most {most}"


def present(out: Output, contest: Contest) -> None:
    """The announcement, and the entries that the host has declared void since."""
    from arena.contest.acts import since
    from arena.contest.announced import sentences

    announcement = contest.announcement()
    if out.mode == "json":
        out.json(announcement)
        return
    early = contest.state().get("early")
    if early:
        out.note(f"closed early by the host: {early}")
    out.note(announcement["headline"])
    for who in announcement.get("left_out", ()):
        out.note(f"decided without {named(who)}: {who['why']}")
    for act in since(contest, announcement):
        out.note(f"since then the host has declared {named(act)} void: {act['because']}")
    if announcement["outcome"] != "empty":
        for line in sentences(announcement):
            out.note(line)
        decided_rows(out, announcement)
    others = announcement.get("not_racing", ())
    for who in others[:MOST_OTHERS]:
        out.note(f"{named(who)}: {who['why']}")
    if (left := len(others) - MOST_OTHERS) > 0:
        out.note(f"and {many(left, 'more entry')}, on the board and in --json")
    out.note(f"secret {announcement['secret']}, SHA-256 {announcement['secret_hash']}")
    where_to_see(out, contest)
    out.next(*publishing(contest.folder))


def where_to_see(out: Output, contest: Contest) -> None:
    """The addresses of what there is to share on the pages."""
    folder, winners = resolve.typed(contest.folder), contest.announcement()["winners"]
    url = str(contest.database.fact("address").get("url", "")).rstrip("/")
    shown = f"last served at {url}" if url else "not served so far"
    out.note(f"to share, on the pages (metaloop contest serve {folder} shows them; {shown}):")
    out.note(f"  {url}/ has the decision and the board")
    for who in winners[:MOST_OTHERS]:
        out.note(f"  {url}/entry/{who['entry_id']} is the page of {named(who)}")
    if winners:
        out.note(f"  {url}/card.svg is the result as a picture")


def publishing(folder: Path) -> list[str]:
    """The commands with which a host publishes a decided contest."""
    to = resolve.typed(folder.with_name(f"{folder.name}-export"))
    return [
        f"metaloop contest export {resolve.typed(folder)} --to {to}  # programs, results and ledger, to publish",
        f"metaloop verify {to}  # what every reader of the export can check: all seeds follow from the secret",
    ]

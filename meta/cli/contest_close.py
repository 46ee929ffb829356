"""``metaloop contest close``: finish the queue, run the leaders again, announce the winner."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, cast

from analysis.wording import many
from meta.cli import resolve
from meta.cli.contest_entrant import decided_rows, named
from meta.cli.flags import ContestFolder, WebhookFlag
from meta.cli.options import flag, verb
from meta.cli.output import Output
from programs.errors import UsageError

if TYPE_CHECKING:
    from arena.contest.contest import Contest

LOOK_SECONDS = 0.5
EVERY = 5  # confirming runs for each line of progress


@verb(
    ("metaloop contest close my-contest", "after the closing time in the rules"),
    ("metaloop contest close my-contest --early 'rain'", "before it, with a public reason"),
)
def close(
    out: Output,
    folder: ContestFolder,
    early: Annotated[str | None, flag("Close before the time in the rules, with a public reason.", metavar="WHY")],
    webhook: WebhookFlag,
) -> None:
    """Close a contest for good and announce the winner. Accepted entries get their
    remaining runs, the leaders run once more on fresh seeds and data, and the decision
    and the secret are published. Works with or without a running `serve`; if it is
    interrupted, the same command resumes."""
    from arena.contest.contest import Contest

    path = resolve.contest_folder(folder, out)
    contest = Contest.open(path)
    if contest.phase() != "decided":
        request_close(contest, early, resolve.typed(path))
        follow(out, contest)
    present(out, contest)
    if webhook:
        from meta.notify import send

        said = {key: value for key, value in contest.announcement().items() if key != "secret"}
        out.note(send(webhook, {"command": "contest close", "contest": str(path), **said}))


def request_close(contest: Contest, early: str | None, name: str) -> None:
    """Record the request; the process that works on the contest carries it out. Raises UsageError if it is early."""
    from arena.contest.settings import shown, utc_now

    if contest.phase() in ("upcoming", "open"):
        if not early:
            when = shown(contest.config.closes)
            raise UsageError(
                f"by its rules the contest closes at {when}", hint=f"metaloop contest close {name} --early WHY"
            )
        contest.state(early=early)
    if not contest.state().get("close_asked"):
        contest.state(close_asked=utc_now().isoformat())


def follow(out: Output, contest: Contest) -> None:
    """Do the work in this process, unless another one already does: then wait for it."""
    from arena.contest.work import carry_on
    from programs.errors import Busy

    said, looks, waited = None, 0, False
    while contest.phase() != "decided":
        try:
            carry_on(contest, out.note)
        except Busy:
            looks = note_looks(out, contest, looks)
            waited = True
            if (now := where(contest)) is not None and now != said:
                out.note(now)
                said = now
            time.sleep(LOOK_SECONDS)
            continue
        if (contest.folder / "stop").exists():
            raise KeyboardInterrupt
    if waited:
        note_looks(out, contest, looks)


def note_looks(out: Output, contest: Contest, said: int) -> int:
    """Who left the race at each look after the first ``said`` ones; returns how many looks there were."""
    looks = cast("list[str]", contest.database.fact("deciding").get("looks", []))
    for line in looks[said:]:
        out.note(line)
    return len(looks)


def where(contest: Contest) -> str | None:
    """The progress in one line; None between two lines, of which there is one for each ``EVERY`` confirming runs."""
    from arena.contest.health import left
    from arena.contest.pace import deciding

    progress = deciding(contest)
    if not progress:
        waiting = left(contest)
        return f"waiting for the queue: {many(waiting, 'entry')} with unfinished runs" if waiting else None
    if progress["done"] % EVERY and progress["done"] < progress["wanted"]:
        return None
    return f"{progress['done']} of at most {progress['wanted']} confirming runs"


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
    out.note(f"secret {announcement['secret']}, SHA-256 {announcement['secret_hash']}")

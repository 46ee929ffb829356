"""`metaloop contest serve`: the pages in this process, the queue in another one beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import func, select

from arena.contest.contest import Contest
from arena.contest.create import refuse_public
from arena.contest.settings import REPORT
from arena.contest.tables import ContestEntry
from arena.serving.clock import utc_now
from arena.serving.process import Keeper, address, terminated, trusted

Say = Callable[[str], None]
CLOCK_SECONDS = 60.0  # tolerance before a slow clock is reported


def warning(host: str, proxies: str | None) -> str:
    """That secrets can be read on the way; empty on this machine alone and behind a proxy."""
    if proxies or host == "localhost" or host.startswith("127.") or host == "::1":
        return ""
    return (
        "over http, tokens can be read on the way: outside a network that you trust, put a proxy with TLS in front "
        '("Behind a proxy with TLS" in docs/contest.md)'
    )


def serve(
    folder: Path,
    host: str,
    port: int,
    say: Say,
    started: Callable[[str], None],
    proxies: str | None = None,
    joins: int | None = None,
) -> None:
    """Serve until Ctrl-C or SIGTERM. ``started`` is called with the URL. A kill loses no accepted entry. ``joins``: a
    minute from one address."""
    from arena.contest.web.app import create_app
    from arena.contest.web.host import RateLimits
    from arena.serving.limits import Rate
    from arena.serving.wire import Server, configured, listen

    contest = Contest.open(folder)
    refuse_public(contest.task)
    listening = listen(host, port)
    limits = RateLimits(join=Rate(joins, 60.0)) if joins else RateLimits()
    config = configured(create_app(contest, limits), trusted(proxies))
    for problem in clock_problems(contest):
        say(problem)

    def over() -> bool:
        return contest.phase() == "decided" and (contest.folder / REPORT).is_file()

    supervisor = Keeper(contest.folder, contest.database, "arena.contest.running.work", say, over)
    with terminated(say), supervisor:
        url = address(host, listening.getsockname()[1])
        contest.database.set_fact("address", url=url)  # for the host, once the contest is decided
        started(url)
        Server(config).run(sockets=[listening])


def clock_problems(contest: Contest) -> list[str]:
    """A message if the clock is behind the stored times, which opening and closing depend on."""
    with contest.database.read() as connection:
        last = connection.scalar(select(func.max(ContestEntry.changed_at)))
    ahead = (last - utc_now()).total_seconds() if last else 0.0
    if ahead < CLOCK_SECONDS:
        return []
    return [
        f"this machine's clock is {ahead:.0f} s behind the contest's latest record; opening and closing depend on it"
    ]

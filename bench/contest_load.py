"""Readers and entrants of a contest by the hundred; with --kills its host is killed while they are there.

python -m bench.contest_load [--entries 300] [--readers 200] [--rate 20] [--seconds 60] [--kills 0]

First so many entries are carried out on a simulated task. Then `metaloop contest serve` hosts the contest, beside it
the queue's process, which carries out what arrives. Readers ask for the pages of MIX, each after a time drawn from an
exponential distribution; entrants hand in --rate programs a second. A latency runs from sending to the last byte, at
the client, on the same processors.

With --kills the host (pages, queue and runs die with it) is killed with SIGKILL so many times, .5 to 6 seconds after
its readers began, and started again. At the end everything that arrived is carried out and held against the ledger:
what was answered with 201 is there once, has its runs once, and no experiment and no verification was made twice.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import httpx

from analysis.study import query
from arena.contest.contest import Contest
from arena.contest.create import ContestOptions, create_contest
from arena.contest.entering import accounts
from arena.contest.entering.entries import accept
from arena.contest.ranking.views import contest_view
from arena.contest.running.work import carry_on
from arena.contest.tables import ContestEntry, Person
from arena.serving.clock import utc_now
from arena.serving.tokens import hashed
from bench.common import figure
from bench.simulated_tasks import random_law, simulated_task
from trainer.task import Task

MIX = {"/": 60, "/?page=2": 15, "/llms.txt": 8, "/api/v1/board": 12, "/queue": 5}
ENTRANTS, RUNS, PATIENCE = 100, 2, 1800.0
TWICE = {
    "experiments": "SELECT record ->> 'run_id', record ->> 'number', count(*) n FROM events WHERE kind = 'experiment' "
    "GROUP BY ALL HAVING n > 1",
    "verifications": "SELECT record ->> 'run_id', record ->> 'seed', count(*) n FROM events "
    "WHERE kind = 'verification' GROUP BY ALL HAVING n > 1",
    "entries told": "SELECT record ->> 'entry_id', count(*) n FROM events WHERE kind = 'entry' "
    "GROUP BY ALL HAVING n > 1",
}
PLAYED = (
    "SELECT e.record ->> 'entry_id' AS entry_id, count(*) AS n, count(DISTINCT run_seed) AS seeds "
    "FROM events e JOIN runs r ON r.arm_id IN (e.record -> 'arm_ids' ->> 0, e.record -> 'arm_ids' ->> 1) "
    "JOIN matches m ON m.match_id = r.match_id "
    "WHERE e.kind = 'entry' AND m.label = 'board' AND r.state = 'finished' GROUP BY ALL"
)


@dataclass
class Crowd:
    """Readers and entrants, and what they measured: latencies in seconds."""

    url: str
    tokens: Sequence[str]
    readers: int
    rate: float
    think: float
    seconds: float
    reads: list[float] = field(default_factory=list)
    entries: list[float] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    async def play(self) -> None:
        self.end = time.monotonic() + self.seconds
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        async with httpx.AsyncClient(base_url=self.url, timeout=60.0, limits=limits) as client:
            await asyncio.gather(self.enter(client), *(self.read(client) for _ in range(self.readers)))

    async def read(self, client: httpx.AsyncClient) -> None:
        await asyncio.sleep(random.random() * min(self.think, self.seconds / 4))
        while time.monotonic() < self.end:
            [path] = random.choices([*MIX], [*MIX.values()])
            began = time.monotonic()
            try:
                answer = await client.get(path, headers={"Accept": "text/html"})
            except httpx.TransportError as error:
                self.errors[f"{path}: {type(error).__name__}"] += 1
                return
            self.reads.append(time.monotonic() - began)
            if answer.status_code != 200:
                self.errors[f"{path}: {answer.status_code}"] += 1
            await asyncio.sleep(random.expovariate(1.0 / self.think))

    async def enter(self, client: httpx.AsyncClient) -> None:
        """So many a second, whether those before have been answered or not."""
        begun, number = list[asyncio.Task[None]](), 0
        while time.monotonic() < self.end:
            begun.append(asyncio.create_task(self.hand_in(client, self.tokens[number % len(self.tokens)])))
            number += 1
            await asyncio.sleep(1.0 / self.rate)
        await asyncio.gather(*begun)

    async def hand_in(self, client: httpx.AsyncClient, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "text/markdown"}
        began = time.monotonic()
        try:
            answer = await client.post("/api/v1/entries", content=program(), headers=headers)
        except httpx.TransportError as error:
            self.errors[f"entry: {type(error).__name__}"] += 1
            return
        if answer.status_code == 201:
            self.accepted.append(answer.json()["entry_id"])
            self.entries.append(time.monotonic() - began)
        else:
            self.errors[f"entry: {answer.status_code} {answer.text[:100]}"] += 1


class Host:
    """`metaloop contest serve` in a process of its own."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "meta.cli.main", "contest", "serve", str(folder), "--port", "0", "--json"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        self.url = json.loads(self.process.stdout.readline())["url"].rstrip("/")

    def end(self, how: signal.Signals) -> None:
        """``how``: a signal for the host alone; with SIGKILL its queue dies with it."""
        os.kill(self.process.pid, how)
        self.process.wait(timeout=90)
        assert self.process.stdout is not None
        self.process.stdout.close()


def program() -> bytes:
    """A program that nobody has sent before and whose proposers no other one has."""
    weight = random.random()
    charter = f"---\nmetaloop:\n  proposers: {{random: {weight}, local: {1 - weight}}}\n---\n"
    return f"{charter}# Attempt {random.getrandbits(48):012x}\n\nLower the loss.\n".encode()


def filled(folder: Path, entries: int) -> tuple[Contest, list[str]]:
    """A contest on a simulated task with so many entries that have their results, and the tokens of its entrants."""
    made = create_contest(folder / "contest", ContestOptions(
        title="Load", task=Task.load(simulated_task(random_law(7), folder / "law")),
        opens=utc_now() - timedelta(days=1), closes=utc_now() + timedelta(days=1), run_budget=0.4, runs=RUNS,
        confirm_runs=3, entries_per_person=100_000, most_entries=100_000, join_open=True, workers=1,
        fixed_steps=False, sandbox=True,
    ))  # fmt: skip
    tokens = [accounts.fresh(accounts.PERSON) for _ in range(ENTRANTS)]
    with made.contest.database.write() as connection:
        for number, token in enumerate(tokens):
            connection.add(Person.joining(f"Person {number}", hashed(token), ""))
    with made.contest.database.read() as connection:
        people = connection.query(Person).order_by(Person.person_id).all()
    for number in range(entries):
        accept(made.contest, people[number % ENTRANTS], program())
    carry_on(made.contest, lambda _: None, until_idle=True)
    return made.contest, tokens


def load(crowd: Crowd) -> None:
    asyncio.run(crowd.play())
    figure("reads", f"{len(crowd.reads)} in {crowd.seconds:.0f} s")
    figure("reads, p50, p95, p99", quantiles(crowd.reads), "p95 250 ms")
    figure("entries accepted", len(crowd.accepted))
    figure("entries, p50, p95, p99", quantiles(crowd.entries))
    figure("errors", f"{crowd.errors.total()} {dict(crowd.errors.most_common(3)) or ''}", "0")


async def play_until_killed(crowd: Crowd, host: Host) -> None:
    playing = asyncio.create_task(crowd.play())
    await asyncio.sleep(random.uniform(0.5, 6.0))
    host.end(signal.SIGKILL)
    crowd.end = 0.0
    await playing


def kill(contest: Contest, crowd: Crowd, kills: int) -> None:
    accepted, reads = list[str](), 0
    for _ in range(kills):
        host = Host(contest.folder)
        again = replace(crowd, url=host.url, reads=[], accepted=[])
        asyncio.run(play_until_killed(again, host))
        accepted += again.accepted
        reads += len(again.reads)
    figure("killed", f"{kills} times; {reads} pages read, {len(accepted)} entries answered with 201 before")
    host, until = Host(contest.folder), time.monotonic() + PATIENCE
    while contest_view(contest)["left"]:
        if time.monotonic() > until:
            sys.exit(f"{contest_view(contest)['left']} entries are still not through")
        time.sleep(1.0)
    host.end(signal.SIGTERM)
    with contest.database.read() as connection:
        stored = {entry.entry_id: entry.state for entry in connection.query(ContestEntry)}
    played = {row["entry_id"]: (row["n"], row["seeds"]) for row in query(contest.folder, PLAYED)}
    wrong = [e for e, state in stored.items() if state == "verified" and played.get(e) != (RUNS, RUNS)]
    figure("accepted entries lost", f"{len(set(accepted) - stored.keys())} of {len(accepted)}", "0")
    figure("accepted entries stored twice", len(accepted) - len(set(accepted)), "0")
    figure("entries in the end", dict(Counter(stored.values())))
    figure(f"entries without exactly {RUNS} runs", f"{len(wrong)} {wrong[:2] or ''}", "0")
    for name, sql in TWICE.items():
        figure(f"{name} twice", len(query(contest.folder, sql)), "0")


def quantiles(values: Sequence[float]) -> str:
    if len(values) < 2:
        return "none"
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return f"{1000 * cuts[49]:.0f}, {1000 * cuts[94]:.0f}, {1000 * cuts[98]:.0f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=300, help="that have their results")
    parser.add_argument("--readers", type=int, default=200)
    parser.add_argument("--rate", type=float, default=20.0, help="entries that arrive in a second")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--think", type=float, default=5.0, help="mean seconds between two clicks of a reader")
    parser.add_argument("--kills", type=int, default=0, help="kill the host so many times, in place of the latencies")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="metaloop-load-") as folder:
        began = time.monotonic()
        contest, tokens = filled(Path(folder), given.entries)
        figure("contest made in", f"{time.monotonic() - began:.0f} s")
        if given.kills:
            return kill(contest, Crowd("", tokens, given.readers, given.rate, 1.0, 60.0), given.kills)
        host = Host(contest.folder)
        try:
            load(Crowd(host.url, tokens, given.readers, given.rate, given.think, given.seconds))
        finally:
            host.end(signal.SIGTERM)


if __name__ == "__main__":
    main()

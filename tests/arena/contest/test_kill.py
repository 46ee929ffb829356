"""`kill -9` of the host while people enter: nothing that was accepted is lost, and nothing is run twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from http.client import HTTPException
from pathlib import Path

import pytest

from analysis.study import query
from arena.contest.contest import Contest
from arena.contest.tables import ContestEntry
from tests.arena.contest.hosting import RUNS, Browser, founded

KILLS, WAIT = 3, 120.0


class Host:
    """`metaloop contest serve` as its own process, killed with all that it has."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "meta.cli.main", "contest", "serve", str(folder), "--port", "0", "--json"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        self.port = int(json.loads(self.process.stdout.readline())["url"].rstrip("/").rpartition(":")[2])

    def kill(self, how: int = signal.SIGKILL) -> None:
        os.kill(self.process.pid, how)
        self.process.wait(timeout=60)
        assert self.process.stdout is not None
        self.process.stdout.close()


def enter_until_it_falls(port: int, token: str, number: int) -> list[str]:
    """Send programs, each another one; returns the ids of those that were answered with 201."""
    accepted = []
    while True:
        text = f"# Number {number}.{len(accepted)}\n\n## Ideas\n\n- Try something, the {len(accepted)}th time.\n"
        try:
            answer = Browser(port, token).enter(text.encode())
        except (OSError, HTTPException):
            return accepted
        assert answer.status in (201, 200, 403, 429), answer.text
        if answer.status == 201:
            accepted.append(answer.json["entry_id"])
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_host_loses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    contest = founded(tmp_path, entries_per_person=4).contest
    rng, accepted, token = random.Random(5), list[str](), ""
    for number in range(KILLS):
        host = Host(contest.folder)
        token = Browser(host.port).send("/api/v1/join", {"name": f"P{number}"}).json["token"]
        killer = threading.Timer(rng.uniform(0.2, 4.0), host.kill)
        killer.start()
        accepted += enter_until_it_falls(host.port, token, number)
        killer.join()
    assert accepted

    host = Host(contest.folder)
    until = time.monotonic() + WAIT
    while time.monotonic() < until and not finished(contest):
        time.sleep(0.5)
    host.kill(signal.SIGTERM)
    assert finished(contest)
    with contest.database.read() as connection:
        stored = {entry.entry_id for entry in connection.query(ContestEntry) if entry.person_id}
    assert set(accepted) <= stored
    check(contest, len(stored) + 2)


def finished(contest: Contest) -> bool:
    with contest.database.read() as connection:
        return all(entry.state == "verified" for entry in connection.query(ContestEntry))


def check(contest: Contest, entries: int) -> None:
    """A run and its experiments are in the ledger once; each entry has as many runs as the rules say."""
    runs = query(contest.folder, "SELECT arm_id, count(*) n, count(DISTINCT run_seed) seeds FROM runs JOIN matches "
                 "USING (match_id) WHERE label = 'board' AND runs.state = 'finished' GROUP BY ALL")  # fmt: skip
    assert len(runs) == entries and {(row["n"], row["seeds"]) for row in runs} == {(RUNS, RUNS)}
    twice = query(contest.folder, "SELECT record ->> 'run_id' r, record ->> 'number' k, count(*) n FROM events "
                  "WHERE kind = 'experiment' GROUP BY ALL HAVING n > 1")  # fmt: skip
    assert twice == []
    again = query(contest.folder, "SELECT record ->> 'run_id' r, record ->> 'seed' s, count(*) n FROM events "
                  "WHERE kind = 'verification' GROUP BY ALL HAVING n > 1")  # fmt: skip
    assert again == []

"""Readers of a live leaderboard with thousands of entries in it, while further entries arrive.

python -m bench.contest_load [--entries 10000] [--readers 200] [--rate 20] [--seconds 60] [--folder DIR]

Makes the contest (bench/contest_folder.py; 2 min for 10,000 entries, kept in --folder and used again: entries that
arrived stay in it), hosts it by `metaloop contest serve` with the queue's process beside it, which carries out what
arrives, and lets bench/contest_clients.py read and enter from a third process on the same processors. Three quarters of
the readers are live (server-sent events), one quarter clicks. Then all readers at once without any pause.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.common import figure
from bench.contest_clients import Plan
from bench.contest_folder import TOKENS, filled

ENTRANTS = 100
GOAL_SECONDS, GOAL_WAIT = 0.25, 300.0


def main() -> None:
    parser = argparse.ArgumentParser(description="time the pages of a contest under load")
    parser.add_argument("--entries", type=int, default=10_000, help="that have their results")
    parser.add_argument("--readers", type=int, default=200)
    parser.add_argument("--rate", type=float, default=20.0, help="entries that arrive in a second")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--think", type=float, default=5.0, help="mean seconds between two clicks of who is not live")
    parser.add_argument("--folder", type=Path, help="keep the contest here, and use it again")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="metaloop-load-") as spare:
        folder = given.folder or Path(spare)
        if not (folder / TOKENS).is_file():
            folder.mkdir(parents=True, exist_ok=True)
            began = time.perf_counter()
            filled(folder, given.entries, ENTRANTS)
            figure("contest made in", f"{time.perf_counter() - began:.0f} s")
        tokens = json.loads((folder / TOKENS).read_text())[:ENTRANTS]
        host = Host(folder / "contest")
        try:
            figure("board there after", f"{host.wait_for_board(given.entries):.1f} s")
            live = given.readers * 3 // 4
            plan = Plan(host.port, given.seconds, live, given.readers - live, given.think, given.rate, tokens)
            present(f"{live} live, {given.readers - live} clicking", plan, host)
            fast = Plan(host.port, given.seconds / 3, 0, given.readers, 0.0, given.rate, tokens, seed=2)
            present(f"{given.readers} without pause", fast, host)
        finally:
            host.end(signal.SIGTERM)


class Host:
    """`metaloop contest serve` in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        command = [sys.executable, "-m", "meta.cli.main", "contest", "serve", str(folder), "--port", "0", "--json"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        self.port = int(json.loads(self.process.stdout.readline())["url"].rstrip("/").rpartition(":")[2])

    def wait_for_board(self, rows: int) -> float:
        """Seconds until the queue's process has read the ledger and told the board."""
        import httpx

        began = time.monotonic()
        while time.monotonic() - began < GOAL_WAIT:
            board = httpx.get(f"http://127.0.0.1:{self.port}/api/v1/board?limit=1", timeout=60.0).json()
            pulse = httpx.get(f"http://127.0.0.1:{self.port}/api/v1/queue?limit=1", timeout=60.0).json()
            if board["total"] >= rows and pulse["pulse"]:
                return time.monotonic() - began
            time.sleep(0.5)
        sys.exit("the board never came")

    def end(self, how: int) -> None:
        """``how``: a signal for the host alone; with SIGKILL its queue dies with it."""
        os.kill(self.process.pid, how)
        self.process.wait(timeout=90)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def cpu(self) -> float:
        """CPU-seconds of the pages' process so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Watch(threading.Thread):
    """Looks once a second by how long the board in the database is behind the runs that have been measured."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.path = folder / "contest.sqlite"
        self.over = threading.Event()
        self.worst, self.runs = 0.0, [0, 0]

    def run(self) -> None:
        database = sqlite3.connect(self.path)
        known: list[tuple[float, int]] = []  # when so many runs had been measured
        while not self.over.wait(1.0):
            now = time.monotonic()
            (measured,) = database.execute("SELECT sum(runs_done) FROM entries").fetchone()
            (on_board,) = database.execute("SELECT sum(\"row\" ->> 'n') FROM board").fetchone()
            known = [(then, runs) for then, runs in known if runs > on_board] + [(now, measured)]
            self.worst = max(self.worst, now - known[0][0])
            self.runs = [self.runs[0] or measured, measured]


def present(name: str, plan: Plan, host: Host) -> None:
    """Let them loose, and say what came of it."""
    before, watch = host.cpu(), Watch(host.folder)
    watch.start()
    measurements = crowd(plan)
    spent = host.cpu() - before
    watch.over.set()
    reads, entries = measurements["reads"], measurements["entries"]
    figure(f"{name}: reads", f"{len(reads)} in {plan.seconds:.0f} s, {len(reads) / plan.seconds:.0f} a second")
    figure(f"{name}: p50, p95, p99", quantiles(reads), f"p95 {1000 * GOAL_SECONDS:.0f} ms" if plan.think else "")
    figure(f"{name}: errors", f"{len(measurements['errors'])} {sorted(set(measurements['errors']))[:3] or ''}", "0")
    figure(f"{name}: events", measurements["events"])
    figure(f"{name}: entries accepted", f"{len(measurements['accepted'])}, p50, p95, p99 {quantiles(entries)}")
    figure(f"{name}: runs measured meanwhile", watch.runs[1] - watch.runs[0])
    page = f"{max(measurements['ages'], default=0.0):.0f} s at most, of {len(measurements['ages'])} looked at"
    figure(f"{name}: board behind the runs", f"{watch.worst:.0f} s at most; and the page handed out {page}")
    figure(f"{name}: the pages' process used", f"{spent / (plan.seconds + plan.warm):.2f} processors")


def crowd(plan: Plan, begun: Callable[[], object] = bool) -> dict[str, Any]:
    """What they saw; ``begun`` is called when they are there."""
    command = [sys.executable, "-m", "bench.contest_clients"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as clients:
        assert clients.stdin is not None and clients.stdout is not None
        clients.stdin.write(json.dumps(asdict(plan)) + "\n")
        clients.stdin.flush()
        clients.stdout.readline()
        begun()
        measurements: dict[str, Any] = json.loads(clients.stdout.read())
    return measurements


def quantiles(values: Sequence[float]) -> str:
    if len(values) < 2:
        return "none"
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return f"{1000 * cuts[49]:.0f}, {1000 * cuts[94]:.0f}, {1000 * cuts[98]:.0f} ms"


if __name__ == "__main__":
    main()

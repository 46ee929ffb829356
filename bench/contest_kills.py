"""`kill -9` of a contest's host at random moments, while it is read and entries arrive.

python -m bench.contest_kills [--kills 20] [--entries 300] [--readers 200] [--rate 20] [--most 6]

The load is that of bench/contest_load.py, on a board of fewer entries, so that what was accepted can be carried out to
the end. Each time the host (pages, queue and runs die with it) is killed between 0.5 s and ``--most`` seconds after its
readers began, and started again. At the end everything that arrived is run, and held against the ledger: what was
answered with 201 is there once, has its runs once, and no experiment and no verification was made twice.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.study import query
from arena.contest.contest import Contest
from arena.contest.running.health import left
from arena.contest.tables import ENDED, ContestEntry
from bench.common import figure
from bench.contest_clients import Plan
from bench.contest_folder import RUNS, TOKENS, filled
from bench.contest_load import ENTRANTS, Host, crowd

PATIENCE = 1800.0
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


def main() -> None:
    parser = argparse.ArgumentParser(description="kill a contest's host again and again")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--entries", type=int, default=300, help="that are there before")
    parser.add_argument("--readers", type=int, default=200)
    parser.add_argument("--rate", type=float, default=20.0)
    parser.add_argument("--most", type=float, default=6.0, help="seconds of load before a kill, at most")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="metaloop-kills-") as spare:
        folder, rng = Path(spare), random.Random()
        contest = filled(folder, given.entries, ENTRANTS)
        tokens = json.loads((folder / TOKENS).read_text())[:ENTRANTS]
        accepted: list[str] = []
        reads = 0
        for number in range(given.kills):
            host = Host(contest.folder)
            moment = rng.uniform(0.5, given.most)
            live = given.readers * 3 // 4
            plan = Plan(
                host.port, moment + 0.5, live, given.readers - live, 1.0, given.rate, tokens, warm=0.0, seed=number
            )
            killer = threading.Timer(moment, host.end, (signal.SIGKILL,))
            measurements = crowd(plan, killer.start)
            killer.join()
            accepted += measurements["accepted"]
            reads += len(measurements["reads"])
        figure("killed", f"{given.kills} times; {reads} pages read, {len(accepted)} entries answered with 201 before")
        began = time.monotonic()
        carry_out(contest)
        figure("carried out in", f"{time.monotonic() - began:.0f} s")
        present(contest, accepted)


def carry_out(contest: Contest) -> None:
    """Host it until nothing is left."""
    host, until = Host(contest.folder), time.monotonic() + PATIENCE
    while left(contest):
        if time.monotonic() > until:
            sys.exit(f"{left(contest)} entries are still not through")
        time.sleep(1.0)
    host.end(signal.SIGTERM)


def present(contest: Contest, accepted: Sequence[str]) -> None:
    with contest.database.read() as connection:
        stored = {entry.entry_id: entry.state for entry in connection.query(ContestEntry)}
    played = {row["entry_id"]: row for row in query(contest.folder, PLAYED)}
    wrong: list[Any] = [
        (entry_id, state, played.get(entry_id))
        for entry_id, state in stored.items()
        if state == "verified" and (played[entry_id]["n"], played[entry_id]["seeds"]) != (RUNS, RUNS)
    ]
    lost = len(set(accepted) - stored.keys())
    figure("accepted entries lost", f"{lost} of {len(accepted)}", "0")
    figure("accepted entries stored twice", len(accepted) - len(set(accepted)), "0")
    ends = {state: list(stored.values()).count(state) for state in ENDED}
    figure("entries in the end", ", ".join(f"{count} {state}" for state, count in ends.items()))
    figure(f"entries without exactly {RUNS} runs", f"{len(wrong)} {wrong[:2] or ''}", "0")
    for name, sql in TWICE.items():
        figure(f"{name} twice", len(query(contest.folder, sql)), "0")


if __name__ == "__main__":
    main()

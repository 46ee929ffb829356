"""How long the views, the attribution and the report of a large study take, and how much memory.

python -m bench.report [EXPERIMENTS] [--night] [--folder DIR] [--parts]

The study is written here: a hash-chained ledger whose records are as long as those of a default study (1.9 KB an
experiment with its decision), 100 experiments a run, 16 arms a match. It is opened, and its report made, twice, each
time in a process of its own, so that the peak of memory is theirs: cold, when every line is read and the compact copy
is made, and warm, when that copy is there. ``--parts`` times every view, method of attribution and part instead.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from analysis.ledger import Ledger
from bench import planted_events
from bench.common import figure

PER_RUN, ARMS, PROGRAMS, MATCHES = 100, 16, 64, 4
KNOBS = {f"KNOB{i:02d}": [round(0.1 * k, 1) for k in range(8)] for i in range(24)}
CONTEXT = "".join(f" line {i} of the script, which is as long as lines of scripts are\n" for i in range(6))
SETTINGS = {"direction": "lower", "metric": "nll", "unit": "nats"}
HEAD = "--- a/train.py\n+++ b/train.py\n@@ -1,7 +1,7 @@\n"
GOAL_SECONDS, GOAL_GIB = 10.0, 2.0


def main() -> None:
    parser = argparse.ArgumentParser(description="time the report of a large study")
    parser.add_argument("experiments", nargs="?", type=int, default=100_000)
    parser.add_argument("--night", action="store_true", help="one run under one training seed, as a long night is")
    parser.add_argument("--folder", type=Path, help="keep the study here, and use it again")
    parser.add_argument("--parts", action="store_true", help="time each view, method and part instead")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        (parts if given.parts else whole)(given.measure)
        return
    with tempfile.TemporaryDirectory(prefix="metaloop-report-") as spare:
        folder = given.folder or Path(spare)
        if not (folder / "ledger").is_dir():
            began = time.perf_counter()
            write(folder, given.experiments, given.night)
            figure("written in", f"{time.perf_counter() - began:.1f} s")
        size = sum(path.stat().st_size for path in (folder / "ledger").iterdir())
        figure("ledger", f"{size / 1e6:.0f} MB")
        again = [sys.executable, "-m", "bench.report", "--measure", str(folder), *(["--parts"] if given.parts else [])]
        with tempfile.TemporaryDirectory(prefix="metaloop-cache-") as cache:
            for name in ("cold", "warm"):
                figure(name, "the first opening, which makes the copy" if name == "cold" else "any opening after it")
                subprocess.run(again, check=True, env={**os.environ, "METALOOP_CACHE": cache})
            copy = sum(path.stat().st_size for path in Path(cache).rglob("*.parquet"))
            figure("compact copy", f"{copy / 1e6:.0f} MB")


def whole(folder: Path) -> None:
    """Opens the study with every view and writes its report, as `metaloop report` does."""
    from analysis.report.page import report
    from analysis.study import open_study

    began = time.perf_counter()
    with open_study(folder) as con:
        opened = time.perf_counter()
        page = report(con, str(folder))
        ((experiments,),) = con.execute("SELECT count(*) FROM experiments").fetchall()
    done = time.perf_counter()
    figure("experiments", f"{experiments:,}")
    figure("views and attribution", f"{opened - began:.1f} s")
    figure("report", f"{done - opened:.1f} s")
    figure("all", f"{done - began:.1f} s", f"{GOAL_SECONDS:g} s at 1,000,000")
    figure("processor", f"{time.process_time():.1f} CPU-s, the imports included")
    figure("peak memory", f"{peak():.2f} GiB", f"{GOAL_GIB:g} GiB at 1,000,000")
    figure("page", f"{len(page.encode()) / 1e6:.2f} MB")


def parts(folder: Path) -> None:
    """The same step by step."""
    from analysis.effects import attribution
    from analysis.effects.rows import CreditRow
    from analysis.report import page
    from analysis.study import _add, _compute, _tables, ledger_folder
    from analysis.verdict import standings

    made = timed("SQL views", lambda: _tables(ledger_folder(folder)))
    con = made.con
    ranked = timed("view standings", lambda: standings.standings(con))
    _add(con, "", "standings", standings.Standing, ranked)
    timed("view scales", lambda: _compute(con, ("scales",), "", made))
    profile = cProfile.Profile()
    credit_rows = timed("view credit", lambda: profile.runcall(attribution.credit, con))
    for name, seconds in methods(profile):
        figure(f"  of it {name}", f"{seconds:.2f} s")
    _add(con, "", "credit", CreditRow, credit_rows)
    timed("view transfer", lambda: _compute(con, ("transfer",), "", made))
    timed("report page", lambda: page.report(con, str(folder)))
    figure("peak memory", f"{peak():.2f} GiB")


def methods(profile: cProfile.Profile) -> list[tuple[str, float]]:
    """(function, seconds with all it calls) of the methods of attribution, the slowest first."""
    code = [(entry.code, entry.totaltime) for entry in profile.getstats() if not isinstance(entry.code, str)]
    made = [(Path(each.co_filename), seconds) for each, seconds in code if each.co_name == "make"]
    return sorted(((path.stem, s) for path, s in made if path.parent.name == "effects"), key=lambda item: -item[1])


def timed(name: str, work: Any) -> Any:
    began, used = time.perf_counter(), time.process_time()
    result = work()
    took, busy = time.perf_counter() - began, time.process_time() - used
    figure(name, f"{took:.2f} s, {busy:.2f} CPU-s, {peak():.2f} GiB so far")
    return result


def peak() -> float:
    """The most memory that this process has held, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def write(folder: Path, experiments: int, is_night: bool = False) -> None:
    """A study of about so many experiments, in four segments as four writers would leave them."""
    rng = random.Random(0)
    runs, steps = (1, experiments) if is_night else (max(experiments // PER_RUN, 2 * ARMS), PER_RUN)
    with Ledger(folder / "ledger", "main") as ledger:
        write_head(ledger, runs)
    for worker in range(3):
        with Ledger(folder / "ledger", f"worker-{worker}") as ledger:
            for number in range(worker, runs, 3):
                write_run(ledger, number, steps, rng)


def write_head(ledger: Ledger, runs: int) -> None:
    """Study, programs, matches, baselines, and how every run was verified."""
    ledger.append({
        "kind": "study", "study_id": "y0", "version": "0", "started_at": "2026-01-01T00:00:00Z",
        "config": {"command": "evolve", "researcher": "scripted"},
    }, sync=False)  # fmt: skip
    for number in range(PROGRAMS):
        ideas = [f"Idea {i} of {number}: `knob{i:02d}=0.{i % 8}`." for i in range(20)]
        rows = [
            {"directive_id": directive(number, i), "heading": "Ideas", "kind": "idea", "text": idea, "position": i}
            for i, idea in enumerate(ideas)
        ]
        text = f"# Program {number}\n\n## Ideas\n\n" + "".join(f"- {idea}\n" for idea in ideas)
        parents = [f"p{number - ARMS:012x}"] if number >= ARMS else []
        planted_events.program(
            ledger, f"p{number:012x}", rows, generation=number // ARMS, parent_ids=parents, text=text
        )
    for number in range(MATCHES):
        arms = {f"a{number:06x}{i:06x}": f"p{number * ARMS + i:012x}" for i in range(ARMS)}
        planted_events.match(ledger, f"m{number:012x}", arms, generation=number, config=SETTINGS)
        for seed in range(8):
            ledger.append({
                "kind": "baseline", "match_id": f"m{number:012x}", "task": "strokes", "stream": "selection",
                "seed": seed, "metric": 1.5 + 0.002 * seed, "status": "ok", "source_id": "s0", "trust": "scored",
                "device_seconds_spent": 0.1,
            }, sync=False)  # fmt: skip
        ledger.append({"kind": "match_ended", "match_id": f"m{number:012x}", "state": "finished"}, sync=False)
    for number in range(runs):
        arm = number // MATCHES % ARMS
        gain = 0.3 + 0.01 * (arm % 8) + 0.05 * ((number * 7919 % 97) / 97 - 0.5)
        gains = [gain + 0.001, gain + 0.002]
        planted_events.verify(ledger, f"r{number:012x}", "", "", gains, trust="scored", device_seconds_spent=0.1)


def directive(program: int, position: int) -> str:
    return f"d{program:06x}{position:06x}"


def write_run(ledger: Ledger, number: int, steps: int, rng: random.Random) -> None:
    """One run: greedy one-change steps; a tenth of the tries crash, one in three is kept."""
    match, arm = number % MATCHES, number // MATCHES % ARMS
    run_id, program, config = f"r{number:012x}", match * ARMS + arm, dict.fromkeys(KNOBS, 0.0)
    planted_events.start(ledger, run_id, f"m{match:012x}", f"a{match:06x}{arm:06x}", f"p{program:012x}", number)
    parent, source, best = 0, identity(config), 1.5
    for step in range(steps):
        knob = rng.choice(tuple(KNOBS)) if step else ""
        value = rng.choice(KNOBS[knob]) if step else 0.0
        crashed, kept = step > 0 and rng.random() < 0.1, step > 0 and rng.random() < 0.3
        metric = best - rng.random() * 0.01 if kept else best + rng.random() * 0.2
        tried = config | ({knob: value} if knob else {})
        made = {"parent_number": parent, "parent_source_id": source, "edit": {"set": {knob: value}, "apply": []},
                "diff": f"{HEAD}{CONTEXT}-{knob} = 0.0\n+{knob} = {value}\n"} if step else {"diff": ""}  # fmt: skip
        decision = "baseline" if not step else "discard" if crashed or not kept else "keep"
        planted_events.experiment(
            ledger, run_id, step, decision=decision, metric=None if crashed else round(metric, 6), seconds=0.1,
            cited=[directive(program, step % 20)] if step else [], source_id=identity(tried), config=tried,
            seed=number % 1000, proposer="random" if step % 3 else "queue", trust="scored",
            description=f"{knob.lower()}={value}", **made,
        )  # fmt: skip
        if decision == "keep":
            config, parent, source, best = tried, step, identity(tried), metric
    planted_events.end(ledger, run_id, claimed=1.5 - best, claimed_best=best)


def identity(config: dict[str, float]) -> str:
    return f"s{hash(tuple(config.values())) & 0xFFFFFFFFFFFF:012x}"


if __name__ == "__main__":
    main()

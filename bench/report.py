"""How long the views, the attribution and the report of a large study take, and how much memory.

python -m bench.report [EXPERIMENTS] [--folder DIR] [--parts]

The study is written here: a hash-chained ledger whose records are as long as those of a default study (1.9 KB an
experiment with its decision), 100 experiments a run, 16 arms a match. It is opened, and its report made, twice, each
time in a process of its own, so that the peak of memory is theirs: cold, when every line is read and the compact copy
is made, and warm, when that copy is there. ``--parts`` times every view, method of attribution and part instead.
"""

from __future__ import annotations

import argparse
import cProfile
import hashlib
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from analysis.ledger import SCHEMA
from bench.common import figure

PER_RUN, ARMS, PROGRAMS = 100, 16, 64
KNOBS = {f"KNOB{i:02d}": [round(0.1 * k, 1) for k in range(8)] for i in range(24)}
CONTEXT = "".join(f" line {i} of the script, which is as long as lines of scripts are\n" for i in range(6))
SETTINGS = {"direction": "lower", "metric": "nll", "unit": "nats"}
GOAL_SECONDS, GOAL_GIB = 10.0, 2.0
STARTED = "2026-01-01T00:00:00Z"
AT = '"at":"2026-01-01T00:00:00.{:06d}Z"'


def main() -> None:
    parser = argparse.ArgumentParser(description="time the report of a large study")
    parser.add_argument("experiments", nargs="?", type=int, default=100_000)
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
            write(folder, given.experiments)
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
    from analysis.effects.rows import CreditViewRow
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
    _add(con, "", "credit", CreditViewRow, credit_rows)
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


def write(folder: Path, experiments: int) -> None:
    """A study of about so many experiments, in four segments as four writers would leave them."""
    (folder / "ledger").mkdir(parents=True)
    rng = random.Random(0)
    runs = max(experiments // PER_RUN, 2 * ARMS)
    chain("main-1", folder, head(runs))
    for worker in range(3):
        chain(f"worker-{worker}-1", folder, (line for r in range(worker, runs, 3) for line in run(r, rng)))


def chain(name: str, folder: Path, bodies: Iterator[str]) -> None:
    """Writes records, each with its number, its time and the hash of the one before."""
    previous = ""
    with (folder / "ledger" / f"{name}.jsonl").open("wb", buffering=1 << 22) as file:
        for seq, body in enumerate(bodies):
            when = AT.format(seq % 1_000_000)
            data = f'{{"seq":{seq},{when},"prev":"{previous}","schema":{SCHEMA},{body}'.encode()
            previous = hashlib.sha256(data).hexdigest()
            file.write(data + b',"hash":"' + previous.encode() + b'"}\n')


def body(**event: Any) -> str:
    return json.dumps(event, separators=(",", ":"))[1:-1]


def head(runs: int) -> Iterator[str]:
    """Study, programs, matches, baselines, and how every run was verified."""
    yield body(kind="segment", writer="main", heads={})
    config = {"command": "evolve", "researcher": "scripted"}
    yield body(kind="study", study_id="y0", version="0", started_at=STARTED, config=config)
    for number in range(PROGRAMS):
        text = f"# Program {number}\n\n## Ideas\n\n" + "".join(
            f"- Idea {i} of {number}: `knob{i:02d}=0.{i % 8}`.\n" for i in range(20)
        )
        directives = [
            {
                "directive_id": directive(number, i),
                "heading": "Ideas",
                "kind": "idea",
                "text": f"Idea {i} of {number}",
                "position": i,
            }
            for i in range(20)
        ]
        yield body(
            kind="program",
            program_id=f"p{number:012x}",
            name=f"program-{number}",
            generation=number // ARMS,
            operator="starter",
            parent_ids=[f"p{number - ARMS:012x}"] if number >= ARMS else [],
            words=90,
            text=text,
            directives=directives,
        )
    for match in range(PROGRAMS // ARMS):
        arms = [
            {"arm_id": f"a{match:06x}{i:06x}", "program_id": f"p{match * ARMS + i:012x}", "role": "program"}
            for i in range(ARMS)
        ]
        yield body(
            kind="match",
            match_id=f"m{match:012x}",
            config=SETTINGS,
            task="strokes",
            task_id="t0",
            run_budget=10.0,
            hardware_class="cpu:bench",
            stream="selection",
            purpose="race",
            generation=match,
            label=f"generation-{match}",
            started_at=STARTED,
            arms=arms,
        )
        for seed in range(8):
            yield body(
                kind="baseline",
                match_id=f"m{match:012x}",
                task="strokes",
                stream="selection",
                seed=seed,
                metric=1.5 + 0.002 * seed,
                status="ok",
                source_id="s0",
                trust="scored",
                device_seconds_spent=0.1,
            )
    for match in range(PROGRAMS // ARMS):
        yield body(kind="match_ended", match_id=f"m{match:012x}", state="finished")
    for number in range(runs):
        gain = 0.3 + 0.01 * (match_and_arm(number)[1] % 8) + 0.05 * ((number * 7919 % 97) / 97 - 0.5)
        for seed in (1, 2):
            yield body(
                kind="verification",
                run_id=f"r{number:012x}",
                arm_id="",
                program_id="",
                task="strokes",
                stream="selection",
                seed=seed,
                status="ok",
                metric=1.5 - gain,
                baseline_metric=1.5,
                gain=gain + 0.001 * seed,
                trust="scored",
                device_seconds_spent=0.1,
            )


def match_and_arm(number: int) -> tuple[int, int]:
    """(match, arm within it) of a run."""
    return number % (PROGRAMS // ARMS), number // (PROGRAMS // ARMS) % ARMS


def directive(program: int, position: int) -> str:
    return f"d{program:06x}{position:06x}"


def run(number: int, rng: random.Random) -> Iterator[str]:
    """One run: greedy one-change steps; a tenth of the tries crash, one in three is kept."""
    match, arm = match_and_arm(number)
    program = match * ARMS + arm
    run_id, config = f"r{number:012x}", dict.fromkeys(KNOBS, 0.0)
    yield body(
        kind="run_started",
        run_id=run_id,
        match_id=f"m{match:012x}",
        arm_id=f"a{match:06x}{arm:06x}",
        program_id=f"p{program:012x}",
        task="strokes",
        run_seed=number,
        stream="selection",
        researcher="scripted",
        device_seconds_budget=10.0,
    )
    parent, source, best = 0, identity(config), 1.5
    for step in range(PER_RUN):
        knob = rng.choice(tuple(KNOBS)) if step else ""
        value = rng.choice(KNOBS[knob]) if step else 0.0
        crashed, kept = step > 0 and rng.random() < 0.1, step > 0 and rng.random() < 0.3
        metric = best - rng.random() * 0.01 if kept else best + rng.random() * 0.2
        tried = config | ({knob: value} if knob else {})
        made = {"parent_number": parent, "parent_source_id": source} if step else {}
        status = "crash" if crashed else "ok"
        yield experiment(run_id, number, step, made, knob, value, tried, status, metric, program)
        decision = "baseline" if not step else "discard" if crashed or not kept else "keep"
        yield body(
            kind="decision",
            run_id=run_id,
            experiment_id=f"e{number:08x}{step:04x}",
            decision=decision,
            reason="measured",
        )
        if decision == "keep":
            config, parent, source, best = tried, step, identity(tried), metric
    yield body(
        kind="run_ended",
        run_id=run_id,
        state="finished",
        charged=10.0,
        spent=9.5,
        cached_seconds=0.4,
        forfeited=0.1,
        overshoot=0.0,
        tokens=0,
        usd=0.0,
        experiments=PER_RUN,
        claimed_best=best,
        claimed_gain=1.5 - best,
        final_source_id="s1",
        wall_seconds=12.0,
        experiment_wall_seconds=11.0,
    )


def identity(config: dict[str, float]) -> str:
    return f"s{hash(tuple(config.values())) & 0xFFFFFFFFFFFF:012x}"


def experiment(
    run_id: str,
    number: int,
    step: int,
    made: dict[str, Any],
    knob: str,
    value: float,
    config: dict[str, float],
    status: str,
    metric: float,
    program: int,
) -> str:
    diff = (
        f"--- a/train.py\n+++ b/train.py\n@@ -1,7 +1,7 @@\n{CONTEXT}-{knob} = 0.0\n+{knob} = {value}\n" if knob else ""
    )
    return body(
        kind="experiment",
        run_id=run_id,
        experiment_id=f"e{number:08x}{step:04x}",
        number=step,
        **made,
        source_id=identity(config),
        edit={"set": {knob: value} if knob else {}, "apply": []},
        config=config,
        seed=number % 1000,
        replicate=0,
        fraction=1.0,
        status=status,
        metric=None if status == "crash" else round(metric, 6),
        device_seconds_charged=0.1,
        device_seconds_spent=0.1,
        wall_seconds=0.5,
        peak_memory_mb=250.0,
        steps=50,
        description=f"{knob.lower()}={value}",
        proposer="random" if step % 3 else "queue",
        directive_ids=[directive(program, step % 20)] if step else [],
        trust="scored",
        cached=False,
        reason="",
        diff=diff,
    )


if __name__ == "__main__":
    main()

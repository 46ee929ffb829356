"""Feed broken inputs to every reader of bytes from outside: each must read or refuse them, within five seconds.

    python -m bench.fuzz [-n 10000] [--seed 1] [--only task.toml ...] [--out DIR]

The inputs depend on the seed alone. Prints counts per category and what failed; such inputs are written to DIR
(by default a new folder in /tmp). Exits with 1 where anything failed. A reader runs in a process of its own, so that
one that takes the interpreter down, or never comes back, is a finding like any other.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import resource
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any

from bench.common import figure
from bench.fuzz_targets import Target, targets

HANG_SECONDS = 5.0
START_SECONDS = 300.0  # to get a reader ready, such as a warm template
MEMORY_BYTES = 4 << 30  # of addresses; what wants more gets a MemoryError, a crash
_fork = multiprocessing.get_context("fork")


@dataclass
class Failure:
    target: str
    number: int
    kind: str  # crash or hang
    what: str


@dataclass
class Tally:
    """What the inputs of one category came to; shared with the process that reads them."""

    now: Synchronized[int] = field(default_factory=lambda: _fork.Value("q", 0))
    read: Synchronized[int] = field(default_factory=lambda: _fork.Value("q", 0))
    refused: Synchronized[int] = field(default_factory=lambda: _fork.Value("q", 0))
    slowest: Synchronized[float] = field(default_factory=lambda: _fork.Value("d", 0.0))
    slowest_number: Synchronized[int] = field(default_factory=lambda: _fork.Value("q", 0))
    failures: list[Failure] = field(default_factory=list)


def make(target: Target, corpus: list[bytes], seed: int, number: int) -> bytes:
    """Input ``number`` of a category: it depends on nothing else."""
    return target.make(random.Random(f"{seed}/{target.name}/{number}"), corpus)


def _work(target: Target, corpus: list[bytes], seed: int, numbers: range, folder: Path, tally: Tally, out: Any) -> None:
    """Read all inputs, one after the other; runs in a fork."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    reader = target.prepare(folder)
    for number in numbers:
        data = make(target, corpus, seed, number)
        tally.now.value = number
        began = time.perf_counter()
        try:
            reader(data)
            tally.read.value += 1
        except target.refuses:
            tally.refused.value += 1
        except BaseException as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            what = f"{type(error).__name__}: {str(error)[:120]} ({Path(frame.filename).name}:{frame.lineno})"
            out.send((number, what))
        took = time.perf_counter() - began
        if took > tally.slowest.value:
            tally.slowest.value, tally.slowest_number.value = took, number


def hunt(target: Target, corpus: list[bytes], seed: int, count: int) -> Tally:
    """Feed ``count`` inputs to one category, in as many processes as it takes."""
    tally, first = Tally(), 0
    while first < count:
        tally.now.value = -1
        with tempfile.TemporaryDirectory() as folder:
            ours, theirs = _fork.Pipe(duplex=False)
            arguments = (target, corpus, seed, range(first, count), Path(folder), tally, theirs)
            process = _fork.Process(target=_work, args=arguments)
            process.start()
            theirs.close()
            hung = _watch(process, tally, ours, target.name)
            process.join()
        if not hung and process.exitcode == 0:
            break
        kind, what = ("hang", f"over {HANG_SECONDS:g} s") if hung else ("crash", f"exit status {process.exitcode}")
        if tally.now.value < 0:
            raise SystemExit(f"{target.name}: its reader does not start: {what}")
        tally.failures.append(Failure(target.name, tally.now.value, kind, what))
        first = tally.now.value + 1
    return tally


def _watch(process: Any, tally: Tally, channel: Any, name: str) -> bool:
    """Collect what the reading process finds, until its end; True if it was killed because it hung."""
    seen, since = -1, time.monotonic()  # -1: the reader is not ready yet
    while True:
        try:
            while channel.poll(0.2):
                number, what = channel.recv()
                tally.failures.append(Failure(name, number, "crash", what))
        except EOFError:
            return False
        if tally.now.value != seen:
            seen, since = tally.now.value, time.monotonic()
        elif time.monotonic() - since > (HANG_SECONDS if seen >= 0 else START_SECONDS):
            process.kill()
            return True


def report(target: Target, corpus: list[bytes], tally: Tally, seed: int, out: Path) -> None:
    """Print the counts; write down each distinct failure's first input."""
    crashes = sum(failure.kind == "crash" for failure in tally.failures)
    figure(f"{target.name} read", tally.read.value)
    figure(f"{target.name} refused", tally.refused.value)
    figure(f"{target.name} crashes", crashes, "0")
    figure(f"{target.name} hangs", len(tally.failures) - crashes, "0")
    figure(f"{target.name} slowest", f"{tally.slowest.value:.3f} s, input {tally.slowest_number.value}")
    known: set[str] = set()
    for failure in tally.failures:
        if failure.what in known and failure.kind == "crash":
            continue
        known.add(failure.what)
        out.mkdir(parents=True, exist_ok=True)
        path = out / f"{target.name}-{seed}-{failure.number}"
        path.write_bytes(make(target, corpus, seed, failure.number))
        print(f"  {failure.kind}: {failure.what}: {path}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-n", type=int, default=10_000, help="inputs in all, shared evenly among the categories")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", help="these categories")
    parser.add_argument("--out", type=Path, help="folder for the inputs that failed")
    given = parser.parse_args()
    chosen = [target for target in targets() if not given.only or target.name in given.only]
    out = given.out or Path(tempfile.gettempdir()) / f"metaloop-fuzz-{given.seed}-{int(time.time())}"
    failed = 0
    for target in chosen:
        corpus = target.corpus()
        tally = hunt(target, corpus, given.seed, -(-given.n // len(chosen)))
        report(target, corpus, tally, given.seed, out)
        failed += len(tally.failures)
    figure("failures", failed, "0")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

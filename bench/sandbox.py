"""What the sandbox costs: `python -m bench.sandbox [-n 100]`.

CPU-seconds of a sandboxed warm launch that does nothing, against a bare fork of a process that has imported torch in
the same way; taken in turns, medians. Before it, the start of a template.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.common import figure
from trainer.jobs.job import ForkedJob, Limits
from trainer.sandbox.local import LocalLauncher

if TYPE_CHECKING:
    from collections.abc import Iterator

_BARE = """
import gc, os, resource, sys, time
from trainer.inside import pages, template
template.warm()
gc.collect(); gc.freeze()
if sys.argv[1] == "huge":
    pages.collapse()
def used():
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime + time.process_time()
for _ in sys.stdin:
    before = used()
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    print(used() - before, flush=True)
"""
_NOTHING = ForkedJob(["noop"], limits=Limits(10.0, 60.0))


class _BareFork:
    """A process that forks once a line and tells what that cost."""

    def __init__(self, kind: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _BARE, kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def cost(self) -> float:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


@contextmanager
def _forks() -> Iterator[dict[str, _BareFork]]:
    forks = {kind: _BareFork(kind) for kind in ("huge", "small")}
    try:
        yield forks
    finally:
        for fork in forks.values():
            assert fork.process.stdin
            fork.process.stdin.close()
            fork.process.wait()


def _milliseconds(values: list[float]) -> str:
    return f"{1000 * statistics.median(values):.2f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=100)
    given = parser.parse_args()
    launcher = LocalLauncher()
    try:
        began = time.perf_counter()
        launcher.start()
        figure("start_with_self_test", f"{time.perf_counter() - began:.2f} s of wall")
        costs: dict[str, list[float]] = {name: [] for name in ("sandboxed", "huge", "small", "wall")}
        with _forks() as forks:
            for _ in range(given.n):
                for name, fork in forks.items():
                    costs[name].append(fork.cost())
                began = time.perf_counter()
                costs["sandboxed"].append(launcher.run(_NOTHING).cpu_seconds)
                costs["wall"].append(time.perf_counter() - began)
    finally:
        launcher.close()
    figure("sandboxed_launch", _milliseconds(costs["sandboxed"]) + f", wall {_milliseconds(costs['wall'])}")
    figure("bare_fork_huge_pages", _milliseconds(costs["huge"]))
    figure("bare_fork_small_pages", _milliseconds(costs["small"]))
    added = statistics.median(costs["sandboxed"]) - statistics.median(costs["huge"])
    figure("added_by_the_sandbox", f"{1000 * added:.2f} ms", "30 ms over a bare fork of a warm parent")


if __name__ == "__main__":
    main()

"""Scores kernel.py, which train.py left: CPU time of its `solve` relative to that of the reference, on new inputs.

Kernel and reference run in processes of their own, in turn. This process writes the inputs of one call at a time, reads
the result, measures the CPU clock of the other process from outside, and compares every result.
"""

import os
import statistics
import subprocess
import sys
import time

import numpy as np
import reference

CALLS, TURNS = 5, 2  # timed calls of a process, and processes of each kind
TOLERANCE = 1e-3
SERVE = """
import importlib, sys
import numpy as np
solve = importlib.import_module(sys.argv[1]).solve
for line in sys.stdin:
    np.save("result.npy", solve([np.load(f"{name}.npy") for name in ("queries", "stations", "readings")]))
    print(flush=True)
"""


def seconds(module, seeds):
    """CPU-seconds of each call in a new process; the first call, a warm-up, is left out."""
    command, used = [sys.executable, "-c", SERVE, module], []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        clock = ~process.pid << 3 | 2  # the CPU clock of another process: clock_getcpuclockid(3)
        for seed in seeds:
            inputs = reference.inputs(seed)
            for name, array in zip(("queries", "stations", "readings"), inputs, strict=True):
                np.save(f"{name}.npy", array)
            began = time.clock_gettime(clock)
            process.stdin.write(b"call\n")
            process.stdin.flush()
            if not process.stdout.readline():
                sys.exit(f"{module}: no result")
            used.append(time.clock_gettime(clock) - began)
            found, expected = np.load("result.npy"), reference.solve(inputs)
            if found.shape != expected.shape or not np.allclose(found, expected, TOLERANCE, TOLERANCE):
                sys.exit(f"{module}: wrong result")
        process.stdin.close()
    return used[1:]


def main():
    ours, theirs = [], []
    for turn in range(TURNS):
        seeds = [int.from_bytes(os.urandom(8), "big") for _ in range(CALLS + 1)]  # nobody can know them in advance
        for module, times in [("kernel", ours), ("reference", theirs)][:: 1 if turn % 2 else -1]:
            times += seconds(module, seeds)
    print(f"reference_ms: {1000 * statistics.median(theirs):.2f}")
    print(f"time: {statistics.median(ours) / statistics.median(theirs):.4f}")


if __name__ == "__main__":
    main()

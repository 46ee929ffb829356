"""Wall seconds of `metaloop --help`: median of repetitions after one that warms the file cache.

python bench/startup.py [REPETITIONS]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from bench.common import METALOOP, figure


def once() -> float:
    began = time.perf_counter()
    subprocess.run([METALOOP, "--help"], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def main() -> None:
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    once()
    figure("help_wall_seconds", round(statistics.median(once() for _ in range(repetitions)), 3), "<= 0.4")


if __name__ == "__main__":
    main()

"""Two workers against one on the same match: ratio of wall times, medians over interleaved repetitions.

python -m bench.scaling [REPETITIONS [TASK]]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from bench.common import figure, metaloop, sql

SPAN = """
SELECT epoch(max(written_at) - min(written_at)) AS seconds FROM events WHERE kind IN ('match', 'match_ended')
"""


def play(folder: Path, workers: int, task: str) -> float:
    """Wall seconds of the match itself, without the start of the workers' templates."""
    metaloop(
        "match",
        "stock",
        "local",
        "screen-waves",
        "-n",
        "4",
        "-t",
        task,
        "--no-controls",
        "-j",
        str(workers),
        "--seed",
        "3",
        "-s",
        str(folder),
        "-y",
    )
    (span,) = sql(folder, SPAN)
    return float(span["seconds"])


def main() -> None:
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    task = sys.argv[2] if len(sys.argv) > 2 else "strokes"
    work = Path(tempfile.mkdtemp())
    ratios = []
    for i in range(repetitions):
        one, two = play(work / f"one-{i}", 1, task), play(work / f"two-{i}", 2, task)
        ratios.append(one / two)
        figure("match_wall_seconds", f"{one:.1f} with one worker, {two:.1f} with two, ratio {one / two:.2f}")
    figure("two_workers_against_one", round(statistics.median(ratios), 2), ">= 1.8")


if __name__ == "__main__":
    main()

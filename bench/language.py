"""`evolve --task tinylm --budget 2h`: runs to its end and prints its standings with intervals.

python -m bench.language FOLDER [BUDGET [TASK]]      resumable: the same command goes on
"""

from __future__ import annotations

import sys
from pathlib import Path

from bench.common import figure, metaloop


def main() -> None:
    folder = Path(sys.argv[1]) / "tinylm"
    budget = sys.argv[2] if len(sys.argv) > 2 else "2h"
    task = sys.argv[3] if len(sys.argv) > 3 else "tinylm"
    wall = metaloop("evolve", "--task", task, "--budget", budget, "--seed", "1", "-s", str(folder), "-y")
    metaloop("standings", str(folder))
    figure("wall_seconds", round(wall))


if __name__ == "__main__":
    main()

"""`metaloop evolve --quick`: its wall time and its number of real experiments.

python bench/quick.py [FOLDER]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from bench.common import figure, metaloop, sql


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()) / "quick"
    wall = metaloop("evolve", "--quick", "-s", str(folder), "-y")
    (counted,) = sql(folder, "SELECT count(*) AS n, count(*) FILTER (NOT cached) AS trained FROM experiments")
    (verified,) = sql(folder, "SELECT count(*) AS n FROM verifications WHERE status <> 'baseline'")
    figure("quick_wall_seconds", round(wall, 1), "<= 180")
    figure("quick_experiments", counted["n"], ">= 1000")
    figure(
        "quick_experiments_trained", counted["trained"] + verified["n"], "of these trained here, verification included"
    )


if __name__ == "__main__":
    main()

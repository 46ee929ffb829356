"""`metaloop evolve --quick`: its wall time, what it takes of the processor, and its number of real experiments.

On a busy machine the wall time says little: CPU-seconds over the cores are what it takes of an idle one.

python -m bench.quick [FOLDER [TASK]]
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
from pathlib import Path

from bench.common import figure, metaloop, sql


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()) / "quick"
    task = ("-t", sys.argv[2]) if len(sys.argv) > 2 else ()
    wall = metaloop("evolve", "--quick", *task, "-s", str(folder), "-y")
    (counted,) = sql(folder, "SELECT count(*) AS n, count(*) FILTER (NOT cached) AS trained FROM experiments")
    (verified,) = sql(folder, "SELECT count(*) AS n FROM verifications WHERE status <> 'baseline'")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    figure("quick_wall_seconds", round(wall, 1), "<= 180")
    figure("quick_cpu_seconds", round(used.ru_utime + used.ru_stime, 1), "reported")
    figure("load_average", " ".join(f"{load:.1f}" for load in os.getloadavg()), "about the number of cores")
    figure("quick_experiments", counted["n"], ">= 1000")
    figure(
        "quick_experiments_trained", counted["trained"] + verified["n"], "of these trained here, verification included"
    )


if __name__ == "__main__":
    main()

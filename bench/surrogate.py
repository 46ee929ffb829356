"""Does the surrogate know anything? Simulated studies, with and without effects: rank correlation on held-out programs.

``python -m bench.surrogate [STUDIES]``: a line per study, then the shares said to beat chance. Where no edit is
worth anything programs still differ in how their runs end, so that a claim there is no proof of an error.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from analysis.study import open_study
from analysis.surrogate import Skill, known_programs, skill
from meta.plan import quick
from meta.whole import whole_study
from trainer.planted import null_law, random_law, simulated_task
from trainer.task import Task


def one(seed: int, null: bool, folder: Path) -> Skill:
    law = null_law(seed) if null else random_law(seed)
    task = Task.load(simulated_task(law, folder / "task"))
    plan = replace(quick(task), generations=2, confirm_runs=2, ablation_runs=0, control_runs=0)
    whole_study(task, plan, seed, folder / "study")
    with open_study(folder / "study", views=()) as con:
        return skill(task.name, known_programs(con, task.name))[0]


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    print("world  seed  programs  held_out    rank  low    high   beats_chance")
    for world in ("effects", "null"):
        claims = 0
        for seed in range(count):
            with tempfile.TemporaryDirectory(prefix="metaloop-bench-") as name:
                s = one(seed, world == "null", Path(name))
            claims += s.beats_chance
            figures = "  ".join("none " if v is None else f"{v:+.2f}" for v in (s.correlation, s.low, s.high))
            print(f"{world:7}{seed:4}{s.programs:10}  {s.held_out:9} {figures}  {s.beats_chance}", flush=True)
        print(f"{world}: {claims} of {count} are said to beat chance")


if __name__ == "__main__":
    main()

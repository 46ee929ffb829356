"""Whether this code gives the same runs as an earlier commit: match, evolve, improve of a repository.

python -m bench.older COMMIT [KIND …]      match evolve improve; needs the git repository
python -m bench.older record FILE          the simulated runs of this code, for tests/test_older.py

Both codes get the same programs, tasks, settings and seeds. The match trains scripts in fixed steps; the
repository has a command of its own, whose score follows from its seed; evolve has a simulated task.
The runs that both made (same program text, stream and run seed) are compared: every experiment's metric, decision,
source and steps, and every gain. Programs that mutators wrote may differ, and so may runs of shipped programs that were
written anew: they are counted.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.common import checked_out, figure
from bench.simulated_tasks import random_law, simulated_task

METALOOP = (sys.executable, "-P", "-m", "meta.cli.main")  # of the code that PYTHONPATH names
ROOT = Path(__file__).resolve().parents[1]
Runs = dict[str, tuple[list[object], list[object]]]
PROGRAMS = ("stock", "idea-queue", "local")
RUNS = "SELECT run_id, program_id, stream, run_seed, verified_gain, claimed_gain, final_source_id FROM runs"
EXPERIMENTS = (
    "SELECT run_id, number, seed, source_id, metric, status, decision, steps FROM experiments ORDER BY run_id, number"
)
TRAIN = """import os, random
LR = 0.02
MOMENTUM = 0.0
rng, weight, speed = random.Random(int(os.environ.get("SEED", "1"))), 0.0, 0.0
for _ in range(400):
    x = rng.gauss(0, 1)
    speed = MOMENTUM * speed - LR * 0.2 * x * (weight * x - 3 * x - rng.gauss(0, 0.3))
    weight += speed
print(f"val_loss: {(weight - 3) ** 2 + 0.01:.6f}")
"""
README = "Run `python train.py`. It prints val_loss; lower is better. Edit only train.py. One run takes 2 seconds.\n"


def environment(code: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(code), "OMP_NUM_THREADS": "1"}


def call(code: Path, folder: Path, *words: str, **surroundings: str) -> Any:
    """What a command of the code in the folder ``code`` answers, run in ``folder``."""
    done = subprocess.run(
        [*METALOOP, *words, "--json"],
        cwd=folder,
        env=environment(code) | surroundings,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{code.name}: metaloop {' '.join(words)}: exit status {done.returncode}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout) if done.stdout.startswith(("{", "[")) else done.stdout


def programs_and_law(code: Path, folder: Path) -> None:
    """What the simulated kinds need: three programs and a task whose results follow a formula."""
    for name in PROGRAMS:
        shutil.copy(code / "programs" / "library" / f"{name}.md", folder)
    simulated_task(random_law(3), folder / "law", name="law")


def prepare(old: Path, folder: Path) -> None:
    """The folders that both codes get, written by the earlier one."""
    programs_and_law(old, folder)
    repository = folder / "repo"
    repository.mkdir()
    (repository / "train.py").write_text(TRAIN)
    (repository / "README.md").write_text(README)
    given = ("--command", "SEED={seed} python train.py", "--metric", "val_loss", "--direction", "lower")
    call(old, folder, "task", "init", "--from", "repo", *given, "--editable", "train.py", "--budget", "2s")


def match(code: Path, folder: Path) -> None:
    programs = [f"./{name}.md" for name in PROGRAMS]
    words = ("-t", "strokes", "-n", "2", "-b", "1.2s", "--no-controls", "--seed", "3", "-j", "1")
    call(code, folder, "match", *programs, *words, "-s", "match", METALOOP_FIXED_STEPS="1")


def evolve(code: Path, folder: Path) -> None:
    words = ("-t", "./law", "--quick", "-n", "2", "-b", "1s", "--seed", "3", "-j", "1")
    call(code, folder, "evolve", *words, "-s", "evolve", METALOOP_GENERATIONS="1")


def improve(code: Path, folder: Path) -> None:
    words = ("-t", "./repo", "-n", "2", "-b", "8s", "--seed", "3", "-j", "1")
    settings = {"METALOOP_GENERATIONS": "1", "METALOOP_FIXED_STEPS": "1"}
    call(code, folder, "improve", "./local.md", *words, "-s", "improve", **settings)


def runs(code: Path, study: Path) -> Runs:
    """The experiments of each run of a study and what came of it, by program, stream and seed; read by its own code."""
    experiments: dict[str, list[object]] = {}
    for row in call(code, study, "sql", str(study), EXPERIMENTS):
        experiments.setdefault(row["run_id"], []).append([row[name] for name in row if name != "run_id"])
    outcomes: Runs = {}
    for row in call(code, study, "sql", str(study), RUNS):
        key = " ".join(str(row[name]) for name in ("program_id", "stream", "run_seed"))
        outcomes[key] = experiments[row["run_id"]], [row["final_source_id"], row["claimed_gain"], row["verified_gain"]]
    return outcomes


def compare(kind: str, before: Runs, after: Runs) -> None:
    both = before.keys() & after.keys()
    measured = sum(len(before[key][0]) for key in both)
    figure(f"{kind}, runs that both made", f"{len(both)} of {len(before)} and {len(after)}, {measured} experiments")
    for part, what in enumerate(("experiments", "results")):
        same = sum(before[key][part] == after[key][part] for key in both)
        figure(f"{kind}, the same {what}", f"{same} of {len(both)}")


def simulated(folder: Path) -> dict[str, list[object]]:
    """The simulated runs of this code, played in ``folder``: a run's number of experiments, their digest, its gains."""
    programs_and_law(ROOT, folder)
    evolve(ROOT, folder)
    return {
        key: [len(experiments), hashlib.sha256(json.dumps(experiments).encode()).hexdigest()[:16], *results]
        for key, (experiments, results) in sorted(runs(ROOT, folder / "evolve").items())
    }


def record(file: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        rows = simulated(Path(folder))
    file.write_text("{\n" + ",\n".join(f"{json.dumps(key)}: {json.dumps(row)}" for key, row in rows.items()) + "\n}\n")


def main() -> None:
    commit, *kinds = sys.argv[1:]
    if commit == "record":
        return record(Path(*kinds))
    with checked_out(commit) as code, tempfile.TemporaryDirectory() as temporary:
        folders = {name: Path(temporary) / name for name in ("old", "new")}
        folders["old"].mkdir()
        prepare(code, folders["old"])
        shutil.copytree(folders["old"], folders["new"])
        for play in (match, evolve, improve):
            if not kinds or play.__name__ in kinds:
                made = []
                for its_code, folder in ((code, folders["old"]), (ROOT, folders["new"])):
                    play(its_code, folder)
                    made.append(runs(its_code, folder / play.__name__))
                compare(play.__name__, *made)


if __name__ == "__main__":
    main()

"""The commands of bench/ that README names run once at their smallest size, and their figures can be read.

METALOOP_MONTHLY=1 runs all of them: `.ci/monthly`.
"""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.simulated_tasks import random_law, simulated_task
from tests.forked import run_module

ROOT = Path(__file__).resolve().parents[1]
MONTHLY = "METALOOP_MONTHLY" in os.environ
TRIED = "--quick -n 2 --set generations=1 -b 0.4s"
NUMBER = r"([-+]?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?)"


#: A command's words, {one} a simulated task, {tmp} an empty folder, {quick} a study that has ended; then the figures
#: that stand in what it prints, each # a finite number.
CASES: dict[str, tuple[str, ...]] = {
    "agents": ("small", "small, experiments besides the baseline: 3", "small, of them the sandbox: #"),
    "attribution": ("2", "factorial_rmse: #", "top3_ablation_of_all_20: #"),
    "chat": ("overhead", "overhead_ms_per_turn: #", "overhead_cpu_ms_per_turn: #"),
    "clock": ("4", "training_beyond_experiment: #, #, #, # CPU-s", "refused: # of 4"),
    "contest_decision": ("2 spread", "plan: # runs at most", "spread_best_named: # [#, #]", "spread_runs: #"),
    "contradictions": ("1", "studies: 1", "contradictions: 0"),
    "coverage": (
        "{tmp}/coverage.jsonl verify 3 2 1 tabular",
        "verify, tabular, small, 2 seeds: the 95% interval contains the mean of the other checks: # of 3",
        "mean #, SD between checks: #, standard error implied #", "verify, tabular, CPU-seconds a check: #",
    ),
    "credit": ("{tmp}/credit.jsonl 5 1", "significant row, all: # of 5", "planted, edit, observational: # of #"),
    "home": ("tests 50 1", "normal, 0% gain 0 SD: false # of # merged", "one pair in 50 fails, 50% gain 4 SD: false #"),
    "hostile": ("-k terminal_is_given", "attacks tried: 9", "through: 0"),
    "judge": ("30", "noise known, gate of judge: false # [#, #], of effects #", "100 rows, strict best: false #"),
    "league": (
        "", "turns and calls: 256, 269", "all, all programs alike: p: 0.189", "two programs: #, at most #",
        "bold-then-fine 1.52 (0.46 [0.11, 0.80])",
    ),
    "metering": ("--only loop", "loop: charged #, cgroup #", "worst: #%"),
    "mutants": ("draw bench/size.py -n 1 --tests tests/test_size.py", "killed: 1 of 1 [#, #]", "not run: 0"),
    "nights": ("{tmp}/nights.jsonl 1 8 1 tabular", "1 nights on 1 tasks, gain of main", "at least as good"),
    "nulls": ("drawn 5", "drawn null claims, normal: # of 5 = # [#, #]"),
    "pictures": ("{quick} {tmp}", "credit.svg", "champion.svg", "recording.svg", "card.svg"),
    "own_share": (
        "{tmp}/own.jsonl simulated 1 1", "own share above 0: # of 1", "study's best train.py: #", "seconds a study: #",
    ),
    "planted": ("1", "coverage, paired, normal: # [#, #] of #"),
    "quick": ("{tmp} {one}", "quick_wall_seconds: #", "quick_experiments: #", "quick_experiments_trained: #"),
    "redteam": (
        "-n 2 {root}/tests/programs/common/test_nesting.py {root}/tests/redteam/test_seeds.py",
        "exploits_tried: 2 of #", "with_gain_or_harm: 0",
    ),
    "report": ("50", "experiments: #", "views and attribution: # s", "report: # s"),
    "window": ("500", "first page: # s", "from the ledger to the page, median of 10: # s"),
    "sandbox": ("-n 1", "sandboxed_launch: # ms", "added_by_the_sandbox: # ms"),
    "sweep": ("{tmp}/kb {one}", "one, experiments: #,"),
    "size": ("", "trainer, thousand tokens # # #", "product: # thousand tokens, # lines of Python"),
}  # fmt: skip
WANTS_MORE = ("hostile",)  # exits with 1, for it tried some attacks only
#: Why a command is not run here.
NOT_HERE = {
    "accessibility": "needs axe-core from npm; tests/meta/test_window.py opens the same pages in a browser",
    "cluster": "two real nodes of Ray and a match on each: tests/arena/cluster/test_two_nodes.py runs what it measures",
    "contest_load": "readers by the hundred; tests/arena/contest/test_web.py and test_kill.py try its parts",
    "gpu": "needs a GPU",
    "older": "needs the git repository and plays all twice; tests/test_older.py plays the simulated runs",
}


def commands() -> set[str]:
    return {path.stem for path in (ROOT / "bench").glob("*.py") if '\nif __name__ == "__main__"' in path.read_text()}


def test_bench_command_has_a_case_or_a_reason() -> None:
    assert commands() == {*CASES, *NOT_HERE} and not CASES.keys() & NOT_HERE


def run(name: str, **places: object) -> str:
    """What the command prints, blanks made one."""
    words = [word.format(root=ROOT, **places) for word in CASES[name][0].split()]
    done = run_module(f"bench.{name}", *words, cwd=ROOT, env={**os.environ, "BENCH_TRIED": TRIED})
    assert done.returncode == (name in WANTS_MORE), done.stdout[-2000:] + done.stderr[-3000:]
    return " ".join(done.stdout.split())


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated_task(random_law(2), tmp_path_factory.mktemp("tasks") / "one", name="one", experiments=4)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory, one: Path) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("quick")
    return folder / "quick", run("quick", tmp=folder, one=one)


def chosen() -> list[str]:
    published = re.findall(r"python -m bench\.(\w+)", (ROOT / "README.md").read_text())
    return sorted(CASES if MONTHLY else published)


@pytest.mark.slow
@pytest.mark.parametrize("name", chosen())
def test_bench_command_prints_its_figures(name: str, tmp_path: Path, one: Path, request: pytest.FixtureRequest) -> None:
    words, *figures = CASES[name]
    needs = name == "quick" or "{quick}" in words
    study, printed = request.getfixturevalue("quick") if needs else (tmp_path, "")
    shown = printed if name == "quick" else run(name, tmp=tmp_path, quick=study, one=one)
    for figure in figures:
        found = re.search(re.escape(figure).replace(r"\#", NUMBER), shown)
        assert found, f"{figure}: not in {shown[:3000]}"
        assert all(math.isfinite(float(number.replace(",", ""))) for number in found.groups())


NIGHT = """import os, random
LR = 0.02
rng, weight = random.Random(int(os.environ.get("SEED", "1"))), 0.0
for _ in range(400):
    x = rng.gauss(0, 1)
    weight -= LR * 0.2 * x * (weight * x - 3 * x - rng.gauss(0, 0.3))
device = "cuda" if os.path.exists("/dev/nvidia0") else "cpu"
print(f"val_loss: {(weight - 3) ** 2 + 0.01:.6f}")
"""


def night(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    repository = folder / "repo"
    repository.mkdir()
    (repository / "train.py").write_text(NIGHT)
    text = "Run `python train.py`. It prints val_loss; lower is better. Edit only train.py. One run takes 2 seconds.\n"
    (repository / "program.md").write_text(text)
    for words in ("init -q", "add -A", "-c user.name=u -c user.email=u@e.org commit -qm 1"):
        subprocess.run(["git", *words.split()], cwd=repository, check=True)
    told = {**os.environ, "PYTHON": sys.executable, "OUT": str(folder / "out"), **environment}
    command = [str(ROOT / "bench" / "gpu.sh"), "repo", str(repository), "20s", "--seed", "none", "--metric", "val_loss",
               "--noise", "unknown"]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, env=told, check=False)


def test_a_night_needs_a_gpu(tmp_path: Path) -> None:
    done = night(tmp_path, METALOOP_DEVICES="cpu")
    assert done.returncode == 2 and "no GPU here" in done.stdout and not (tmp_path / "out").exists()


if MONTHLY:

    @pytest.mark.slow
    def test_bench_gpu_ends_a_night_with_a_stand_in_for_the_gpu(tmp_path: Path) -> None:
        done = night(tmp_path, STAND_IN="1", METALOOP_DEVICES="", METALOOP_CACHE=str(tmp_path / "cache"))
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
        steps = [line.split()[2:4] for line in done.stdout.splitlines() if line.startswith("$ metaloop")]
        assert [words[0] for words in steps] == ["task", "task", "improve", "resume"]
        assert 'device = "gpu"' in (tmp_path / "repo" / "task.toml").read_text()
        assert "one night, because" in " ".join(done.stdout.split())
        assert (tmp_path / "out" / "night" / "champion.md").is_file()
        assert "no figure here is one of a GPU" in done.stdout
        assert list((tmp_path / "cache").glob("compiled/repo-*.pack")), "the command's compile cache was not filled"

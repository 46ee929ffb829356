"""A repository of somebody else's, a task made of it, and what holds of every study that improves its program."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from analysis.ledger import verify
from analysis.study import query
from meta.cli.main import run
from tests.llm.kits import KEY
from tests.trainer import foreign_repos

AGENTS = Path(__file__).parents[1] / "inner_loop" / "agents"
#: one generation of the smallest study: three experiments a run
SIZE = (
    "--budget", "16s", "--run-budget", "0.12s", "-n", "2", "--set", "generations=1", "--seed", "3",
    "--set", "fixed_steps=true", "--json",
)  # fmt: skip
#: of 40 experiments
NIGHT = ("--budget", "1.6s", "--seed", "3", "--set", "fixed_steps=true", "--json")
BUDGET = "seconds = 0.03\ncost = 0.04\nsteps = 1\nseconds_per_step = 0.04\n"


def make_task(folder: Path) -> Path:
    """`task init --from` and `task check` of the shape of the first autoresearch.

    What an experiment costs is set, and charged as set in fixed-step mode: so cheap a one is a few ticks of the clock
    that counts CPU time, and another number of them on a busy machine.
    """
    theirs = foreign_repos.original(folder / "theirs")
    words = ["--command", "uv run train.py", "--metric", "val_bpb", "--editable", "train.py", "--budget", "1s"]
    assert run(["task", "init", "--from", str(theirs), str(folder / "task"), *words]) == 0
    path = folder / "task" / "task.toml"
    text, times = re.subn(r"(?m)^seconds = 1\.0\ncost = .*\n", BUDGET, path.read_text())
    assert times == 1
    path.write_text(text)
    assert run(["task", "check", str(folder / "task"), "--no-knobs"]) == 0
    return folder / "task"


def agent(folder: Path) -> str:
    """An agent of the tests, where a sandbox can show it."""
    place = folder / "bin" / "reader.py"
    place.parent.mkdir(exist_ok=True)
    place.write_text((AGENTS / "reader.py").read_text())
    place.chmod(0o755)
    return str(place)


def surroundings(url: str) -> dict[str, str]:
    return {**os.environ, "OPENAI_API_BASE": url, "OPENAI_API_KEY": KEY}


def metaloop(*words: str, url: str) -> subprocess.CompletedProcess[str]:
    """The command beside the server at ``url``; how long it takes is the test's limit alone."""
    command = [sys.executable, "-m", "meta.cli.main", *words]
    return subprocess.run(command, env=surroundings(url), capture_output=True, text=True, check=False)


def assert_sound(study: Path, task: Path) -> None:
    """A champion that can be read, runs that are sound, and a model's child that ran."""
    assert run(["program", "lint", str(study / "champion.md"), "-t", str(task)]) == 0
    assert_runs_sound(study)
    runs = query(study, "SELECT run_id, program_id FROM runs")
    asked = query(study, "SELECT DISTINCT run_id FROM experiments WHERE decision NOT IN ('baseline', 'replicate')")
    calls = query(study, "SELECT run_id FROM calls")
    assert [call for call in calls if call["run_id"] is None]
    assert {call["run_id"] for call in calls} >= {row["run_id"] for row in asked}  # seeds of the baseline need no model
    bred = query(study, "SELECT child_id FROM mutations WHERE model IS NOT NULL AND accepted")
    assert {row["child_id"] for row in bred} & {row["program_id"] for row in runs}


def assert_runs_sound(study: Path) -> None:
    """Equal budgets, whole books, calls with tokens, and no key on disk."""
    verify(study / "ledger")
    runs = query(study, "SELECT run_id, program_id, state, device_seconds_charged AS charged FROM runs")
    assert {row["state"] for row in runs} == {"finished"} and len({round(row["charged"], 9) for row in runs}) == 1
    assert not query(study, "SELECT seq FROM events WHERE kind = 'fault'")
    tried: dict[str, list[int]] = {}
    for row in query(study, "SELECT run_id, number, status, decision FROM experiments ORDER BY run_id, number"):
        tried.setdefault(row["run_id"], []).append(row["number"])
        assert row["decision"] and row["status"] != "fault"
    assert set(tried) == {row["run_id"] for row in runs}
    assert all(numbers == list(range(len(numbers))) for numbers in tried.values())
    assert sum(map(len, tried.values())) > 2 * len(runs)  # more than the baselines, by far
    calls = query(study, "SELECT status, tokens, tokens_in FROM calls")
    assert all(call["tokens"] > 0 and call["tokens_in"] > 0 for call in calls if call["status"] == "ok")
    assert not list(study.glob("runs/*/agent/worktree"))
    for path in study.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


def plain_loop(folder: Path, program: bytes) -> tuple[list[str], list[str]]:
    """The reader follows a program in a repository without Metaloop: what it said, and the subjects of its commits."""
    place = foreign_repos.original(folder)
    (place / "program.md").write_bytes(program)
    own = {
        "PATH": os.defpath, "HOME": str(folder), "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b",
    }  # fmt: skip

    def command(*words: str) -> str:
        return subprocess.run(words, cwd=place, env=own, check=True, capture_output=True, text=True).stdout

    (place / ".gitignore").write_text("run.log\n__pycache__/\n")
    command("git", "init", "-q")
    command("git", "add", ".")
    command("git", "commit", "-qm", "start")
    said = command(sys.executable, str(AGENTS / "reader.py"), "6", sys.executable, "train.py").splitlines()
    assert not command("git", "status", "--short")
    return said, command("git", "log", "--format=%s").splitlines()

"""The examples of the gate, followed by a stand-in agent: one that only writes comments, and one with real changes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.analysis.imports.samples import tsv

GATE = Path(__file__).parents[1] / "examples" / "gate"
#: Changes train.py and prints what it did. A null agent adds a comment, every third change of a planted one is real.
AGENT = """import sys
from pathlib import Path
count = Path("count.txt")
number = int(count.read_text() or 0) + 1
count.write_text(str(number))
path, text = Path("train.py"), Path("train.py").read_text()
good = sys.argv[1] == "planted" and number % 3 == 0
if good:
    before = text.count("# real")
    text = text.replace(f"GOOD = {before}", f"GOOD = {before + 1}") + "# real\\n"
path.write_text(text + f"# idea {number}\\n")
print(f"{'real' if good else 'null'} {number}")
"""
#: The metric: .5 lower for each real change, with noise of SD .1 that differs in every training.
SCRIPT = """import random
GOOD = 0
print("epoch 1")
print(f"{5 - 0.5 * GOOD + random.gauss(0, 0.1):.4f}")
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(SCRIPT)
    (tmp_path / "agent.py").write_text(AGENT)
    (tmp_path / "count.txt").write_text("0")
    (tmp_path / ".gitignore").write_text("results.tsv\ncount.txt\nagent.py\n")
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "start")
    return tmp_path


def surroundings() -> dict[str, str]:
    names = {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return {**os.environ, **names, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def git(folder: Path, *words: str, code: int = 0) -> str:
    done = subprocess.run(["git", *words], cwd=folder, env=surroundings(), capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def looped(folder: Path, agent: str, times: int) -> list[str]:
    """The subjects of the commits that the loop made."""
    env = surroundings() | {"AGENT": f"{sys.executable} agent.py {agent}", "TRAIN": f"{sys.executable} train.py"}
    subprocess.run(["sh", str(GATE / "loop.sh"), str(times)], cwd=folder, env=env, check=True, capture_output=True)
    return git(folder, "log", "--reverse", "--format=%s").split("\n")[1:-1]


@pytest.mark.slow
def test_loop_keeps_real_changes_and_few_others(here: Path) -> None:
    kept = looped(here, "planted", 9)
    assert {"real 3", "real 6", "real 9"} <= {*kept} and len(kept) <= 4  # .5 is five SD
    statuses = re.findall(r"\t(keep|discard)\t(.+)\n", (here / "results.tsv").read_text())
    assert [what for status, what in statuses if status == "keep"] == kept and len(statuses) == 9
    done = subprocess.run(
        ["metaloop", "judge", "results.tsv"], cwd=here, env=surroundings(), capture_output=True, text=True
    )
    assert done.returncode == 0 and f"{len(kept)} kept" in done.stdout


@pytest.mark.slow
def test_loop_of_a_commenting_agent_keeps_next_to_nothing(here: Path) -> None:
    assert len(looped(here, "null", 12)) <= 2  # of 12 at 5% each: more than 2 has a probability of .02


def test_hook_refuses_what_the_gate_discards(here: Path) -> None:
    hook = here / ".git" / "hooks" / "pre-commit"
    hook.write_bytes((GATE / "pre-commit").read_bytes())
    hook.chmod(0o755)
    head = ("script_hash|val_loss|status|description", "a|5.0||baseline", "a|5.1||baseline", "a|4.9||baseline")
    for last, code in (("b|5.5||worse", 1), ("b|4.9||undecided", 1), ("b|3.0||better", 0)):
        (here / "results.tsv").write_text(tsv(*head, last))
        (here / "train.py").write_text(SCRIPT + f"# {last}\n")
        git(here, "commit", "-qam", last, code=code)
    (here / "results.tsv").write_text(tsv(*head, "c|5.5||worse"))
    (here / "notes.txt").write_text("another file")
    git(here, "add", "notes.txt")
    git(here, "commit", "-qm", "notes")


def test_workflow_runs_the_commands_of_the_gate(here: Path) -> None:
    """The two commands of the workflow, as GitHub's shell runs them."""
    lines = re.findall(r"- run: (metaloop .*)", (GATE / "gate.yml").read_text())
    assert len(lines) == 2
    head = ("script_hash|val_loss|status|description", "a|5.0||baseline", "a|5.1||baseline", "a|4.9||baseline")
    env = surroundings() | {"GITHUB_STEP_SUMMARY": "summary.md"}
    for last, codes in (("b|3.0||better", [0, 0]), ("b|5.5||worse", [0, 10])):
        (here / "results.tsv").write_text(tsv(*head, last))
        assert [
            subprocess.run(["bash", "-e", "-c", line], cwd=here, env=env, check=False).returncode for line in lines
        ] == codes
    assert (here / "summary.md").read_text().startswith("results.tsv ")


def test_skill_names_commands_and_words_that_exist(here: Path) -> None:
    """The steps of the skill, taken by a stand-in: each exit code and first line of its table comes as it says."""
    text = (GATE / "SKILL.md").read_text()
    assert text.startswith("---\nname: metaloop-gate\ndescription: ") and len(text.splitlines()) < 45
    table = re.findall(r"^   \| (\d+) \| (.+?) \| ", text, re.M)
    head = ("script_hash|val_loss|status|description", *(f"3b18e5|{1.534 + k / 100}||baseline" for k in (0, -1, 1, 0)))
    logs = {"0": "4|1.2||x", "10": "4|1.8||x", "11": "4|1.51||x", "2": "4|soon||x"}
    for code, first in table:
        (here / "results.tsv").write_text(tsv(*head, logs[code]))
        words = ["metaloop", "judge", "results.tsv", "--last"]
        done = subprocess.run(words, cwd=here, env=surroundings(), capture_output=True, text=True, check=False)
        assert str(done.returncode) == code and (done.stdout or done.stderr).startswith(first.split(":")[0])
    assert [code for code, _ in table] == ["0", "10", "11", "2"]

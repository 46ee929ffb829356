"""The examples of the gate, followed by a stand-in agent, two of whose three changes are comments."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.analysis.imports.samples import tsv
from tests.meta.cli_study import metaloop

GATE = Path(__file__).parents[1] / "examples" / "gate"
HEAD = ("script_hash|val_loss|status|description", "a|5.0||baseline", "a|5.1||baseline", "a|4.9||baseline")
#: Changes train.py and prints what it did: it adds a comment, and every third change is real.
AGENT = """from pathlib import Path
count = Path("count.txt")
number = int(count.read_text()) + 1
count.write_text(str(number))
path, text = Path("train.py"), Path("train.py").read_text()
if number % 3 == 0:
    before = text.count("# real")
    text = text.replace(f"GOOD = {before}", f"GOOD = {before + 1}") + "# real\\n"
path.write_text(text + f"# idea {number}\\n")
print(f"{'null' if number % 3 else 'real'} {number}")
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
    for words in ("init -q -b main", "add -A", "commit -q -m start"):
        execute(tmp_path, "git", *words.split())
    return tmp_path


def execute(folder: Path, *words: str, code: int = 0, **more: str) -> str:
    """What a command prints, which ends with this code."""
    names = {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = os.environ | names | {"PATH": path} | more
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_loop_keeps_real_changes_and_few_others(here: Path) -> None:
    agent, train = (f"{sys.executable} {name}.py" for name in ("agent", "train"))
    execute(here, "sh", str(GATE / "loop.sh"), "6", AGENT=agent, TRAIN=train)
    kept = execute(here, "git", "log", "--reverse", "--format=%s").split("\n")[1:-1]
    assert {"real 3", "real 6"} <= {*kept} and len(kept) <= 3  # .5 is five SD; 4 others at 5% each
    statuses = re.findall(r"\t(keep|discard)\t(.+)\n", (here / "results.tsv").read_text())
    assert [what for status, what in statuses if status == "keep"] == kept and len(statuses) == 6
    assert f"{len(kept)} kept" in execute(here, "metaloop", "judge", "results.tsv")


def test_hook_refuses_what_the_gate_discards(here: Path) -> None:
    hook = here / ".git" / "hooks" / "pre-commit"
    hook.write_bytes((GATE / "pre-commit").read_bytes())
    hook.chmod(0o755)
    for last, code in (("b|5.5||worse", 1), ("b|4.9||undecided", 1), ("b|3.0||better", 0)):
        (here / "results.tsv").write_text(tsv(*HEAD, last))
        (here / "train.py").write_text(SCRIPT + f"# {last}\n")
        execute(here, "git", "commit", "-qam", last, code=code)
    (here / "results.tsv").write_text(tsv(*HEAD, "c|5.5||worse"))
    (here / "notes.txt").write_text("another file")
    execute(here, "git", "add", "notes.txt")
    execute(here, "git", "commit", "-qm", "notes")


def test_workflow_runs_the_commands_of_the_gate(here: Path) -> None:
    """The two commands of the workflow, as GitHub's shell runs them."""
    lines = re.findall(r"- run: (metaloop .*)", (GATE / "gate.yml").read_text())
    assert len(lines) == 2
    for last, codes in (("b|3.0||better", (0, 0)), ("b|5.5||worse", (0, 10))):
        (here / "results.tsv").write_text(tsv(*HEAD, last))
        for line, code in zip(lines, codes, strict=True):
            execute(here, "bash", "-e", "-c", line, code=code, GITHUB_STEP_SUMMARY="summary.md")
    assert (here / "summary.md").read_text().startswith("results.tsv ")


def test_skill_names_commands_and_words_that_exist(tmp_path: Path) -> None:
    """The steps of the skill, taken by a stand-in: each exit code and first line of its table comes as it says."""
    text = (GATE / "SKILL.md").read_text()
    assert text.startswith("---\nname: metaloop-gate\ndescription: ") and len(text.splitlines()) < 45
    table = re.findall(r"^   \| (\d+) \| (.+?) \| ", text, re.M)
    head = (HEAD[0], *(f"3b18e5|{1.534 + k / 100}||baseline" for k in (0, -1, 1, 0)))
    logs = {"0": "4|1.2||x", "10": "4|1.8||x", "11": "4|1.51||x", "2": "4|soon||x"}
    for code, first in table:
        (tmp_path / "results.tsv").write_text(tsv(*head, logs[code]))
        done = metaloop("judge", "results.tsv", "--last", code=int(code), cwd=tmp_path)
        assert (done.stdout or done.stderr).startswith(first.split(":")[0])
    assert [code for code, _ in table] == ["0", "10", "11", "2"]

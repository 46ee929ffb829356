"""A night on a script whose metric is a share of fixed rows, and which no seed changes: what may be said of one row."""

from __future__ import annotations

import html
import json
import math
import subprocess
from pathlib import Path

import pytest

from analysis.study import query
from bench.contradiction.screens import visible
from tests.meta.cli_study import metaloop
from tests.trainer.foreign_repos import write_files
from trainer.rows import luck_of_looks, share_error
from trainer.sandbox import bwrap

TRAIN = """LEVEL = 1
wrong = 11 - min(LEVEL, 2)  # of 100 rows that are always the same
print("val_err:", wrong / 100)
"""
TASK = """[task]
name = "rows"
metric = "val_err"
editable = ["train.py"]
read_only = []

[budget]
seconds = 0.05
cost = 0.1
steps = 1
seconds_per_step = 0.1
hard_extra = 10.0

[score]
kind = "printed"
pattern = '^val_err: (.*)'
{score}
[run]
command = "python train.py"

[edits.LEVEL]
kind = "int"
values = [1, 2]
"""
PROGRAM = "---\nmetaloop: {proposers: {queue: 1.0}}\n---\n# Mine\n\n## Ideas\n\n- Use `LEVEL=2`.\n"
UNKNOWN = (
    "main is not shown to be better: on the same data val_err 0.100 → 0.090; "
    "whether it holds on other data is not known"
)
USER = ("-c", "user.name=u", "-c", "user.email=u@example.org")

pytestmark = pytest.mark.skipif(bwrap.probe() is not None, reason=str(bwrap.probe()))


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout


def repository(folder: Path, score: str = "") -> Path:
    write_files(folder, {"train.py": TRAIN, "task.toml": TASK.format(score=score), "program.md": PROGRAM})
    for words in (["init", "-q"], ["add", "-A"], [*USER, "commit", "-qm", "first"]):
        git(folder, *words)
    return folder


def words_of(task: Path) -> list[object]:
    return ["improve", task / "program.md", "-t", task, "--budget", "1.6s", "--seed", "2", "-y", "--apply"]


def test_a_row_of_a_fixed_set_is_no_gain_and_no_branch(tmp_path: Path) -> None:
    task, study = repository(tmp_path / "repo"), tmp_path / "study"
    ended = metaloop(*words_of(task), "-s", study)
    shown = " ".join(ended.stdout.split())
    assert UNKNOWN in shown and "better than the untouched" not in shown and "fresh seed" not in shown
    assert "no branch: " in ended.stderr and "--set data_noise=unknown" in ended.stderr
    assert git(task, "branch", "--list", "metaloop/*") == ""
    [row] = query(study, "SELECT low, high, noise, start, end_ FROM harvest")
    assert row == {"low": None, "high": None, "noise": "", "start": pytest.approx(0.1), "end_": pytest.approx(0.09)}
    found = metaloop("resume", study, "--json").json
    assert found["state"] == "open" and found["decision"]["looks"]["tries"] == 1
    metaloop("report", study, "-o", study / "page.html")
    page = visible(html.unescape((study / "page.html").read_text()))
    assert "not known on other data" in page and UNKNOWN in page and "\n● significant" not in page
    assert "0.010, 0.010" not in page + shown + (study / "champion.evidence.md").read_text() + json.dumps(found)
    applied = metaloop("resume", study, "--apply", "--set", "data_noise=unknown").stderr
    assert "branch metaloop/study" in applied
    message = git(task, "log", "-1", "--format=%B", "metaloop/study")
    assert message.startswith("metaloop: train.py (val_err 0.100 → 0.090) of study study\n")
    assert UNKNOWN.replace("main is", "train.py is") in message


@pytest.mark.slow
def test_interval_of_a_share_allows_for_the_luck_of_experiments(tmp_path: Path) -> None:
    """Also once the run has ended, and its experiments are no longer held."""
    task, study = repository(tmp_path / "repo", "n_rows = 100000\n"), tmp_path / "study"
    for name, old, new in (
        ("train.py", "11 - min(LEVEL, 2)", "50 - 5 * min(LEVEL, 5) - 0.01 * (LEVEL == 6)"),
        ("task.toml", "[1, 2]", "[1, 2, 3, 4, 5, 6]"),
        ("program.md", "Use `LEVEL=2`.", "Use `LEVEL=3`.\n- Use `LEVEL=4`.\n- Use `LEVEL=5`.\n- Use `LEVEL=6`."),
    ):  # fmt: skip
        (task / name).write_text((task / name).read_text().replace(old, new))
    git(task, *USER, "commit", "-qam", "levels")
    metaloop(*words_of(task), "-s", study)
    [row] = query(study, "SELECT start - end_ AS gain, low, high, start FROM harvest")
    [ran] = query(study, "SELECT count(*) AS n FROM experiments")
    luck = luck_of_looks(math.sqrt(2) * share_error(row["start"], 100_000), ran["n"])
    said = "by less than noise can do: 1; the best has 0.2499."
    assert said in (study / "champion.evidence.md").read_text()
    assert ran["n"] >= 3 and (row["gain"] - row["low"]) - (row["high"] - row["gain"]) == pytest.approx(luck, rel=1e-3)


def test_an_exact_metric_is_better_without_an_interval(tmp_path: Path) -> None:
    task, study = repository(tmp_path / "repo", "exact = true\n"), tmp_path / "study"
    ended = metaloop(*words_of(task), "-s", study)
    shown = " ".join(ended.stdout.split())
    assert "main is better than the untouched script by +0.010 val_err (val_err 0.100 → 0.090; exact)" in shown
    assert "branch metaloop/study" in ended.stderr and "No fresh data" not in shown
    assert metaloop("resume", study, "--json").json["state"] == "better"


@pytest.mark.slow
def test_night_that_finds_another_seed_makes_no_branch(tmp_path: Path) -> None:
    task, study = repository(tmp_path / "task", "exact = true\n"), tmp_path / "study"
    for name in ("train.py", "task.toml", "program.md"):
        (task / name).write_text((task / name).read_text().replace("LEVEL", "RANDOM_STATE"))
    git(task, *USER, "commit", "-qam", "seed")
    ended = metaloop(*words_of(task), "-s", study)
    seed = "its only change is a seed (RANDOM_STATE = 1 → RANDOM_STATE = 2)"
    sentence = f"main is not better than the untouched script: {seed}"
    assert sentence in " ".join(ended.stdout.split()) and "its only change is a seed" in ended.stderr
    assert sentence in (study / "champion.evidence.md").read_text()
    assert git(task, "branch", "--list", "metaloop/*") == ""

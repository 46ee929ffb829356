"""Tasks of a kind: hidden data that are public, a metric that is a time, constraints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.simulated_tasks import random_law, simulated_task
from bench.whole import resized
from tests.meta.cli_study import Call
from tests.meta.evolved import evolved
from tests.studies import TINY
from tests.trainer.limited_task import LATENCY, MEMORY, SOFT, limited
from trainer.task import Task


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METALOOP_CACHE", str(tmp_path / "cache"))


def public_law(folder: Path) -> Path:
    """A simulated task that says of itself that its hidden data are public."""
    made = simulated_task(random_law(2), folder, experiments=6)
    with open(made / "task.toml", "a", encoding="utf-8") as file:
        file.write("\n[data]\npublic = true\n")
    return made


def test_evidence_of_a_champion_says_that_the_data_are_public(tmp_path: Path) -> None:
    task = Task.load(public_law(tmp_path / "open"))
    plan = resized(TINY, generations=0, opening_runs=2)
    evolved(tmp_path / "s", task, plan, run_budget=6 * task.cost_seconds, seed=3)
    assert "**planted: its hidden data are public" in (tmp_path / "s" / "champion.evidence.md").read_text()


def test_verify_says_it_too(call: Call, tmp_path: Path) -> None:
    law = public_law(tmp_path / "open")
    said = call("verify", law / "train.py", "-t", law, "-n", "2").stderr
    assert "planted: its hidden data are public" in said


def test_one_experiment_runs_at_a_time_and_more_are_refused(call: Call, tmp_path: Path) -> None:
    task = simulated_task(random_law(2), tmp_path / "law", experiments=6)
    toml = task / "task.toml"
    toml.write_text(toml.read_text().replace("[task]\n", "[task]\ntimed = true\n"))
    for words in (("match", "stock", "local", "-n", "4"), ("evolve", "--quick")):
        given = (*words, "-t", str(task))
        assert call(*given, "--dry-run", "--json").json["workers"] == 1
        for more in (("-j", "2"), ("--set", "devices_per_run=2")):
            said = call(*given, *more, "--dry-run", code=2).stderr
            assert "its metric is a time, so only one experiment runs at a time" in said


@pytest.mark.slow
def test_evidence_page_shows_values_and_limits_of_both(tmp_path: Path) -> None:
    task = limited(tmp_path / "task", MEMORY + LATENCY + SOFT)
    plan = resized(TINY, generations=0, final={"without-ideas": 0})
    evolved(tmp_path / "study", task, plan, run_budget=0.6, seed=3, fixed_steps=True)
    page = (tmp_path / "study" / "champion.evidence.md").read_text()
    rows = [re.split(r" *\| *", line)[1:-1] for line in page.splitlines() if line.startswith(("| `lat", "| `mem"))]
    assert [(row[0], *row[2:6], row[9]) for row in rows] == [
        ("`latency`", "false", "–", "6.00", "champion", "ms"),
        ("`latency`", "false", "–", "6.00", "stock", "ms"),
        ("`memory`", "true", "–", "50.0", "champion", "MB"),
        ("`memory`", "true", "–", "50.0", "stock", "MB"),
    ]
    assert all(float(least) <= float(mean) <= float(most) and int(n) > 0 for *_, mean, least, most, _, n, _ in rows)
    assert [row[11] for row in rows[2:]] == ["0", "0"]

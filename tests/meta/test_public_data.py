"""Tasks whose hidden data are public: refused by contests, and named where they support a claim."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.meta.cli_study import Call
from tests.meta.evolved import evolved
from tests.studies import TINY
from trainer.laws.planted import random_law, simulated_task
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


def test_the_evidence_of_a_champion_says_that_the_data_are_public(tmp_path: Path) -> None:
    task = Task.load(public_law(tmp_path / "open"))
    plan = replace(TINY, generations=0, opening_runs=2, run_budget=6 * task.cost_seconds)
    evolved(tmp_path / "s", task, plan, seed=3)
    assert "**planted: its hidden data are public" in (tmp_path / "s" / "champion.evidence.md").read_text()


def test_verify_says_it_too(call: Call, tmp_path: Path) -> None:
    law = public_law(tmp_path / "open")
    code, _, err = call("verify", str(law / "train.py"), "-t", str(law), "-n", "2")
    assert code == 0 and "planted: its hidden data are public" in err


def test_a_contest_refuses_a_public_task(call: Call, tmp_path: Path) -> None:
    law = public_law(tmp_path / "open")
    code, _, err = call("contest", "init", "cup", "-t", str(law))
    assert code == 2 and "cannot be used in a contest" in err and not (tmp_path / "cup").exists()


def test_another_language_by_the_command(call: Call) -> None:
    assert json.loads(call("task", "init", "dialect", "--grammar", "7", "--json")[1])["grammar"] == 7
    assert json.loads(call("task", "show", "dialect", "--json")[1])["grammar"] == 7
    assert json.loads(call("task", "show", "tinylm", "--json")[1])["grammar"] == 1

"""A model that writes for a study on two tasks: it is told of both, searches the runs on both, and cites both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from analysis.study import query
from meta.begin import create
from tests.llm.kits import environment, staff
from tests.llm.tooling import ToolServer, searcher
from tests.meta.llm.test_study import PLAN, carry_on
from trainer.planted import random_law, simulated_task
from trainer.task import Task

pytestmark = pytest.mark.slow
ATTEMPTS = "SELECT record FROM events WHERE kind = 'mutation' AND record ->> 'model' IS NOT NULL ORDER BY place"
Attempts = list[dict[str, Any]]


def planted(folder: Path, seed: int) -> Task:
    return Task.load(simulated_task(random_law(seed), folder, name=folder.name, experiments=8))


@pytest.fixture(scope="module")
def ended(litellm_loaded: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("several")
    north, south = planted(root / "north", 2), planted(root / "south", 3)
    with pytest.MonkeyPatch.context() as patch, ToolServer(searcher) as server:
        environment(patch, server.url)
        crew = staff(reply_tokens=2000, traces="tools")
        create(root / "study", task=north, further=[south], plan=PLAN, workers=1, seed=3, model_config=crew)
        carry_on(root / "study")
        yield root / "study"


@pytest.fixture(scope="module")
def attempts(ended: Path) -> Attempts:
    return [row["record"] for row in query(ended, ATTEMPTS)]


def test_it_is_told_of_both_tasks_and_their_evidence(attempts: Attempts) -> None:
    prompt = attempts[-1]["prompt"][0]["text"]
    for task in ("north", "south"):
        assert f"Edits of {task} with their values" in prompt and f"## Best final scripts of {task}" in prompt
    assert "Its score is the mean over them" in prompt


def test_it_may_cite_rows_of_either(ended: Path, attempts: Attempts) -> None:
    known = {row["credit_id"] for row in query(ended, "SELECT credit_id FROM credit")}
    known |= {row["run_id"] for row in query(ended, "SELECT run_id FROM runs")}  # of the best final scripts
    cited = {row for attempt in attempts if attempt["accepted"] for row in attempt["evidence_ids"]}
    assert cited and cited <= known
    shown = attempts[-1]["prompt"][0]["text"].partition("# south\n")
    assert all("\n- [e" in part or "\n- lower: [e" in part for part in (shown[0], shown[2]))


def test_its_child_plays_on_both(ended: Path, attempts: Attempts) -> None:
    children = {attempt["child_id"] for attempt in attempts if attempt["accepted"]}
    tasks = {(row["program_id"], row["task"]) for row in query(ended, "SELECT program_id, task FROM runs")}
    assert children and tasks >= {(child, task) for child in children for task in ("north", "south")}


def test_traces_say_on_which_task_a_run_was(ended: Path, attempts: Attempts) -> None:
    """Gains on two tasks have units of their own, so a list of runs without the tasks would compare them."""
    tasks = {row["run_id"]: row["task"] for row in query(ended, "SELECT run_id, task FROM runs")}
    turns = [turn for attempt in attempts for turn in attempt.get("turns", ())]
    listed = [line for turn in turns for line in turn["tools"][0]["result"].splitlines() if line.startswith("runs/")]
    met = set()
    for line in listed:
        task = tasks[line.partition(".txt")[0].rpartition("/")[2]]
        assert f" on {task}, generation" in line
        met.add(task)
    assert met == {"north", "south"}
    for path in (ended / "traces" / "runs").rglob("*.txt"):
        assert f" on {tasks[path.stem]}, generation" in path.read_text().splitlines()[0]

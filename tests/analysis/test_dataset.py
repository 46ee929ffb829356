"""Programs, preferences and traces as JSONL: figures as the study has them, each pair once, nothing torn."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analysis.dataset import dataset
from analysis.study import query
from bench.whole import whole_study
from programs.errors import EnvironmentProblem
from tests.studies import TINY
from trainer.planted import random_law, simulated_task
from trainer.task import Task


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[dict[str, Any]]]]:
    root = tmp_path_factory.mktemp("dataset")
    task = Task.load(simulated_task(random_law(2), root / "task", experiments=8))
    whole_study(task, replace(TINY, run_budget=0.8), 1, root / "study")
    counts = dataset(root / "study", root / "out")
    files = {path.stem: [json.loads(line) for line in path.read_text("utf-8").splitlines()] for path in counts}
    assert {path.stem: count for path, count in counts.items()} == {name: len(rows) for name, rows in files.items()}
    return root / "study", files


def test_outcomes_are_programs_with_their_gain_and_the_page_before_them(written: Any) -> None:
    study, files = written
    runs = query(study, "SELECT program_id, avg(verified_gain) AS gain FROM runs WHERE state = 'finished' GROUP BY 1")
    told = {row["program_id"]: row for row in files["outcomes"]}
    assert {row["program_id"] for row in runs} == set(told)
    for row in runs:
        assert told[row["program_id"]]["gain"] == pytest.approx(row["gain"])
    children = [row for row in told.values() if row["generation"] == 1]
    assert children and all(
        "# Evidence" in row["evidence"] and row["program_id"] not in row["evidence"] for row in children
    )
    assert all(row["evidence"] is None for row in told.values() if row["generation"] == 0)


def test_preferences_name_the_better_one_first_with_its_interval(written: Any) -> None:
    _, files = written
    pairs = files["preferences"]
    assert pairs and all(row["difference"] >= 0 and row["chosen"] and row["rejected"] for row in pairs)
    assert {row["design"] for row in pairs} == {"paired"}
    keys = [(row["match_id"], *sorted((row["chosen_id"], row["rejected_id"]))) for row in pairs]
    assert len(keys) == len(set(keys))
    assert all(row["low"] <= row["difference"] <= row["high"] and row["sure"] == (row["low"] > 0) for row in pairs)


def test_traces_hold_every_attempt_and_what_came_of_it(written: Any) -> None:
    study, files = written
    rows = query(study, "SELECT generation, attempt, accepted, child_id, reason FROM mutations")
    told = {(row["generation"], row["attempt"]): row for row in files["traces"]}
    assert len(told) == len(rows)
    for row in rows:
        trace = told[row["generation"], row["attempt"]]
        assert (trace["accepted"], trace["reason"]) == (row["accepted"], row["reason"]) and trace["parents"][0]
        assert bool(trace["gains"]) == row["accepted"] == (trace["child"] is not None)


def test_a_folder_that_cannot_be_written_is_one_line(written: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentProblem, match="file"):
        dataset(written[0], tmp_path / "file")

"""Models that write programs for two tasks: the traces that they are given, and the data for training."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from analysis.export import open_written, write
from analysis.study import query
from meta.mutators.llm.reply import build_child, parse_reply
from programs.program import Program
from tests.gallery import Gallery
from tests.llm.kits import KEY

ATTEMPTS = "SELECT record FROM events WHERE kind = 'mutation' AND record ->> 'model' IS NOT NULL ORDER BY place"
CALLS = "SELECT record FROM events WHERE kind = 'call' ORDER BY place"
OUTCOME = "SELECT program_id, role, verified_gain FROM runs ORDER BY run_id"
RUN = re.compile(r"^run (\w+) of .*", re.MULTILINE)

Rows = list[dict[str, Any]]


def records(folder: Path, sql: str) -> Rows:
    kept = ("seq", "prev", "hash", "at", "wall_seconds", "reply_seconds")
    return [{k: v for k, v in row["record"].items() if k not in kept} for row in query(folder, sql)]


@pytest.fixture(scope="module")
def ended(gallery: Gallery) -> Path:
    return gallery("written")


@pytest.fixture(scope="module")
def attempts(ended: Path) -> Rows:
    return records(ended, ATTEMPTS)


def test_prompts_hold_the_scripts_and_every_experiment_of_a_run(ended: Path, attempts: Rows) -> None:
    """Gains on two tasks have units of their own, so a list of runs without the tasks would compare them."""
    tasks = {row["run_id"]: row["task"] for row in query(ended, "SELECT run_id, task FROM runs")}
    met = set()
    for text in (attempt["prompt"][1]["text"] for attempt in attempts if not attempt["repairs"]):
        assert "train.py, untouched, of north:" in text and "train.py, untouched, of south:" in text
        assert all(f" on {tasks[run[1]]}, generation" in run[0] for run in RUN.finditer(text))
        met |= {tasks[run[1]] for run in RUN.finditer(text)}
        run_id = next(RUN.finditer(text))[1]
        for e in query(ended, f"SELECT number, experiment_id FROM experiments WHERE run_id = '{run_id}' "
                              "AND number BETWEEN 1 AND 5"):  # fmt: skip
            assert f"experiment {e['number']} {e['experiment_id']} on " in text
    assert met == {"north", "south"}


def test_data_for_training_have_every_child_and_no_keys(ended: Path, tmp_path: Path) -> None:
    with open_written(ended) as con:
        write(con, "written", tmp_path / "written.jsonl", "jsonl")
    told = [json.loads(line) for line in (tmp_path / "written.jsonl").read_text().splitlines()]
    gained = "child_id IN (SELECT child_id FROM credit WHERE method = 'mutation')"
    known = query(ended, f"SELECT child_id FROM mutations WHERE accepted AND model IS NOT NULL AND {gained}")
    assert known and {row["child_id"] for row in told} == {row["child_id"] for row in known}
    texts = {row["program_id"]: row["text"] for row in query(ended, "SELECT program_id, text FROM programs")}
    for row in told:
        assert row["child"] == texts[row["child_id"]] and row["parents"] == [texts[p] for p in row["parent_ids"]]
        assert (
            build_child([Program.parse(text) for text in row["parents"]], parse_reply(row["messages"][-1]["content"]))
            == row["child"]
        )
        roles = [m["role"] for m in row["messages"]]
        assert roles == ["system", "user", "assistant"] and row["messages"][-1]["content"]
    for place in (ended, tmp_path):
        for path in (p for p in place.rglob("*") if p.is_file()):
            assert KEY.encode() not in path.read_bytes(), path


def test_it_is_told_of_both_tasks_and_may_cite_rows_of_either(ended: Path, attempts: Rows) -> None:
    prompt = attempts[-1]["prompt"][0]["text"]
    for task in ("north", "south"):
        assert f"Edits of {task} with their values" in prompt and f"## Best final scripts of {task}" in prompt
    assert "Its score is the mean over them" in prompt
    known = {row["credit_id"] for row in query(ended, "SELECT credit_id FROM credit")}
    known |= {row["run_id"] for row in query(ended, "SELECT run_id FROM runs")}  # of the best final scripts
    cited = {row for attempt in attempts if attempt["accepted"] for row in attempt["evidence_ids"]}
    assert cited and cited <= known
    shown = prompt.partition("# south\n")
    assert all(re.search(r"\n- .*\[e\d+\] ", part) for part in (shown[0], shown[2]))
    children = {attempt["child_id"] for attempt in attempts if attempt["accepted"]}
    tasks = {(row["program_id"], row["task"]) for row in query(ended, "SELECT program_id, task FROM runs")}
    assert children and tasks >= {(child, task) for child in children for task in ("north", "south")}

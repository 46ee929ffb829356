"""Models that search the traces of a study on two tasks before they write: what they are given and what is recorded."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analysis.export import open_written, write
from analysis.study import query
from meta.mutators.llm.calls import ROUNDS
from meta.mutators.llm.reply import child_of, parsed
from meta.study.begin import create
from meta.study.plan import Plan
from programs.program import Program
from tests.llm.kits import KEY, environment, staff
from tests.llm.tooling import ToolServer, searcher
from tests.meta.llm.test_study import carry_on
from tests.studies import TINY, planted

pytestmark = pytest.mark.slow
PLAN = replace(TINY, run_budget=0.8, generations=2, children=3, confirm_runs=2, ablation_runs=0, control_runs=0)
ONE = replace(PLAN, generations=1)  # where one generation tells as much
Play = Callable[..., Path]
ATTEMPTS = "SELECT record FROM events WHERE kind = 'mutation' AND record ->> 'model' IS NOT NULL ORDER BY place"
CALLS = "SELECT record FROM events WHERE kind = 'call' ORDER BY place"
OUTCOME = "SELECT program_id, role, verified_gain FROM runs ORDER BY run_id"
LISTED = re.compile(r"^runs/\w+/(\w+)\.txt: .*", re.MULTILINE)

Rows = list[dict[str, Any]]


def records(folder: Path, sql: str) -> Rows:
    kept = ("seq", "prev", "hash", "at", "wall_seconds", "reply_seconds")
    return [{k: v for k, v in row["record"].items() if k not in kept} for row in query(folder, sql)]


@pytest.fixture(scope="module")
def play(litellm_loaded: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Play]:
    root = tmp_path_factory.mktemp("studies")
    north, south = planted(root / "north", 2, name="north"), planted(root / "south", 3, name="south")

    def played(name: str, answer: Any = searcher, plan: Plan = ONE, both: bool = False, **how: Any) -> Path:
        with pytest.MonkeyPatch.context() as patch, ToolServer(answer) as server:
            environment(patch, server.url)
            crew = staff(**({"reply_tokens": 2000, "traces": "tools"} | how))
            create(root / name, task=north, further=[south] * both, plan=plan, workers=1, seed=3, model_config=crew)
            carry_on(root / name)
        return root / name

    yield played


@pytest.fixture(scope="module")
def ended(play: Play) -> Path:
    """On two tasks."""
    return play("ended", plan=PLAN, both=True)


@pytest.fixture(scope="module")
def attempts(ended: Path) -> Rows:
    return records(ended, ATTEMPTS)


def test_a_model_with_tools_searches_before_it_writes(ended: Path, attempts: Rows) -> None:
    made = {call["number"]: call for call in records(ended, CALLS)}
    searched = [a for a in attempts if a.get("turns")]
    assert searched and [a for a in searched if a["accepted"]]
    for attempt in searched:
        first, second = attempt["turns"]
        assert [tool["name"] for tool in first["tools"]] == ["search", "search"]
        read = second["tools"][0]
        assert json.loads(read["arguments"])["path"].startswith("runs/") and "experiment 0 e" in read["result"]
        assert read["result"].startswith('<data name="read" mark="')
        mine = [made[n] for n in (first["call"], second["call"], attempt["call"])]
        assert [len(call.get("tools", ())) for call in mine] == [2, 1, 0]
        assert {call["status"] for call in mine} == {"ok"} and mine[0]["finish"] == "tool_calls"
        assert attempt["tokens"] == sum(call["tokens"] for call in mine)
        assert "The tools `search` and `read` read these files" in attempt["prompt"][1]["text"]
    asked = {n for a in attempts for n in (a["call"], *(turn["call"] for turn in a.get("turns", ())))}
    assert asked <= set(made)


def test_traces_tell_every_experiment_of_a_run_and_on_which_task_it_was(ended: Path, attempts: Rows) -> None:
    """Gains on two tasks have units of their own, so a list of runs without the tasks would compare them."""
    tasks = {row["run_id"]: row["task"] for row in query(ended, "SELECT run_id, task FROM runs")}
    met = set()
    for attempt in attempts:
        for line in LISTED.finditer(attempt["prompt"][1]["text"]):
            assert f" on {tasks[line[1]]}, generation" in line[0]
            met.add(tasks[line[1]])
    assert met == {"north", "south"}
    for attempt in (a for a in attempts if a.get("turns")):
        run_id = json.loads(attempt["turns"][1]["tools"][0]["arguments"])["path"].rpartition("/")[2][:-4]
        told = attempt["turns"][1]["tools"][0]["result"]
        for e in query(ended, f"SELECT number, experiment_id, decision FROM experiments WHERE run_id = '{run_id}' "
                              "AND number BETWEEN 1 AND 5"):  # fmt: skip
            assert f"experiment {e['number']} {e['experiment_id']} on " in told and e["decision"] in told


def test_who_never_stops_calling_tools_is_cut_short_and_refused(play: Play) -> None:
    def greedy(body: Any) -> Any:
        return [("search", {"pattern": "."})] * 9

    folder = play("greedy", greedy)
    attempts = records(folder, ATTEMPTS)
    assert attempts and not any(a["accepted"] for a in attempts)
    for a in attempts:
        assert len(a["turns"]) == ROUNDS and all(len(turn["tools"]) == 4 for turn in a["turns"])
        assert "gave no answer" in a["reason"] and len(json.dumps(a["turns"])) < 200_000
    children = "SELECT count(*) AS n FROM mutations WHERE accepted AND model IS NULL AND generation = 1"
    assert query(folder, children)[0]["n"] in range(1, ONE.children + 1)  # written offline


def test_turns_are_in_the_data_for_training_and_keys_are_nowhere(ended: Path, attempts: Rows, tmp_path: Path) -> None:
    with open_written(ended) as con:
        write(con, "written", tmp_path / "written.jsonl", "jsonl")
    told = [json.loads(line) for line in (tmp_path / "written.jsonl").read_text().splitlines()]
    gained = "child_id IN (SELECT child_id FROM credit WHERE method = 'mutation')"
    known = query(ended, f"SELECT child_id FROM mutations WHERE accepted AND model IS NOT NULL AND {gained}")
    assert known and {row["child_id"] for row in told} == {row["child_id"] for row in known}
    turns = {a["child_id"]: a.get("turns", []) for a in attempts}
    assert any(turns[row["child_id"]] for row in told)
    texts = {row["program_id"]: row["text"] for row in query(ended, "SELECT program_id, text FROM programs")}
    for row in told:
        assert row["child"] == texts[row["child_id"]] and row["parents"] == [texts[p] for p in row["parent_ids"]]
        assert (
            child_of([Program.parse(text) for text in row["parents"]], parsed(row["messages"][-1]["content"]))
            == row["child"]
        )
        roles = [m["role"] for m in row["messages"]]
        assert roles[:2] == ["system", "user"] and roles[-1] == "assistant" and row["messages"][-1]["content"]
        ids = [call["id"] for m in row["messages"] for call in m["tool_calls"] or ()]
        assert ids == [m["tool_call_id"] for m in row["messages"] if m["role"] == "tool"]
        assert len(ids) == sum(len(turn["tools"]) for turn in turns[row["child_id"]])
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

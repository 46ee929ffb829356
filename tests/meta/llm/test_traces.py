"""Models that search the traces of a study on two tasks before they write: what they are given and what is recorded."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analysis.export import TRAINING, open_training, write
from analysis.study import query
from meta.mutators.llm.trace_access import TURNS
from meta.study.begin import create, take_up
from meta.study.plan import Plan
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


def records(folder: Path, sql: str) -> list[dict[str, Any]]:
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
def attempts(ended: Path) -> list[dict[str, Any]]:
    return records(ended, ATTEMPTS)


def test_a_model_with_tools_searches_before_it_writes(ended: Path, attempts: list[dict[str, Any]]) -> None:
    made = {call["number"]: call for call in records(ended, CALLS)}
    searched = [a for a in attempts if a.get("turns")]
    assert searched and [a for a in searched if a["accepted"]]
    for attempt in searched:
        first, second = attempt["turns"]
        assert [tool["name"] for tool in first["tools"]] == ["list_files", "search"]
        assert "runs/p" in first["tools"][0]["result"] and "generation-" in first["tools"][0]["result"]
        read = second["tools"][0]
        assert json.loads(read["arguments"])["path"].startswith("runs/") and "experiment 0 e" in read["result"]
        assert read["result"].startswith('<data name="read" mark="')
        mine = [made[n] for n in (first["call"], second["call"], attempt["call"])]
        assert [len(call.get("tools", ())) for call in mine] == [2, 1, 0]
        assert {call["status"] for call in mine} == {"ok"} and mine[0]["finish"] == "tool_calls"
        assert attempt["tokens"] == sum(call["tokens"] for call in mine)
        assert "`list_files`, `search` and `read`" in attempt["prompt"][0]["text"]
    asked = {n for a in attempts for n in (a["call"], *(turn["call"] for turn in a.get("turns", ())))}
    assert asked == set(made)


def test_traces_lie_in_the_study_one_file_a_run(ended: Path) -> None:
    runs = query(
        ended, "SELECT run_id, program_id, experiments FROM runs WHERE purpose IN ('race', 'generation') "
        "AND coalesce(generation, 0) < 2"
    )  # fmt: skip
    there = {path.relative_to(ended / "traces").as_posix() for path in (ended / "traces" / "runs").rglob("*.txt")}
    assert there == {f"runs/{run['program_id']}/{run['run_id']}.txt" for run in runs}
    experiments = query(
        ended, "SELECT run_id, number, experiment_id, decision, description FROM experiments WHERE number > 0"
    )
    for run in runs:
        text = (ended / f"traces/runs/{run['program_id']}/{run['run_id']}.txt").read_text()
        assert text.count("\nexperiment ") == run["experiments"]
        for e in (e for e in experiments if e["run_id"] == run["run_id"]):
            assert f"experiment {e['number']} {e['experiment_id']} on " in text and e["decision"] in text
    for generation in (1, 2):
        place = ended / "traces" / f"generation-{generation}"
        assert "idea-queue, generation 0, starter" in (place / "lineage.txt").read_text()
    lineage = [(ended / f"traces/generation-{g}/lineage.txt").read_text() for g in (1, 2)]
    assert "generation 1," not in lineage[0] and "generation 1," in lineage[1]


def test_who_never_stops_calling_tools_is_cut_short_and_refused(play: Play) -> None:
    def greedy(body: Any) -> Any:
        return [("search", {"pattern": "."})] * 9

    folder = play("greedy", greedy)
    attempts = records(folder, ATTEMPTS)
    assert attempts and not any(a["accepted"] for a in attempts)
    for a in attempts:
        assert len(a["turns"]) == TURNS and all(len(turn["tools"]) == 4 for turn in a["turns"])
        assert "instead of replying" in a["reason"]
        assert len(json.dumps(a["turns"])) < 200_000
    children = "SELECT count(*) AS n FROM mutations WHERE accepted AND model IS NULL AND generation = 1"
    assert query(folder, children)[0]["n"] in range(1, ONE.children + 1)  # written offline


def test_a_long_window_without_tools_has_traces_in_its_prompt(play: Play) -> None:
    folder = play("prompted", traces="prompt")
    attempts = [a for a in records(folder, ATTEMPTS) if not a["repairs"]]
    assert attempts and not any(a.get("turns") for a in attempts)
    for a in attempts:
        user = a["prompt"][1]["text"]
        assert "\n# Traces\n" in user and f"== runs/{a['parent_ids'][0]}/" in user and "experiment 0 e" in user
        assert user.index(f"== runs/{a['parent_ids'][0]}/") < user.index("# What to do")
    assert take_up(folder)[0].config.staff.traces == "prompt"


def test_turns_are_in_the_data_for_training_and_keys_are_nowhere(
    ended: Path, attempts: list[dict[str, Any]], tmp_path: Path
) -> None:
    with open_training(ended) as con:
        for view in TRAINING:
            write(con, view, tmp_path / f"{view}.jsonl", "jsonl")
    told = [json.loads(line) for line in (tmp_path / "sft.jsonl").read_text().splitlines()]
    gained = "child_id IN (SELECT child_id FROM credit WHERE method = 'mutation')"
    known = query(ended, f"SELECT child_id FROM mutations WHERE accepted AND model IS NOT NULL AND {gained}")
    assert known and {row["child_id"] for row in told} == {row["child_id"] for row in known}
    turns = {a["child_id"]: a.get("turns", []) for a in attempts}
    assert any(turns[row["child_id"]] for row in told)
    for row in told:
        roles = [m["role"] for m in row["messages"]]
        assert roles[:2] == ["system", "user"] and roles[-1] == "assistant" and row["messages"][-1]["content"]
        ids = [call["id"] for m in row["messages"] for call in m["tool_calls"] or ()]
        assert ids == [m["tool_call_id"] for m in row["messages"] if m["role"] == "tool"]
        assert len(ids) == sum(len(turn["tools"]) for turn in turns[row["child_id"]])
    for place in (ended, tmp_path):
        for path in (p for p in place.rglob("*") if p.is_file()):
            assert KEY.encode() not in path.read_bytes(), path


def test_it_is_told_of_both_tasks_and_their_evidence(attempts: list[dict[str, Any]]) -> None:
    prompt = attempts[-1]["prompt"][0]["text"]
    for task in ("north", "south"):
        assert f"Edits of {task} with their values" in prompt and f"## Best final scripts of {task}" in prompt
    assert "Its score is the mean over them" in prompt


def test_it_may_cite_rows_of_either_and_its_child_plays_on_both(ended: Path, attempts: list[dict[str, Any]]) -> None:
    known = {row["credit_id"] for row in query(ended, "SELECT credit_id FROM credit")}
    known |= {row["run_id"] for row in query(ended, "SELECT run_id FROM runs")}  # of the best final scripts
    cited = {row for attempt in attempts if attempt["accepted"] for row in attempt["evidence_ids"]}
    assert cited and cited <= known
    shown = attempts[-1]["prompt"][0]["text"].partition("# south\n")
    assert all(re.search(r"\n- .*\[e\d+\] ", part) for part in (shown[0], shown[2]))
    children = {attempt["child_id"] for attempt in attempts if attempt["accepted"]}
    tasks = {(row["program_id"], row["task"]) for row in query(ended, "SELECT program_id, task FROM runs")}
    assert children and tasks >= {(child, task) for child in children for task in ("north", "south")}


def test_traces_say_on_which_task_a_run_was(ended: Path, attempts: list[dict[str, Any]]) -> None:
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

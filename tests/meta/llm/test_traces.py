"""Models that search the traces of a study before they write: what they are given, what is recorded, resumption."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analysis.export import TRAINING, open_training, write
from analysis.study import query
from arena.drain import Drained
from meta.begin import create, take_up
from meta.mutators.llm.trace_access import TURNS
from meta.plan import Plan
from tests.llm.kits import KEY, environment, staff
from tests.llm.server import never
from tests.llm.tooling import ToolServer, results, rounds, searcher
from tests.meta.llm.test_study import carry_on
from tests.studies import TINY
from trainer.planted import random_law, simulated_task
from trainer.task import Task

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
    task = Task.load(simulated_task(random_law(2), root / "task", experiments=8))

    def played(name: str, answer: Any = searcher, fault: Any = never, plan: Plan = PLAN, **how: Any) -> Path:
        with pytest.MonkeyPatch.context() as patch, ToolServer(answer, fault=fault) as server:
            environment(patch, server.url)
            crew = staff(**({"reply_tokens": 2000, "traces": "tools"} | how))
            create(root / name, task=task, plan=plan, workers=1, seed=3, model_config=crew)
            carry_on(root / name)
        return root / name

    yield played


@pytest.fixture(scope="module")
def heard() -> list[Any]:
    """What the model of the study ``ended`` was asked."""
    return []


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the calls of the study ``ended`` are recorded."""
    return tmp_path_factory.mktemp("recorded") / "tape"


@pytest.fixture(scope="module")
def ended(play: Play, heard: list[Any], tape: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METALOOP_RECORD", str(tape))
        return play("ended", lambda body: heard.append(body) or searcher(body))


def test_a_model_with_tools_searches_before_it_writes(ended: Path) -> None:
    made = {call["number"]: call for call in records(ended, CALLS)}
    attempts = records(ended, ATTEMPTS)
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
        assert (place / "evidence.md").read_text() == (ended / "evidence" / f"generation-{generation}.md").read_text()
        assert "idea-queue, generation 0, starter" in (place / "lineage.txt").read_text()
    lineage = [(ended / f"traces/generation-{g}/lineage.txt").read_text() for g in (1, 2)]
    assert "generation 1," not in lineage[0] and "generation 1," in lineage[1]


def test_a_study_that_stopped_between_two_rounds_asks_nothing_twice(play: Play, ended: Path) -> None:
    folder = ended.parent / "stopped"

    def stop(number: int, _body: Any) -> str | None:
        if number != 2:
            return None
        (folder / "stop").touch()
        return "503"

    with pytest.raises(Drained):
        play("stopped", fault=stop, backoff=5.0)
    assert [call["status"] for call in records(folder, CALLS)] == [*["ok"] * 2, "failed"]
    assert not records(folder, ATTEMPTS)
    with pytest.MonkeyPatch.context() as patch, ToolServer(searcher) as server:
        environment(patch, server.url)
        carry_on(folder)
        assert len(server.seen) == len(records(ended, CALLS)) - 2
    assert records(folder, ATTEMPTS) == records(ended, ATTEMPTS)
    assert query(folder, OUTCOME) == query(ended, OUTCOME)


def test_a_recording_of_tool_turns_is_replayed(
    play: Play, ended: Path, tape: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METALOOP_REPLAY", str(tape))
    seen: list[Any] = []
    folder = play("replayed", lambda body: seen.append(body) or "nothing")
    assert not seen and records(folder, CALLS) == records(ended, CALLS)
    assert records(folder, ATTEMPTS) == records(ended, ATTEMPTS)


def test_who_never_stops_calling_tools_is_cut_short_and_refused(play: Play) -> None:
    def greedy(body: Any) -> Any:
        return [("search", {"pattern": "."})] * 9

    folder = play("greedy", greedy, plan=ONE)
    attempts = records(folder, ATTEMPTS)
    assert attempts and not any(a["accepted"] for a in attempts)
    for a in attempts:
        assert len(a["turns"]) == TURNS and all(len(turn["tools"]) == 4 for turn in a["turns"])
        assert "instead of replying" in a["reason"]
        assert len(json.dumps(a["turns"])) < 200_000
    children = "SELECT count(*) AS n FROM mutations WHERE accepted AND model IS NULL AND generation = 1"
    assert query(folder, children)[0]["n"] == ONE.children  # written offline


def test_the_cap_holds_over_rounds(play: Play) -> None:
    folder = play("capped", max_tokens=25_000)
    spent = sum(call["tokens"] + call["lost_tokens"] for call in records(folder, CALLS))
    assert 0 < spent <= 25_000
    assert query(folder, "FROM mutations WHERE NOT accepted AND contains(reason, '--max-tokens 25000')")
    assert query(folder, "SELECT count(*) AS n FROM champions")[0]["n"] == 0  # carried out without a lineage
    assert query(folder, "SELECT count(*) AS n FROM runs WHERE purpose = 'confirmation'")[0]["n"] > 0


def test_a_long_window_without_tools_has_traces_in_its_prompt(play: Play) -> None:
    folder = play("prompted", plan=ONE, traces="prompt")
    attempts = [a for a in records(folder, ATTEMPTS) if not a["repairs"]]
    assert attempts and not any(a.get("turns") for a in attempts)
    for a in attempts:
        user = a["prompt"][1]["text"]
        assert "\n# Traces\n" in user and f"== runs/{a['parent_ids'][0]}/" in user and "experiment 0 e" in user
        assert user.index(f"== runs/{a['parent_ids'][0]}/") < user.index("# What to do")
    assert take_up(folder)[0].config.staff.traces == "prompt"


def test_without_traces_nothing_is_offered(play: Play) -> None:
    seen: list[Any] = []
    folder = play("blind", lambda body: seen.append(body) or searcher(body), plan=ONE, traces="auto")
    assert seen and not any("tools" in body for body in seen) and not (folder / "traces").exists()
    assert take_up(folder)[0].config.staff.traces == "none"  # LiteLLM does not know what openai/test can do


def test_turns_are_in_the_data_for_training_and_keys_are_nowhere(ended: Path, tape: Path, tmp_path: Path) -> None:
    with open_training(ended) as con:
        for view in TRAINING:
            write(con, view, tmp_path / f"{view}.jsonl", "jsonl")
    told = [json.loads(line) for line in (tmp_path / "sft.jsonl").read_text().splitlines()]
    gained = "child_id IN (SELECT child_id FROM credit WHERE method = 'mutation')"
    known = query(ended, f"SELECT child_id FROM mutations WHERE accepted AND model IS NOT NULL AND {gained}")
    assert known and {row["child_id"] for row in told} == {row["child_id"] for row in known}
    turns = {a["child_id"]: a.get("turns", []) for a in records(ended, ATTEMPTS)}
    assert any(turns[row["child_id"]] for row in told)
    for row in told:
        roles = [m["role"] for m in row["messages"]]
        assert roles[:2] == ["system", "user"] and roles[-1] == "assistant" and row["messages"][-1]["content"]
        ids = [call["id"] for m in row["messages"] for call in m["tool_calls"] or ()]
        assert ids == [m["tool_call_id"] for m in row["messages"] if m["role"] == "tool"]
        assert len(ids) == sum(len(turn["tools"]) for turn in turns[row["child_id"]])
    for place in (ended, tape, tmp_path):
        for path in (p for p in place.rglob("*") if p.is_file()):
            assert KEY.encode() not in path.read_bytes(), path


def test_every_request_of_a_talk_holds_what_was_said_before(ended: Path, heard: list[Any]) -> None:
    second = [body for body in heard if rounds(body) == 2]
    assert second
    for body in second:
        assert len(results(body)) == 3
        ids = [c["id"] for m in body["messages"] if m["role"] == "assistant" for c in m["tool_calls"]]
        assert ids == [m["tool_call_id"] for m in body["messages"] if m["role"] == "tool"]

"""Whole studies with a model that writes programs: the ledger, the traces, the data for training, replay and a kill."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from analysis.export import open_written, write
from analysis.study import query
from arena.study.study import Study
from bench.whole import begin_study, resized, search_here
from inner_loop.models.spend_limiter import SpendLimiter
from meta.mutators.llm.reply import build_child, parse_reply
from programs.folder import load
from programs.program import Program
from programs.shelf import meta_program
from tests.gallery import WRITTEN, Gallery
from tests.llm import crowd, writer
from tests.llm.kits import KEY, MODEL, environment, staff
from tests.llm.researcher import prompt_of
from tests.llm.server import FAULTS, LlmServer, every
from tests.llm.studies import FIGURES, STANDINGS
from tests.llm.studies import planted as law_of
from tests.meta.cli_study import metaloop
from tests.meta.evolved import SHORT
from tests.meta.llm.test_write import HARM
from tests.studies import TINY, planted, program
from trainer.task import Task

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


def carry_on(folder: Path) -> None:
    search_here(Study.open(folder))


def mutations(folder: Path, columns: str) -> list[dict[str, Any]]:
    return query(folder, f"SELECT generation, attempt, {columns} FROM mutations ORDER BY generation, attempt")


def outcome(folder: Path) -> list[dict[str, Any]]:
    return query(folder, "SELECT program_id, role, verified_gain FROM runs ORDER BY run_id")


def calls(folder: Path) -> list[dict[str, Any]]:
    rows = query(folder, "SELECT record FROM events WHERE kind = 'call' ORDER BY place")
    return [row["record"] for row in rows]


def test_operators_of_models_and_offline_ones_work_side_by_side(ended: Path) -> None:
    rows = mutations(ended, "operator, model, tokens, usd, accepted, child_id, meta_program_id, call")
    asked = [row for row in rows if row["model"] == MODEL]
    offline = [row for row in rows if row["model"] is None]
    assert [row for row in asked if row["accepted"]] and [row for row in offline if row["accepted"]]
    assert all(row["tokens"] > 100 and row["usd"] is None for row in asked)
    assert {row["meta_program_id"] for row in asked} == {meta_program().program_id}
    assert {(row["tokens"], row["usd"], row["meta_program_id"], row["call"]) for row in offline} == {(0, 0, None, None)}
    played = {row["program_id"] for row in outcome(ended)}
    assert {row["child_id"] for row in asked if row["accepted"]} <= played
    gains = "SELECT child_id FROM mutations JOIN credit USING (child_id) WHERE meta_program_id IS NOT NULL AND accepted"
    assert query(ended, gains)


def test_the_ledger_holds_prompt_and_reply_of_every_call(ended: Path) -> None:
    made = {call["number"]: call for call in calls(ended)}
    rows = query(ended, "SELECT record FROM events WHERE kind = 'mutation' AND record ->> 'model' IS NOT NULL")
    assert len(rows) == len(made) >= 2
    for record in (row["record"] for row in rows):
        call = made[record["call"]]
        assert call["tokens"] == record["tokens"] and call["text"] and call["purpose"].startswith("mutate ")
        assert record["prompt"][0]["text"].startswith("You write research programs") and record["reason"]
        assert record["limits"] == "The list ended early."
        assert call["number"] // 10_000 == record["generation"]


def test_planted_instructions_move_nothing(litellm_loaded: None, ended: Path, tmp_path: Path) -> None:
    folder = tmp_path / "harm"
    north, south = (Task.load(ended.parent / name) for name in ("north", "south"))
    with pytest.MonkeyPatch.context() as patch, LlmServer(lambda body: HARM + writer.answer(body) + HARM) as server:
        environment(patch, server.url)
        settings = {"run_budget": SHORT, "seed": 3, "model_config": staff(reply_tokens=2000)}
        carry_on(begin_study(folder, north, WRITTEN, further=[south], **settings).folder)
    what = "operator, model, accepted, reason, child_id, evidence_ids, repairs, call, meta_program_id"
    assert mutations(folder, what) == mutations(ended, what) and outcome(folder) == outcome(ended)


def test_night_ends_with_a_models_child_of_the_best_program(
    litellm_loaded: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts: list[str] = []

    def answer(body: dict[str, Any]) -> str:
        prompts.append(prompt_of(body))
        return crowd.answer(body)

    task, study = planted(tmp_path / "task"), tmp_path / "night"
    (tmp_path / "mine.md").write_text("# Mine\n\nChange one thing. Keep it if the loss is lower.\n")
    (tmp_path / "own.md").write_text("# My way\n\n- Be bold.\n")
    instruction = ("--set", f"meta_program={tmp_path / 'own.md'}")
    words = ["improve", tmp_path / "mine.md", "-t", task.folder, "-m", MODEL, *instruction, "--budget", "2.4s"]
    with LlmServer(answer) as server:
        environment(monkeypatch, server.url)
        metaloop(*words, "-j", "1", "--seed", "1", "-s", study, "-y")
    *refused, row = mutations(study, "operator, parent_ids, child_id, accepted, meta_program_id")
    assert row["meta_program_id"] == load(tmp_path / "own.md").program_id  # the instruction of one's own
    gains = query(study, "SELECT program_id, turns, gain / turns AS each FROM contributions ORDER BY each DESC")
    assert [one["accepted"] for one in (*refused, row)] == [*([False] * len(refused)), True]
    assert row["parent_ids"] == [gains[0]["program_id"]]
    asked, *_ = [text for text in prompts if text.startswith("You write research programs")]
    assert all(f": {one['turns']} turns, " in asked for one in gains) and "A/A" not in asked and "Be bold." in asked
    assert query(study, "SELECT program_id FROM programs WHERE generation = 1") == [{"program_id": row["child_id"]}]
    assert load(study / "champion.md").program_id == row["child_id"]
    before = len(prompts)
    metaloop("resume", study, "-y")
    assert len(prompts) == before


CUT = "the run ended before another attempt"
PROGRAMS = "SELECT program_id, name, generation, operator, parent_ids, text FROM programs ORDER BY ALL"
SMALL = resized(
    TINY, starters=2, opening_more=2, children=3, generation_more=2,
    final={"champion": 2, "control": 2, "without-ideas": 0, "a/a": 0},
)  # fmt: skip


def study(folder: Path, task: Task, **how: Any) -> Path:
    crew = staff(call_timeout=60.0, reply_tokens=2000, models=(MODEL,))
    begin_study(folder, task, SMALL, run_budget=0.6, seed=5, fixed_steps=True, model_config=crew, **how)
    return folder


@pytest.mark.slow
def test_study_with_models_in_both_loops_is_replayed_bit_by_bit(
    litellm_loaded: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, own = law_of(tmp_path / "task", 6), [program("three", ideas=("Look at the choices.",))]
    monkeypatch.setenv("METALOOP_RECORD", str(tmp_path / "tape"))
    passing = tuple(kind for kind in FAULTS if kind not in ("hang", "truncated", "refusal"))
    with pytest.MonkeyPatch.context() as patch, LlmServer(crowd.answer, fault=every(passing, 7)) as server:
        environment(patch, server.url)
        first = study(tmp_path / "first", task, researcher="chat", programs=own)
        carry_on(first)
    monkeypatch.delenv("METALOOP_RECORD")
    monkeypatch.setenv("METALOOP_REPLAY", str(tmp_path / "tape"))
    opened: Counter[str] = Counter()
    real = socket.socket

    class Counted(real):  # type: ignore[misc, valid-type]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            opened["socket"] += 1
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(socket, "socket", Counted)
    again = study(tmp_path / "again", task, researcher="chat", programs=own)
    carry_on(again)
    assert not opened
    standings = STANDINGS.replace("utilization", "utilization, tokens")  # those of cut calls are in the first alone
    for sql in (standings, FIGURES, PROGRAMS, OUTCOME):
        assert query(again, sql) == query(first, sql)
    assert records(again, ATTEMPTS) == records(first, ATTEMPTS)
    kept, met = (
        [{**call, "faults": []} for call in records(place, CALLS) if call.get("reason") != CUT]
        for place in (again, first)
    )
    assert kept == met and any(call["faults"] for call in records(first, CALLS))  # those were met once


@pytest.mark.slow
def test_a_kill_in_the_midst_of_a_mutation_pays_no_call_twice(litellm_loaded: None, tmp_path: Path) -> None:
    task, reached = law_of(tmp_path / "task", 6), threading.Event()

    def hang(number: int, _body: Any) -> str | None:
        if number != 2:  # one reply was paid for, and the next is under way
            return None
        reached.set()
        return "hang"

    cut = study(tmp_path / "cut", task)
    command = [sys.executable, "-m", "meta.cli.main", "resume", str(cut), "-y"]
    with LlmServer(writer.answer, fault=hang) as server:
        env = {**os.environ, "OPENAI_API_BASE": server.url, "OPENAI_API_KEY": "sk-test-0123456789abcdef"}
        with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            assert reached.wait(250)
            os.kill(process.pid, signal.SIGKILL)
        assert len(records(cut, CALLS)) == 1 and not records(cut, ATTEMPTS)
    with LlmServer(writer.answer) as server:
        env |= {"OPENAI_API_BASE": server.url}
        metaloop("resume", cut, "-y", env=env)
        answered = [call for call in records(cut, CALLS) if call["status"] != "failed"]
        assert len(server.seen) == 1 + len(answered) - 1  # a first call, before anything is trained
        assert records(cut, CALLS) == answered
        spent = SpendLimiter(cut).spent().tokens  # with the estimate of the one that was cut off
        assert spent > sum(call["tokens"] + call["lost_tokens"] for call in answered) + 200
    with pytest.MonkeyPatch.context() as patch, LlmServer(writer.answer) as server:
        environment(patch, server.url)
        calm = study(tmp_path / "calm", task)
        carry_on(calm)
        assert len(server.seen) == len(records(calm, CALLS))
    assert answered == records(calm, CALLS) and records(cut, ATTEMPTS) == records(calm, ATTEMPTS)
    for sql in (OUTCOME, PROGRAMS):
        assert query(cut, sql) == query(calm, sql)

"""A whole study with models in both loops, recorded and replayed bit by bit; and one that is killed in a mutation."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from analysis.study import query
from bench.whole import begin_study, resized
from inner_loop.models.spend_limiter import SpendLimiter
from tests.llm import crowd, writer
from tests.llm.kits import MODEL, environment, staff
from tests.llm.server import FAULTS, LlmServer, every
from tests.llm.studies import FIGURES, STANDINGS, planted
from tests.meta.cli_study import metaloop
from tests.meta.llm.test_study import carry_on
from tests.meta.llm.test_traces import ATTEMPTS, CALLS, OUTCOME, records
from tests.studies import TINY, program
from trainer.task import Task

pytestmark = pytest.mark.slow
CUT = "the run ended before another attempt"
PROGRAMS = "SELECT program_id, name, generation, operator, parent_ids, text FROM programs ORDER BY ALL"
SMALL = resized(
    TINY,
    starters=2,
    opening_more=2,
    children=4,
    generation_more=2,
    final={"champion": 2, "control": 2, "without-ideas": 0, "a/a": 0},
)


def study(folder: Path, task: Task, **how: Any) -> Path:
    crew = staff(call_timeout=60.0, reply_tokens=2000, models=(MODEL,))
    begin_study(folder, task, SMALL, run_budget=0.6, seed=5, fixed_steps=True, model_config=crew, **how)
    return folder


def test_study_with_models_in_both_loops_is_replayed_bit_by_bit(
    litellm_loaded: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, own = planted(tmp_path / "task", 6), [program("three", ideas=("Look at the choices.",))]
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
    prompts = str([a["prompt"] for a in records(first, ATTEMPTS)])
    assert "has not been varied yet" in prompts  # what the researchers gave as their reason


def test_a_kill_in_the_midst_of_a_mutation_pays_no_call_twice(litellm_loaded: None, tmp_path: Path) -> None:
    task, reached = planted(tmp_path / "task", 6), threading.Event()

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

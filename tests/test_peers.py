"""What bench.peers gives to other optimizers: an evaluator of texts and the model; and its table of what each used."""

from __future__ import annotations

import asyncio
import os
from importlib.util import find_spec
from pathlib import Path

import pytest

from bench import peers
from bench.peers import Asking, Evaluator, Job, Repetition, Spent, about, stand_in, table
from programs.program import Program
from programs.shelf import starter
from tests.llm.kits import MODEL, environment
from tests.llm.server import LlmServer
from trainer.planted import random_law, simulated_task


@pytest.fixture
def task(tmp_path: Path) -> str:
    return str(simulated_task(random_law(2), tmp_path / "task", experiments=4))


def test_a_text_is_judged_by_runs_and_an_invalid_one_by_none(task: str, tmp_path: Path) -> None:
    evaluator = Evaluator(task, tmp_path)
    gain, log = evaluator.judge(starter("stock").text, 2000, 2)
    assert gain > -1 and len(log.splitlines()) >= 2 * 4
    lost, reason = evaluator.judge("---\nmetaloop:\n  proposers: {nonsense: 1}\n---\n# No\n", 2000, 2)
    assert lost == -1 and "not a valid program" in reason
    assert evaluator.spent(tmp_path / "calls.jsonl") == Spent(2, 2, 1, 0, 0, 0)


def test_both_ways_to_call_the_model_are_counted(task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "calls.jsonl"
    with LlmServer(stand_in) as server:
        environment(monkeypatch, server.url)
        asked = Asking(MODEL, log)
        texts = [
            asked(about(task)),
            asyncio.run(asked.generate_with_context(about(task), [{"role": "user", "content": "Go."}])),
        ]
    assert [message["role"] for message in server.seen[1]["messages"]] == ["system", "user"]
    for text in texts:
        program = Program.parse(text.strip("`\n"), "reply")
        assert "## Ideas\n\n- Set `" in program.text
    spent = Evaluator(task, tmp_path).spent(log)
    assert spent.calls == 2 and spent.tokens > 0


def test_a_peer_that_is_not_installed_has_a_row_that_says_so() -> None:
    used = {"evaluations": 14, "runs": 56, "invalid": 2, "calls": 13, "tokens": 5000, "programs": 11}
    made = [
        Repetition("one", seed, True, 12, {"metaloop": gain, "GEPA": 0.5, "stock": 0.25},
                   {"metaloop": used, "GEPA": used, "OpenEvolve": None})
        for seed, gain in ((1, 1.0), (2, 1.2))
    ]  # fmt: skip
    said = list(table(made))
    assert "not the worth" in said[0]
    assert "| one | metaloop | 2 | +1.100 [-0.171, +2.371] | 14.0 | 56.0 | 2.0 | 13.0 | 5,000.0 | 11.0 |" in said
    assert "| one | OpenEvolve | 0 | not installed | | | | | | |" in said


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("openevolve"), reason="needs OpenEvolve from PyPI")
def test_openevolve_evolves_the_text(task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with LlmServer(stand_in) as server:
        environment(monkeypatch, server.url)
        program, spent = peers.theirs("OpenEvolve", Job(task, 1, MODEL, 2, True), tmp_path / "peer", 12)
    assert program.text and spent.evaluations <= 1 + 2 and spent.calls == len(server.seen) == 2
    assert spent.runs == 4 * (spent.evaluations - spent.invalid)
    assert os.path.exists(tmp_path / "peer" / "output")

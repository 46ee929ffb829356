"""Whole studies with a model that writes programs, on a simulated task: what the ledger holds, resumption, faults."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from analysis.study import query
from arena.study.study import Study
from bench.whole import begin_study, search_here
from programs.folder import load
from programs.program import Program
from programs.shelf import meta_program
from tests.gallery import WRITTEN, Gallery
from tests.llm import crowd, writer
from tests.llm.kits import KEY, MODEL, environment, staff
from tests.llm.researcher import prompt_of
from tests.llm.server import Answer, Faulty, LlmServer, never
from tests.meta.cli_study import metaloop
from tests.meta.evolved import SHORT
from tests.meta.llm.test_write import HARM
from tests.studies import planted
from trainer.task import Task

PLAN = WRITTEN
WHAT = "operator, model, accepted, reason, child_id, evidence_ids, repairs, call, meta_program_id"
Play = Callable[..., Path]


def carry_on(folder: Path) -> None:
    search_here(Study.open(folder))


@pytest.fixture(scope="module")
def play(litellm_loaded: None, ended: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Play]:
    """Plays a study on the same tasks as the ended one, beside a server of its own."""
    root = tmp_path_factory.mktemp("studies")
    north, south = (Task.load(ended.parent / name) for name in ("north", "south"))

    def played(
        name: str, answer: Answer = writer.answer, fault: Faulty = never, *, meta: Program | None = None, **how: Any
    ) -> Path:
        with pytest.MonkeyPatch.context() as patch, LlmServer(answer, fault=fault) as server:
            environment(patch, server.url)
            settings = {"run_budget": SHORT, "seed": 3, "model_config": staff(reply_tokens=2000, **how)}
            begin_study(root / name, north, PLAN, further=[south], meta_program=meta, **settings)
            carry_on(root / name)
        return root / name

    yield played


@pytest.fixture(scope="module")
def ended(gallery: Gallery) -> Path:
    return gallery("written")


def mutations(folder: Path, columns: str = WHAT) -> list[dict[str, Any]]:
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
    limits = query(
        ended,
        "SELECT record ->> 'limits' AS limits FROM events WHERE kind = 'mutation' AND record ->> 'model' IS NOT NULL",
    )
    assert {row["limits"] for row in limits} == {"The list ended early."}


def test_the_ledger_holds_prompt_and_reply_of_every_call(ended: Path) -> None:
    made = {call["number"]: call for call in calls(ended)}
    rows = query(ended, "SELECT record FROM events WHERE kind = 'mutation' AND record ->> 'model' IS NOT NULL")
    assert len(rows) == len(made) >= 2
    for record in (row["record"] for row in rows):
        call = made[record["call"]]
        assert call["tokens"] == record["tokens"] and call["text"] and call["purpose"].startswith("mutate ")
        assert record["prompt"][0]["text"].startswith("You write research programs") and record["reason"]
        assert call["number"] // 10_000 == record["generation"]


def test_a_study_that_ended_needs_neither_key_nor_server(
    ended: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    copy = Path(shutil.copytree(ended, tmp_path / "study", symlinks=True))
    carry_on(copy)
    assert outcome(copy) == outcome(ended)


def test_planted_instructions_move_nothing(play: Play, ended: Path) -> None:
    folder = play("harm", lambda body: HARM + writer.answer(body) + HARM)
    assert mutations(folder) == mutations(ended) and outcome(folder) == outcome(ended)


@pytest.mark.slow
def test_an_instruction_of_one_s_own_is_followed_and_named(play: Play) -> None:
    own = Program.parse("# My way\n\n- Be bold.\n", "own")
    folder = play("own", meta=own)
    rows = [row for row in mutations(folder) if row["model"]]
    assert rows and {row["meta_program_id"] for row in rows} == {own.program_id}
    assert Study.open(folder).config.meta_program == ("own", own.text)
    prompts = query(folder, "SELECT record FROM events WHERE kind = 'mutation' AND record ->> 'model' IS NOT NULL")
    assert all(own.text in row["record"]["prompt"][0]["text"] for row in prompts)


def test_the_key_is_nowhere(ended: Path) -> None:
    for path in (p for p in ended.rglob("*") if p.is_file()):
        assert KEY.encode() not in path.read_bytes(), path


def test_night_ends_with_a_models_child_of_the_best_program(
    litellm_loaded: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts: list[str] = []

    def answer(body: dict[str, Any]) -> str:
        prompts.append(prompt_of(body))
        return crowd.answer(body)

    task, study = planted(tmp_path / "task"), tmp_path / "night"
    (tmp_path / "mine.md").write_text("# Mine\n\nChange one thing. Keep it if the loss is lower.\n")
    words = ["improve", str(tmp_path / "mine.md"), "-t", str(task.folder), "-m", MODEL, "--budget", "2.4s", "-j", "1"]
    with LlmServer(answer) as server:
        environment(monkeypatch, server.url)
        metaloop(*words, "--seed", "1", "-s", study, "-y")
    *refused, row = mutations(study, "operator, parent_ids, child_id, accepted")
    gains = query(study, "SELECT program_id, turns, gain / turns AS each FROM contributions ORDER BY each DESC")
    assert [one["accepted"] for one in (*refused, row)] == [*([False] * len(refused)), True]
    assert row["parent_ids"] == [gains[0]["program_id"]]
    asked, *_ = [text for text in prompts if text.startswith("You write research programs")]
    assert all(f": {one['turns']} turns, " in asked for one in gains) and "A/A" not in asked
    assert query(study, "SELECT program_id FROM programs WHERE generation = 1") == [{"program_id": row["child_id"]}]
    assert load(study / "champion.md").program_id == row["child_id"]
    before = len(prompts)
    metaloop("resume", study, "-y")
    assert len(prompts) == before

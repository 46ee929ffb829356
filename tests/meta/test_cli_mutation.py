"""Programs written by models, at the command line: the bill before the start, the instruction and the data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meta.cli.main import run
from tests.llm import fixtures
from tests.llm.kits import environment

from .cli_study import write_study

litellm_loaded = fixtures.litellm_loaded


def test_the_plan_says_what_mutation_may_cost(
    litellm_loaded: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment(monkeypatch, "http://127.0.0.1:9/v1")
    words = ("evolve", "--quick", "-r", "scripted", "--dry-run", "--json")
    assert run([*words, "-m", "openai/test", "--set", "prices=openai/test=2/4"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["mutation_calls"] == 26 and plan["models"] == "openai/test" and "at most 26 calls" in plan["price"]
    assert plan["mutation_usd"] == pytest.approx(26 * 2 * (90_000 + 2 * 8192) / 1e6)
    assert "models rarely write more than one program" in plan["price"]  # a call is dearer than the race of a child
    assert run([*words, "-m", "openai/test", "--set", "prices=openai/test=2/4", "-b", "5m"]) == 0
    assert "models rarely write more than one program" not in json.loads(capsys.readouterr().out)["price"]
    assert run([*words, "-m", "openai/test", "--set", "prices=openai/test=2/4", "--max-usd", "0.5"]) == 0
    assert json.loads(capsys.readouterr().out)["mutation_usd"] == 0.5
    assert run([*words]) == 0
    assert "no model is called" in (told := capsys.readouterr().out) and "mutation" not in told


def test_an_instruction_needs_a_model_to_follow_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "own.md").write_text("# Mine\n\n- Be bold.\n")
    assert run(["evolve", "--quick", "--dry-run", "--set", f"meta_program={tmp_path}/own.md"]) == 2
    assert "-m NAME" in capsys.readouterr().err
    assert run(["evolve", "--quick", "--dry-run", "--set", f"meta_program={tmp_path}/none.md"]) == 2


@pytest.mark.parametrize("to", ["tsv", "parquet", "jsonl"])
def test_data_of_a_small_study(tmp_path: Path, capsys: pytest.CaptureFixture[str], to: str) -> None:
    view = "written"
    write_study(tmp_path / "study")
    file = tmp_path / "out" / f"{view}.{to}"
    assert run(["export", str(tmp_path / "study"), "--view", view, "--to", to, "-o", str(file), "--json"]) == 0
    written = json.loads(capsys.readouterr().out)["written"]
    assert written == [{"view": view, "format": to, "path": str(file), "rows": 0}] and file.is_file()

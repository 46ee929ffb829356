"""Programs written by models, at the command line: the bill before the start, the instruction and the data."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.llm import fixtures
from tests.llm.kits import environment

from .cli_study import metaloop, write_study

litellm_loaded = fixtures.litellm_loaded


def test_the_plan_says_what_mutation_may_cost(litellm_loaded: None, monkeypatch: pytest.MonkeyPatch) -> None:
    environment(monkeypatch, "http://127.0.0.1:9/v1")
    words = ("evolve", "--quick", "-r", "scripted", "--dry-run", "--json")
    model = ("-m", "openai/test", "--set", "prices=openai/test=2/4")
    plan = metaloop(*words, *model).json
    assert (
        plan["mutation_calls"] == 24 and plan["models"] == "openai/test" and "at most 24 calls" in plan["new_programs"]
    )
    assert plan["mutation_usd"] == pytest.approx(24 * 2 * (90_000 + 2 * 8192) / 1e6)
    assert metaloop(*words, *model, "--max-usd", "0.5").json["mutation_usd"] == 0.5
    told = metaloop(*words).stdout
    assert "no model is called" in told and "mutation" not in told


def test_an_instruction_needs_a_model_to_follow_it(tmp_path: Path) -> None:
    (tmp_path / "own.md").write_text("# Mine\n\n- Be bold.\n")
    words = ("evolve", "--quick", "--dry-run", "--set")
    assert "-m NAME" in metaloop(*words, f"meta_program={tmp_path}/own.md", code=2).stderr
    metaloop(*words, f"meta_program={tmp_path}/none.md", code=2)


@pytest.mark.parametrize("to", ["tsv", "parquet", "jsonl"])
def test_data_of_a_small_study(tmp_path: Path, to: str) -> None:
    view = "written"
    write_study(tmp_path / "study")
    file = tmp_path / "out" / f"{view}.{to}"
    written = metaloop("export", tmp_path / "study", "--view", view, "--to", to, "-o", file, "--json").json["written"]
    assert written == [{"view": view, "format": to, "path": str(file), "rows": 0}] and file.is_file()

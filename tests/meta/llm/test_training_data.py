"""Training data for writers of programs: figures as the study has them, lineages whole, nothing left out in silence."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analysis.study import query
from analysis.training_data import Choices, Export, GainMargin, export, is_shown
from meta.begin import create
from meta.cli.main import run
from programs.errors import NotFound
from tests.llm import writer
from tests.llm.kits import KEY, environment, staff
from tests.llm.server import LlmServer
from tests.meta.llm.test_study import PLAN, carry_on
from trainer.planted import random_law, simulated_task
from trainer.task import Task

Rows = dict[str, list[dict[str, Any]]]
Exported = Callable[..., Rows]
GAINS = """
SELECT m.child_id, m.model, c.estimate, c.low, c.high, c.p, c.n FROM mutations AS m JOIN credit AS c
ON c.program_id = m.child_id AND c.method = 'mutation' WHERE m.accepted
"""


@pytest.fixture(scope="module")
def study(litellm_loaded: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("training")
    task = Task.load(simulated_task(random_law(2), root / "task", experiments=8))
    plan = replace(PLAN, generations=2, children=7, opening_more=1)
    with pytest.MonkeyPatch.context() as patch, LlmServer(writer.answer) as server:
        environment(patch, server.url)
        create(root / "study", task=task, plan=plan, workers=1, seed=3, model_config=staff(reply_tokens=2000))
        carry_on(root / "study")
    return root / "study"


@pytest.fixture
def exported(study: Path, tmp_path: Path) -> Exported:
    def made(form: str, **how: Any) -> Rows:
        counts = export([study], tmp_path / "data", Choices(form, **how))  # type: ignore[arg-type]
        rows = {p.stem: [json.loads(line) for line in p.read_text("utf-8").splitlines()] for p in counts}
        assert {p.stem: n for p, n in counts.items()} == {name: len(some) for name, some in rows.items()}
        assert (tmp_path / "data" / "README.md").is_file()
        return rows

    return made


def test_sft_rows_are_the_recorded_calls_with_the_gain_of_the_child(study: Path, exported: Exported) -> None:
    rows = {row["child_id"]: row for some in exported("sft", everything=True).values() for row in some}
    known = {row["child_id"]: row for row in query(study, GAINS)}
    assert set(rows) == {child for child, row in known.items() if row["model"]} and len(rows) >= 3
    for child, row in rows.items():
        assert [m["role"] for m in row["messages"]] == ["system", "user", "assistant"]
        assert "# What to do" in row["messages"][1]["content"] and "<reason>" in row["messages"][2]["content"]
        figures = (row["gain"], row["gain_low"], row["gain_high"], row["p"])
        assert figures == pytest.approx([known[child][key] for key in ("estimate", "low", "high", "p")])
        assert row["n"] == known[child]["n"] and row["shown"] == (row["p"] <= 0.1 and row["gain"] > 0)


def test_only_significant_rows_are_exported_and_the_card_counts_the_others(
    study: Path, exported: Exported, tmp_path: Path
) -> None:
    known = query(study, GAINS)
    sure = {row["child_id"] for row in known if row["p"] <= 0.3 and row["estimate"] > 0}
    rows = exported("sft", prompts="rendered", confidence=0.7)
    assert {row["child_id"] for some in rows.values() for row in some} == sure and 0 < len(sure) < len(known)
    card = (tmp_path / "data" / "README.md").read_text("utf-8")
    assert f"{len(known) - len(sure)} gain over its parents not significantly positive" in card
    assert "refused before it ran" in card and "No model was asked" in card
    with pytest.raises(NotFound, match="offline operator: no call was recorded"):
        exported("sft", confidence=0.9999)


def test_pairs_answer_one_prompt_and_the_better_answer_is_chosen(study: Path, exported: Exported) -> None:
    rows = [row for some in exported("dpo", prompts="rendered", everything=True).values() for row in some]
    texts = {row["program_id"]: row["text"] for row in query(study, "SELECT program_id, text FROM programs")}
    gains = {row["child_id"]: row["estimate"] for row in query(study, GAINS)}
    assert len(rows) > len(gains)  # pairs of children, and each child with its parent
    for row in rows:
        assert row["margin"] >= 0 and row["margin_low"] <= row["margin"] <= row["margin_high"]
        assert row["chosen"][0]["content"] == texts[row["chosen_id"]]
        assert row["rejected"][0]["content"] == texts[row["rejected_id"]]
        assert row["same_prompt"] and texts[row["parent_ids"][0]].strip() in row["prompt"][1]["content"]
    with_parent = [row for row in rows if {row["chosen_id"], row["rejected_id"]} & set(row["parent_ids"])]
    assert len(with_parent) == len(gains)
    for row in with_parent:
        assert row["margin"] == pytest.approx(abs(gains[row["child_id"]]))
        assert (row["chosen_id"] == row["child_id"]) == (gains[row["child_id"]] >= 0)


def test_recorded_pairs_are_replies_of_one_form_to_the_same_parents(study: Path, exported: Exported) -> None:
    jobs = "SELECT child_id, generation, operator, parent_ids FROM mutations WHERE accepted"
    job = {row["child_id"]: (row["generation"], row["operator"], row["parent_ids"]) for row in query(study, jobs)}
    rows = [row for some in exported("dpo", everything=True).values() for row in some]
    assert rows and all(job[row["chosen_id"]] == job[row["rejected_id"]] for row in rows)
    assert all(row["prompt"][-1]["role"] == "user" and "<reason>" in row["chosen"][0]["content"] for row in rows)


@pytest.mark.parametrize("form", ["sft", "dpo"])
def test_no_child_of_a_validation_lineage_is_in_train(form: str, study: Path, exported: Exported) -> None:
    rows = exported(form, prompts="rendered", everything=True, validation=0.5)
    bred = "SELECT child_id, parent_ids FROM mutations WHERE accepted"
    parents = {row["child_id"]: row["parent_ids"] for row in query(study, bred)}

    def above(child: str) -> set[str]:
        return {child}.union(*(above(parent) for parent in parents[child] if parent in parents))

    def children(split: str) -> set[str]:
        ids = {row[key] for row in rows[split] for key in ("child_id", "chosen_id", "rejected_id") if key in row}
        return {ancestor for child in ids if child in parents for ancestor in above(child)}

    assert rows["validation"] or form == "dpo"  # whose pairs make siblings one lineage
    assert not children("train") & children("validation")
    assert len(rows["validation"]) <= (len(rows["train"]) + len(rows["validation"]) + 1) / 2


def test_several_studies_are_one_export(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["export", str(study), "--to", "sft", "--all", "-o", str(tmp_path / "one"), "--json"]
    assert run(words) == 0
    one = json.loads(capsys.readouterr().out)
    assert run([*words[:-2], str(tmp_path / "two"), "--json", "--beside", str(study)]) == 0
    two = json.loads(capsys.readouterr().out)
    assert 2 * sum(item["rows"] for item in one["written"]) == sum(item["rows"] for item in two["written"])


def test_what_does_not_fit_together_is_refused(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["export", str(study), "--to", "dpo"]) == 2 and "-o data/" in capsys.readouterr().err
    assert run(["export", str(study), "--all"]) == 2 and "need --to sft" in capsys.readouterr().err


def test_secrets_are_removed(exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "a-private-value-123")
    made = Export(Choices("sft"))
    text = "use a-private-value-123 or sk-abcdefghijklmnop1234, ghp_0123456789abcdefghij0123"
    assert made.clean([{"content": text}]) == [{"content": "use [secret] or [secret], [secret]"}] and made.secrets == 2
    exported("sft", everything=True)
    assert all(KEY not in path.read_text("utf-8") for path in (tmp_path / "data").iterdir())


def test_a_gain_on_one_task_and_a_loss_on_another_is_not_shown() -> None:
    good = GainMargin("a", "", 1.0, 0.1, 0.8, 1.2, 8, 0.001, "paired")
    assert is_shown([good], 0.9) and is_shown([good, replace(good, estimate=0.1, p=0.8)], 0.9)
    assert not is_shown([good, replace(good, estimate=-0.1, p=0.8)], 0.9)
    assert not is_shown([replace(good, p=0.2)], 0.9) and not is_shown([replace(good, p=None)], 0.9)

"""The reward and the rows of examples/writer, without the libraries that it is for: real runs on a simulated task."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.simulated_tasks import random_law, simulated_task
from programs.shelf import starter
from tests.meta.cli_study import cli

EXAMPLE = Path(__file__).parents[1] / "examples" / "writer"
WRITTEN = "---\nmetaloop:\n  proposers: {queue: 1.0}\n---\n# Queue\n\n## Ideas\n\n"
WRITTEN += "- Use `ladder8=5`.\n- Use `ladder7=0.05`.\n"


@pytest.fixture(scope="module")
def module() -> Any:
    """The file alone: the package itself needs the library."""
    spec = importlib.util.spec_from_file_location("writer_reward", EXAMPLE / "metaloop_writer" / "reward.py")
    assert spec and spec.loader
    reward = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reward)
    return reward


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("writer") / "task"
    simulated_task(random_law(2), folder, experiments=8)
    return str(folder)


@pytest.fixture
def in_process(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "metaloop", lambda *words, timeout: cli(*words))


@pytest.mark.slow
def test_the_reward_is_the_verified_gain_over_stock_and_repeats(module: Any, task: str) -> None:
    first = module.reward(f"Here it is.\n<program>\n{WRITTEN}</program>", task, seed=3, runs=2, scale=2.0)
    assert first.n == 2 and first.reward == pytest.approx(first.gain / 2) and first.gain > 0.05 and not first.refusal
    assert module.reward(WRITTEN, task, seed=3, runs=2, scale=2.0) == first


@pytest.mark.usefixtures("in_process")
def test_what_is_no_program_and_what_is_stock_need_no_run(module: Any, task: str) -> None:
    unknown = "---\nmetaloop:\n  proposers: {nosuch: 1}\n---\n# x\n"
    for reply, refusal in ((unknown, "nosuch"), ("x" * 70_000, "70001 characters"), ("", "empty")):
        made = module.reward(reply, task)
        assert made.reward == module.REFUSED and refusal in made.refusal and made.n == 0
    stock = starter("stock").text
    refused = module.reward('{"ideas": [9]}', task, [stock])
    assert refused.reward == module.REFUSED and "no idea 9" in refused.refusal
    changed = '{"charter": {"proposers": {"queue": 1.0}}, "ideas": ["Use `ladder8=5`."]}'
    assert "- Use `ladder8=5`." in module.program_of(changed, [stock])
    assert module.reward(f"```md\n{stock}\n```", task).reward == 0.0


@pytest.mark.usefixtures("in_process")
def test_a_task_that_does_not_exist_is_no_fault_of_the_program(module: Any) -> None:
    with pytest.raises(RuntimeError, match="no-such-task"):
        module.reward(WRITTEN, "no-such-task")


def test_pairs_are_runs_of_the_same_seed(module: Any) -> None:
    gains = {"written": (0.5, 0.4, 9.0), "stock": (0.2, 0.3, None)}
    rows = [
        {"name": name, "run_seed": seed, "gain": gain} for name, of in gains.items() for seed, gain in enumerate(of)
    ]
    made = module.compared(rows, 1.0)
    assert (made.reward, made.n) == (pytest.approx(0.2), 2) and made.se == pytest.approx(0.1)
    assert module.compared([], 1.0).reward == module.REFUSED


def test_lineages_stay_together_and_only_significant_rows_count(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLE))
    import finetune  # type: ignore[import-not-found]

    rows = [{"lineage": f"p{n % 5}", "shown": n != 3, "number": n} for n in range(20)]
    for number, part in enumerate((rows[:10], rows[10:])):
        (tmp_path / f"{number}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    files = [tmp_path / "0.jsonl", tmp_path / "1.jsonl"]
    assert finetune.rows_of(files, True) == rows
    assert [row["number"] for row in finetune.rows_of(files, False)] == [n for n in range(20) if n != 3]
    made = finetune.split(rows, 0.25)
    of = {name: {row["lineage"] for row in some} for name, some in made.items()}
    assert len(made["validation"]) == 4 and len(made["train"]) == 16 and not of["train"] & of["validation"]
    assert not finetune.split(rows[::5], 0.5)["validation"]  # one lineage

"""A night that ends with the untouched script: every screen says why, and that it gains nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.study import query
from tests.meta.cli_study import metaloop
from trainer.laws.planted import random_law, simulated_task


@pytest.mark.parametrize(
    ("cost", "turns", "sentences"),
    [
        (0.1, [2, 2], ["no change was kept.", "So short a night does not show which program is better"]),
        (0.04, [1, 0], ["no change was kept.", "No test of tpe-local against program-elite was possible: "]),
        (0.02, [0, 0], ["no change was tried."]),
    ],
)
def test_night_without_a_win_gains_zero_everywhere(
    tmp_path: Path, cost: float, turns: list[int], sentences: list[str]
) -> None:
    """A training takes longer than its ``cost`` in task.toml, which the plan counts with. A second training of the
    untouched script differs from the first by its seed, which is no gain."""
    task, study = tmp_path / "work", tmp_path / "study"
    simulated_task(random_law(7, gain=0.0, noise=0.05), task)
    (task / "program.md").write_text("# Mine\n\nChange one thing of train.py. Keep it if the loss is lower.\n")
    text = (task / "task.toml").read_text()
    (task / "task.toml").write_text(text.replace("cost = 0.1", f"cost = {cost}"))
    words = ["improve", task / "program.md", "-t", task, "--budget", f"{8 * cost}s", "--seed", "2"]
    metaloop(*words, "-s", study, "-y", "-q")
    shown = metaloop("standings", study, "--json").json
    assert [row["gain"] for row in shown["items"]] == [0.0] and len(shown["found"]) == len(sentences)
    assert all(part in sentence for part, sentence in zip(sentences, shown["found"], strict=True))
    assert [row["turns"] for row in shown.get("turns", [])] == [number for number in turns if number]
    [run] = query(study, "SELECT verified_gain, kept FROM runs")
    assert (run["verified_gain"], run["kept"]) == (0.0, 0)
    page = (study / "champion.evidence.md").read_text()
    assert "main is the untouched script" in page and all(part in page for part in sentences)

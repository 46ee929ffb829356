"""An evolution on a task with constraints: the page of the champion shows their values beside the gain."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.meta.evolved import evolved
from tests.studies import TINY
from tests.trainer.limited_task import LATENCY, MEMORY, SOFT, limited


@pytest.mark.slow
def test_the_evidence_page_shows_values_and_limits_of_champion_and_stock(tmp_path: Path) -> None:
    task = limited(tmp_path / "task", MEMORY + LATENCY + SOFT)
    plan = replace(TINY, generations=0, run_budget=0.6, ablation_runs=0)
    evolved(tmp_path / "study", task, plan, seed=3, fixed_steps=True)
    page = (tmp_path / "study" / "champion.evidence.md").read_text()
    rows = [re.split(r" *\| *", line)[1:-1] for line in page.splitlines() if line.startswith(("| `lat", "| `mem"))]
    assert [(row[0], *row[2:6], row[9]) for row in rows] == [
        ("`latency`", "false", "–", "6.00", "champion", "ms"),
        ("`latency`", "false", "–", "6.00", "stock", "ms"),
        ("`memory`", "true", "–", "50.0", "champion", "MB"),
        ("`memory`", "true", "–", "50.0", "stock", "MB"),
    ]
    assert all(float(least) <= float(mean) <= float(most) and int(n) > 0 for *_, mean, least, most, _, n, _ in rows)
    assert [row[11] for row in rows[2:]] == ["0", "0"]

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
    assert [(row[0], row[1], row[2]) for row in rows] == [
        ("`latency`", "at most 6 ms, soft: decides nothing", "champion"),
        ("`latency`", "at most 6 ms, soft: decides nothing", "stock"),
        ("`memory`", "at most 50 MB, hard", "champion"),
        ("`memory`", "at most 50 MB, hard", "stock"),
    ]
    assert all(re.fullmatch(r"[\d.]+ (?:ms|MB) \([\d.]+ to [\d.]+\)", row[3]) and int(row[4]) > 0 for row in rows)
    assert [row[5] for row in rows[2:]] == ["0", "0"]

"""A study ends with its champion's record, and not before its files are there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from analysis.verdict.decision import decision_of
from meta.begin import champion_of, create, take_up
from meta.evolve import evolve
from programs.folder import load
from tests.studies import TINY, planted, silent


def test_a_study_that_was_cut_off_before_its_last_file_goes_on(tmp_path: Path) -> None:
    task = planted(tmp_path / "law", experiments=6)
    plan = replace(TINY, generations=0, run_budget=task.run_budget)
    study, starters = create(tmp_path / "s", task=task, plan=plan, workers=1, seed=3)
    page = study.folder / "champion.evidence.md"
    page.mkdir()  # what stands there cannot be replaced by a file
    with pytest.raises(OSError):
        evolve(study, plan, starters, silent)
    assert champion_of(study.folder) is None
    page.rmdir()
    champion = evolve(*take_up(study.folder), silent)
    assert page.read_text().startswith(f"# Evidence for {champion.program.name}")
    assert load(study.folder / "champion.md").raw == champion.program.raw
    told = champion_of(study.folder)
    assert told is not None and decision_of(told) == champion.decision
    assert not list(study.folder.glob(".*.partial"))

"""Whole studies of a simulated task: the same by the same seed, and the same through the ordinary command."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analysis.study import query
from arena.drain import Drained
from bench.whole import whole_study
from meta.claim import Claim
from programs.errors import NotComparable, UsageError
from programs.program import Program
from tests.studies import TINY
from trainer.planted import null_law, random_law, simulated_task
from trainer.task import Task

from .cli_study import cli

NO_SOURCES = replace(TINY, run_budget=0.8)  # nor repositories
PLAN = replace(NO_SOURCES, confirm_runs=2, ablation_runs=0, opening_more=2)
Kept = tuple[Path, Program, Claim]


def planted(folder: Path, *, null: bool = False) -> Task:
    return Task.load(simulated_task((null_law if null else random_law)(2), folder, experiments=8))


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return planted(tmp_path_factory.mktemp("law") / "task")


@pytest.fixture(scope="module")
def kept(task: Task, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """A study by seed 1 and its folder."""
    folder = tmp_path_factory.mktemp("kept") / "study"
    return folder, *whole_study(task, PLAN, 1, folder)


def test_the_same_seed_gives_the_same_study(task: Task, kept: Kept) -> None:
    first = kept[1:]
    again, other = (whole_study(task, PLAN, seed) for seed in (1, 2))
    assert first == again
    assert first[1] != other[1] and isinstance(first[1], Claim)


def test_a_study_that_is_stopped_again_and_again_ends_with_the_same_claim(
    task: Task, kept: Kept, tmp_path: Path
) -> None:
    seen, stops = 0, 0

    def stop_now_and_then(_: Mapping[str, Any]) -> None:
        nonlocal seen
        seen += 1
        if seen % 60 == 0:
            (tmp_path / "study" / "stop").write_text("")

    while True:
        try:
            resumed = whole_study(task, PLAN, 1, tmp_path / "study", stop_now_and_then)
            break
        except Drained:
            stops += 1
    assert resumed == kept[1:] and stops > 2
    with pytest.raises(NotComparable, match="seed"):
        whole_study(task, PLAN, 2, tmp_path / "study")


def test_a_kept_study_can_be_read_like_any_other(kept: Kept) -> None:
    folder, champion, claim = kept
    rows = query(folder, "SELECT avg(verified_gain) AS gain FROM runs WHERE role = 'champion'")
    assert rows[0]["gain"] == pytest.approx(claim.champion.mean)
    assert query(folder, "SELECT count(*) AS n FROM credit")[0]["n"] > 0
    assert not list((folder / "runs").iterdir()) and champion.name


def test_where_nothing_pays_gains_are_noise(tmp_path: Path) -> None:
    _, claim = whole_study(planted(tmp_path / "task", null=True), NO_SOURCES, 3)
    assert abs(claim.champion.mean or 0.0) < 0.15 and abs(claim.stock.mean or 0.0) < 0.15


def test_real_training_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="trains for real"):
        whole_study(Task.load("strokes"), PLAN, 1, tmp_path / "study")


@pytest.mark.slow
def test_the_command_gives_the_same_study(tmp_path: Path) -> None:
    """With worker processes, pages and repositories: every figure of the champion's claim is the same."""
    simulated_task(random_law(2), tmp_path / "task", experiments=8)
    done = cli("evolve", "--quick", "-t", "task", "--seed", "5", "-b", "0.8", "-s", "s", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    from meta import plan as plans

    task = Task.load(tmp_path / "task")
    champion, claim = whole_study(task, plans.quick(task, 0.8), 5)
    assert told["program_id"] == champion.program_id and told["p"] == claim.p
    assert told["champion"]["mean"] == claim.champion.mean and told["trust"] == "verified"
    assert all((tmp_path / told["files"][name]).is_file() for name in ("champion", "evidence"))
    assert isinstance(told["holds"], bool)
    lineage = json.loads(cli("lineage", "s", "--json", cwd=tmp_path).stdout)["items"]
    assert [p["program_id"] for p in lineage if p["champion"]] == [told["program_id"]]
    again = cli("evolve", "--resume", "s", "--json", cwd=tmp_path)
    assert json.loads(again.stdout)["verdict"] == told["verdict"]

"""Whole studies of a simulated task: the same by the same seed, and the same through the ordinary command."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from analysis.verdict.claim import Claim
from arena.study.setup import CONFIRM_SEEDS
from bench.simulated_tasks import null_law, simulated_task
from bench.whole import QUICK, begin_study, resized, search_here
from bench.whole import whole_study as whole_study_of
from programs.common.errors import UsageError
from tests.meta.evolved import SHORT
from tests.studies import TINY, planted
from trainer.task import Task

from .cli_study import cli, metaloop

whole_study = partial(whole_study_of, run_budget=SHORT)
PLAN = resized(TINY, opening_more=2, final={"champion": 2, "control": 2, "without-ideas": 0})


def test_the_same_seed_gives_the_same_study(tmp_path: Path) -> None:
    task = planted(tmp_path / "task")
    first, again = (whole_study(task, PLAN, 1, folder) for folder in (tmp_path / "study", None))
    assert first == again and isinstance(first[1], Claim)


def test_where_nothing_pays_gains_are_noise(tmp_path: Path) -> None:
    task = Task.load(simulated_task(null_law(2), tmp_path / "task", experiments=8))
    _, claim = whole_study(task, resized(TINY, generations=0), 3)
    assert abs(claim.champion.or_zero) < 0.15 and abs(claim.stock.or_zero) < 0.15


def test_real_training_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="trains for real"):
        whole_study(Task.load("strokes"), PLAN, 1, tmp_path / "study")


@pytest.mark.slow
def test_the_command_gives_the_same_study(tmp_path: Path) -> None:
    """With worker processes, pages and repositories: every figure of the champion's claim is the same."""
    task = planted(tmp_path / "task")
    told = metaloop(
        "evolve", "--quick", "-t", "task", "--seed", "5", "-b", "0.8", "-s", "s", "--json", cwd=tmp_path
    ).json
    study = begin_study(tmp_path / "here", task, QUICK, run_budget=0.8, seed=5, confirm_seeds=CONFIRM_SEEDS)
    champion, claim = search_here(study)
    assert told["program_id"] == champion.program_id and told["decision"]["p"] == claim.p
    assert told["decision"]["champion"]["value"] == claim.champion.value and told["trust"] == "verified"
    assert all((tmp_path / told["files"][name]).is_file() for name in ("champion", "evidence"))
    assert isinstance(told["holds"], bool)
    again = cli("resume", "s", "--json", cwd=tmp_path)
    assert again.json["sentences"] == told["sentences"]

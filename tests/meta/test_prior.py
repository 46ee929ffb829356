"""A study that starts from past ones: who gets a seat, what selection expects, and what is written down of it."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.evidence import evidence
from analysis.study import open_study, query
from arena.settings import Prior, PriorProgram
from bench.whole import whole_study
from meta.begin import create, take_up
from meta.evolve import evolve
from meta.population import starters
from meta.prior import _inherited, gather, informed, seat
from programs.errors import NotComparable, UsageError
from programs.shelf import starter
from tests.studies import TINY, silent
from trainer.planted import random_law, simulated_task
from trainer.task import Task

from .cli_study import cli

PLAN = replace(TINY, run_budget=0.8, starters=6, opening_runs=4, opening_more=6, confirm_runs=2, ablation_runs=0)
RACED = "SELECT DISTINCT program_id FROM arms JOIN matches USING (match_id) WHERE purpose = 'race'"


def planted(folder: Path, seed: int) -> Task:
    return Task.load(simulated_task(random_law(seed), folder, name=folder.name, experiments=8))


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Task]:
    folder = tmp_path_factory.mktemp("prior")
    task = planted(folder / "home", 2)
    whole_study(task, PLAN, 1, folder / "past")
    return folder / "past", task


def test_the_figures_are_over_stock_and_of_the_search_alone(past: tuple[Path, Task]) -> None:
    known = gather([past[0]])
    with open_study(past[0], views=()) as con:
        left_out = [r[0] for r in con.execute("SELECT match_id FROM matches WHERE purpose = 'confirmation'").fetchall()]
        scores = {score.program_id: score for score in evidence(con, "home", exclude_matches=left_out).programs}
    stock = scores.pop(starter("stock").program_id)
    assert {one.program_id for one in known.prior.programs} == set(scores)
    for one in known.prior.programs:
        score = scores[one.program_id]
        assert one.ratio == pytest.approx(score.shrunk_mean / stock.shrunk_mean) and one.n == score.n
    assert known.prior.studies[0].tasks == ["home"] and len(known.prior.studies[0].ledger) == 64


def test_half_of_the_seats_go_to_the_best_of_the_past(past: tuple[Path, Task]) -> None:
    known, chosen = gather([past[0]]), starters(6)
    racing, prior = seat(known, chosen, [past[1]], "scripted")
    assert len(racing) == len(chosen) and len(prior.seated) == 2
    assert racing[0] == chosen[0] and racing[-1] == chosen[-1]  # stock and the one-line control stay
    assert [program.program_id for program in racing[1:3]] == prior.seated
    best = [one.program_id for one in known.prior.programs]
    assert prior.seated[0] == best[0]
    assert len({program.program_id for program in racing}) == len(racing)


@pytest.mark.slow
def test_it_is_written_down_and_the_study_goes_on_without_the_past(past: tuple[Path, Task], tmp_path: Path) -> None:
    study, began = create(tmp_path / "new", task=past[1], plan=PLAN, workers=2, seed=7, known=gather([past[0]]))
    evolve(study, PLAN, began, silent)
    body = tomllib.loads((tmp_path / "new" / "study.toml").read_text())
    [row] = query(tmp_path / "new", "SELECT config FROM studies")
    assert row["config"]["prior"]["seated"] == body["prior"]["seated"] == [p.program_id for p in began[1:3]]
    assert set(body["prior"]["seated"]) <= {one["program_id"] for one in query(tmp_path / "new", RACED)}
    again, _, began_again = take_up(tmp_path / "new")
    assert again.config.prior == study.config.prior and began_again == began
    assert body["prior"]["studies"][0]["study_id"] in (tmp_path / "new" / "champion.evidence.md").read_text()


def test_what_is_expected_moves_the_posterior_by_its_precision(past: tuple[Path, Task]) -> None:
    with open_study(past[0], views=()) as con:
        scores = list(evidence(con, "home").programs)
    stock = next(score for score in scores if score.program_id == starter("stock").program_id)
    other = next(score for score in scores if score is not stock)
    sure = PriorProgram(program_id=other.program_id, name="x", ratio=9.0, se=1e-6, n=4, places=1)
    vague = sure.model_copy(update={"se": 1e6})
    for one, mean in ((sure, 9.0 * stock.shrunk_mean), (vague, other.shrunk_mean)):
        told = informed(scores, Prior(studies=[], programs=[one]))
        moved = next(score for score in told if score.program_id == other.program_id)
        assert moved.shrunk_mean == pytest.approx(mean, rel=1e-6) and moved.shrunk_se <= other.shrunk_se
        assert (moved.mean, moved.n) == (other.mean, other.n)  # what was measured stays what was measured
    poor = [replace(score, shrunk_mean=-1.0) if score is stock else score for score in scores]
    assert informed(poor, Prior(studies=[], programs=[sure])) == poor
    assert informed(scores, None) == scores


def test_what_cannot_be_a_prior_is_refused(past: tuple[Path, Task], tmp_path: Path) -> None:
    folder, task = past
    with pytest.raises(UsageError, match="searched on home, which this study reserves"):
        gather([folder], ["home"])
    with pytest.raises(UsageError, match="named twice"):
        gather([folder, folder])
    study, _ = create(
        tmp_path / "heir", task=planted(tmp_path / "far", 3), plan=PLAN, workers=1, known=gather([folder])
    )
    # What it was seated with was bred on home, though it never searched there itself.
    assert _inherited(study.config) == {"home"}
    done = cli("evolve", "-t", str(task.folder), "--prior", str(tmp_path / "none"), "--quick", "--dry-run")
    assert done.returncode == 2 and "no study" in done.stderr.splitlines()[0]


def test_the_command_line_says_what_it_starts_from(past: tuple[Path, Task], tmp_path: Path) -> None:
    folder, task = past
    asked = ("evolve", "-t", str(task.folder), "-s", str(tmp_path / "cli"), "--quick", "-j", "1")
    done = cli(*asked, "--prior", str(folder), "--dry-run", "--json")
    assert done.returncode == 0 and "1 study" in done.stdout
    create(tmp_path / "cli", task=task, plan=PLAN, workers=1, seed=3)  # without a prior
    done = cli("evolve", "--resume", str(tmp_path / "cli"), "--prior", str(folder))
    assert done.returncode == NotComparable.exit_code and "created with another prior" in done.stderr

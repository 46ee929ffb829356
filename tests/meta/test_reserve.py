"""Reserved tasks: touched once, at the end, and told under the study's one error budget."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from analysis.over_reserved import over_reserved
from analysis.report.facts import gather
from analysis.report.source import Source
from analysis.report.verdict import verdict
from analysis.study import open_study, query
from analysis.study_power import measured
from analysis.transfer import transfer_cells
from meta.begin import found, take_up
from meta.champion import Champion, write_page_again
from meta.evolve import evolve
from meta.plan import Plan, within
from meta.reserve import refuse_twice, seconds_elsewhere
from programs.errors import NotComparable, UsageError
from tests.studies import TINY, silent
from trainer.planted import random_law, simulated_task
from trainer.task import Task

from .cli_study import cli

PLAN = Plan(**{**TINY.__dict__, "run_budget": 0.8, "best_of_seeds": 0})
Ended = tuple[Path, Champion]


def planted(folder: Path, seed: int) -> Task:
    return Task.load(simulated_task(random_law(seed), folder, name=folder.name, experiments=8))


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    folder = tmp_path_factory.mktemp("reserve")
    home, others = planted(folder / "home", 2), [planted(folder / "far", 3), planted(folder / "farther", 4)]
    study, starters = found(folder / "study", task=home, plan=PLAN, workers=2, seed=1, reserve=others)
    return folder / "study", evolve(study, PLAN, starters, silent)


def test_nothing_touches_a_reserved_task_before_the_claim_at_home(ended: Ended) -> None:
    rows = query(ended[0], "SELECT task, purpose, stream, min(started_at) AS first FROM matches GROUP BY ALL")
    away = [row for row in rows if row["task"] != "home"]
    assert {row["task"] for row in away} == {"far", "farther"}
    assert {(row["purpose"], row["stream"]) for row in away} == {("reserve", "reserve")}
    assert min(row["first"] for row in away) > max(row["first"] for row in rows if row["task"] == "home")
    seen = query(ended[0], "SELECT DISTINCT task FROM credit")
    assert seen == [{"task": "home"}]


def test_its_figures_are_those_of_the_runs_there(ended: Ended) -> None:
    folder, champion = ended
    for there in champion.elsewhere:
        assert there.claim is not None
        sql = f"SELECT role, avg(verified_gain) AS gain, count(*) AS n FROM runs WHERE task = '{there.task}' GROUP BY 1"
        gains = {row["role"]: (row["gain"], row["n"]) for row in query(folder, sql)}
        assert gains["champion"] == pytest.approx((there.claim.champion.mean, PLAN.confirm_runs))
        assert gains["control"] == pytest.approx((there.claim.stock.mean, PLAN.confirm_runs))
        assert f"on {there.task}, which evolution never saw" in champion.verdict
        assert f"| {there.task} |" in (folder / "champion.evidence.md").read_text()
    baselines = query(
        folder, "SELECT task, count(*) AS n FROM baselines WHERE stream = 'reserve' GROUP BY 1 ORDER BY 1"
    )
    assert baselines == [{"task": "far", "n": 8}, {"task": "farther", "n": 8}]
    seeds = "SELECT run_seed, stream FROM runs"
    drawn = [{row["run_seed"] for row in query(folder, f"{seeds} WHERE stream {s} 'reserve'")} for s in ("=", "<>")]
    assert drawn[0] and not drawn[0] & drawn[1]


def test_the_report_tells_of_each_beside_the_verdict(ended: Ended) -> None:
    folder, champion = ended
    with open_study(folder) as con:
        found = verdict(gather(Source(con, str(folder))))
        kept = {cell.task: cell.kept for cell in transfer_cells(con)}
    for there in champion.elsewhere:
        [note] = [note for note in found.notes if note.startswith(f"On {there.task}, which evolution never saw")]
        assert ("beats stock too" in note) == there.holds and "after Holm" in note
        assert there.claim and f"{there.claim.ratio.ratio:.2f} times stock's gain" in note
    over = next(note for note in found.notes if note.startswith("The mean ratio to stock's gain over these 2 tasks"))
    ratios = [there.claim.ratio.ratio or 0.0 for there in champion.elsewhere if there.claim]
    assert f"is {sum(ratios) / 2:.2f} (" in over
    assert (
        f"| all 2 reserved | mean ratio, not tested | | {sum(ratios) / 2:.2f} |"
        in (folder / "champion.evidence.md").read_text()
    )
    assert kept == {"home": "home", "far": "reserved", "farther": "reserved"}


def test_a_reserved_task_on_which_the_champion_is_like_stock_counts_as_one(ended: Ended) -> None:
    with open_study(ended[0], views=()) as con:
        two = over_reserved(con, {"far": True, "farther": True})
        three = over_reserved(con, {"far": True, "farther": True, "farthest": False})
        assert over_reserved(con, {"far": True}) is None and over_reserved(con, {"a": False, "b": False}) is None
    assert two and three and two.champion.ratio and three.tasks == 3
    assert three.champion.ratio == pytest.approx((2 * two.champion.ratio + 1) / 3)
    known = {there.task: there.claim for there in ended[1].elsewhere}
    assert two.champion.ratio == pytest.approx(sum(c.ratio.ratio or 0.0 for c in known.values() if c) / 2)


def test_the_noise_that_plans_rest_on_is_that_of_the_home_task(ended: Ended) -> None:
    with open_study(ended[0], views=()) as con:
        assert measured(con).task == "home"


def test_a_reserved_task_counts_only_with_the_claim_at_home_and_after_holm(ended: Ended) -> None:
    _, champion = ended
    ps = sorted((there.claim.p, there.p_adjusted) for there in champion.elsewhere if there.claim)
    assert ps[0][1] == pytest.approx(min(1.0, 2 * ps[0][0]))
    assert all(champion.claim.holds for there in champion.elsewhere if there.holds)


def test_a_study_that_is_taken_up_again_says_the_same(ended: Ended, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(ended[0], tmp_path / "study", symlinks=True))
    study, plan, starters = take_up(folder)
    assert evolve(study, plan, starters, silent) == ended[1]
    page = (folder / "champion.evidence.md").read_text()
    study, _, _ = take_up(folder)
    with study:
        assert write_page_again(study)
    assert (folder / "champion.evidence.md").read_text() == page


def test_the_same_task_is_not_reserved(tmp_path: Path) -> None:
    home, other = planted(tmp_path / "home", 2), planted(tmp_path / "other", 3)
    for wrong in ([home], [other, other]):
        with pytest.raises(UsageError, match="named twice"):
            refuse_twice([home], wrong)


def test_a_budget_holds_what_the_reserve_costs(tmp_path: Path) -> None:
    home, other = planted(tmp_path / "home", 2), planted(tmp_path / "other", 3)

    def besides(plan: Plan) -> float:
        return seconds_elsewhere(plan, home, [other])

    with_it, without = within(400, home, 0.8, besides), within(400, home, 0.8)
    assert with_it.runs < without.runs and with_it.device_seconds(home) + besides(with_it) <= 400


def test_other_reserved_tasks_are_refused_on_the_way(ended: Ended, tmp_path: Path) -> None:
    other = planted(tmp_path / "other", 7)
    result = cli("evolve", "--resume", str(ended[0]), "--reserve", str(other.folder), "--dry-run")
    assert result.returncode == 2 and "other reserved tasks" in result.stderr


def test_a_reserved_task_that_has_changed_is_refused(ended: Ended, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(ended[0], tmp_path / "study", symlinks=True))
    text = (folder / "study.toml").read_text()
    away = take_up(ended[0])[0].config.reserve[0]
    (folder / "study.toml").write_text(text.replace(away.task_id, "t" + "0" * 12))
    study, plan, starters = take_up(folder)
    with pytest.raises(NotComparable, match="is now"):
        evolve(study, plan, starters, silent)

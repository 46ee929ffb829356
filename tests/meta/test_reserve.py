"""Held-out tasks: touched once, at the end, and told under the study's one error budget."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import ttest_ind

from analysis.study import read_study
from analysis.verdict.claim import Claim, claim
from analysis.verdict.decision import Decision, HeldOut, decision_of
from arena.study.study import Study
from bench.common import champion_of
from bench.whole import evolve_plan, play_study, resized
from meta.cli.views import view
from meta.mutators.llm.prompt import write_briefing
from meta.reserve import (
    confirm_on_held_out,
    corrected,
    family_member,
)
from programs.common.errors import NotComparable
from programs.shelf import starter
from tests.meta.evolved import evolved
from tests.planted_evidence import PLANTED
from tests.studies import TINY, Snapshot, planted
from trainer.task import Task

from .cli_study import cli

PLAN = resized(TINY, final={"without-ideas": 0})


def named(folder: Path, seed: int) -> Task:
    return planted(folder, seed, name=folder.name)


@pytest.fixture(scope="module")
def ended(root: Path) -> Path:
    return root / "one"


@pytest.fixture(scope="module")
def ask(ended: Path) -> Snapshot:
    return Snapshot(ended)


@pytest.fixture(scope="module")
def decision(ended: Path) -> Decision:
    return decision_of(champion_of(ended) or {})


def test_its_figures_are_those_of_the_runs_there(ended: Path, decision: Decision, ask: Snapshot) -> None:
    with read_study(ended, views=["transfer"]) as con:
        kinds = {row["task"]: row["on"].partition(" (")[2].partition(")")[0] for row in view("transfer").rows(con)}
    assert kinds == {"planted": "training task", "far": "held-out task", "farther": "held-out task"}
    assert len(decision.held_out) == 2
    for there in decision.held_out:
        assert there.p is not None and there.holds == (decision.holds and there.p < 0.025)
        assert there.champion is not None and there.tested is not None
        sql = f"SELECT role, avg(verified_gain) AS gain, count(*) AS n FROM runs WHERE task = '{there.task}' GROUP BY 1"
        gains = {row["role"]: (row["gain"], row["n"]) for row in ask(sql)}
        assert gains["champion"] == pytest.approx((there.champion.value, 2))
        assert gains["control"] == pytest.approx((there.tested.gain.value, 2))
    baselines = ask("SELECT task, count(*) AS n FROM baselines WHERE stream = 'reserve' GROUP BY 1 ORDER BY 1")
    assert baselines == [{"task": "far", "n": 8}, {"task": "farther", "n": 8}]
    seeds = "SELECT run_seed, stream FROM runs"
    drawn = [{row["run_seed"] for row in ask(f"{seeds} WHERE stream {s} 'reserve'")} for s in ("=", "<>")]
    assert drawn[0] and not drawn[0] & drawn[1]
    assert ask("SELECT DISTINCT task FROM credit") == [{"task": "planted"}]


def shifted(by: float) -> Claim:
    """Champion against stock, six runs each, apart by so much; a standard deviation is .71."""
    runs = [-1.0, -0.5, 0.0, 0.0, 0.5, 1.0]
    return claim({"champion": [gain + by for gain in runs], "control": runs})


def test_the_one_test_is_held_against_a_level_of_a_fortieth() -> None:
    for by, low, high in ((0.82, 0.025, 0.05), (0.96, 0.01, 0.025), (0.3, 0.1, 0.5), (3.0, 0.0, 1e-4)):
        found = shifted(by)
        stock = [-1.0, -0.5, 0.0, 0.0, 0.5, 1.0]
        p = ttest_ind([gain + by for gain in stock], stock, equal_var=False, alternative="greater").pvalue
        assert found.p == pytest.approx(p) and low < found.p < high
        assert found.holds == (found.p < 0.025)
    assert shifted(-3.0).p > 0.99 and not shifted(-3.0).holds


def test_reserved_task_counts_only_with_the_claim_and_holm() -> None:
    def result(task: str, p: float | None) -> HeldOut:
        return HeldOut(task, "nats", None, None, p, False)

    found = [result("far", shifted(3.0).p), result("farther", shifted(0.82).p), result("like-stock", None)]
    good, poor = shifted(3.0), shifted(0.82)
    assert good.holds and not poor.holds
    first, second, none = corrected(found, good)
    assert (first.task, first.holds, second.holds, none.holds) == ("far", True, False, False)
    assert first.p == pytest.approx(2 * good.p) and none.p is None
    assert second.p == pytest.approx(poor.p)  # the larger of two: Holm leaves it
    assert [there.holds for there in corrected(found, poor)] == [False] * 3
    one, two = (result(task, shifted(0.96).p) for task in ("far", "farther"))  # alone it holds; of two it does not
    assert corrected([one], good)[0].holds
    assert not any(there.holds for there in corrected([one, two], good))


def test_a_reserved_task_that_has_changed_is_refused(ended: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(ended, tmp_path / "study", symlinks=True))
    text = (folder / "study.toml").read_text()
    away = Study.open(ended).config.held_out[0]
    (folder / "study.toml").write_text(text.replace(away.task_id, "t" + "0" * 12))
    with pytest.raises(NotComparable, match="is now"):
        play_study(Study.open(folder))


def test_where_the_champion_behaves_like_stock_nothing_is_run(
    ended: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(ended, tmp_path / "study", symlinks=True))
    study = Study.open(folder)
    told: list[Mapping[str, Any]] = []
    monkeypatch.delattr("meta.reserve.executor_of")  # no workers are needed
    with study:
        plan = evolve_plan(study)
        found = confirm_on_held_out(study, starter("stock"), shifted(3.0), plan, told.append)
    assert [(there.task, there.champion, there.p, there.holds) for there in found] == [
        ("far", None, None, False), ("farther", None, None, False),
    ]  # fmt: skip
    assert [event["kind"] for event in told] == ["note", "note"]


def test_models_read_what_stock_and_its_twin_gained_at_first(ended: Path, ask: Snapshot) -> None:
    """Of all the programs that ran: the two arms of stock, raced, and of the confirmation none."""
    sql = (
        "SELECT role, avg(verified_gain) AS mean, count(*) AS n, var_samp(verified_gain) AS var FROM runs "
        "WHERE task = 'planted' AND purpose = 'race' AND role IN ('control', 'a/a') GROUP BY 1 ORDER BY 1 DESC"
    )
    stock, twin = ask(sql)
    control = write_briefing(Study.open(ended), PLANTED).control
    assert control is not None and control.first == pytest.approx(stock["mean"])
    assert control.second == pytest.approx(twin["mean"]) and control.runs == min(stock["n"], twin["n"])
    assert control.se == pytest.approx((stock["var"] / stock["n"] + twin["var"] / twin["n"]) ** 0.5)


def with_family(folder: Path, seed: int) -> Task:
    """A simulated task with relatives of other ids. A law is about one untouched script, so they share it."""
    task = named(folder, seed)
    family = '\n[data]\nseed = 1\n\n[family]\nname = "planted"\nshare = 0.0\n\n[family.baseline]\n'
    toml = task.folder / "task.toml"
    toml.write_text(toml.read_text() + family + "LADDER1 = [0.01, 0.5]\nLADDER5 = [0.01, 0.5]\n")
    return Task.load(folder)


def test_a_member_of_the_family_is_shown_and_not_tested(tmp_path: Path) -> None:
    home, other = with_family(tmp_path / "home", 2), named(tmp_path / "far", 3)
    variant = family_member(home, 5, lambda task: True)
    assert variant is not None and variant == family_member(home, 5, lambda task: True)
    assert variant.task_id != home.task_id
    assert variant != family_member(home, 6, lambda task: True) and family_member(other, 5, lambda task: True) is None
    assert family_member(home, 5, lambda task: False) is None
    assert family_member(home, 5, others=[variant]) not in (None, variant)  # --reserve may name a member
    plan = resized(PLAN, generations=0, opening_runs=1, shown_runs=3)
    champion = evolved(tmp_path / "study", home, plan, seed=1, held_out=[other], shown=variant)
    tested, shown = champion.decision.held_out
    assert (tested.task, tested.is_tested, shown.task, shown.is_tested) == ("far", True, variant.name, False)
    assert shown.champion is not None and shown.tested is not None and shown.p is None and not shown.holds
    assert tested.champion is not None and tested.p is not None
    assert (shown.champion.n, shown.tested.gain.n) == (3, 3)
    again = Study.open(tmp_path / "study")
    assert [held_out.tested for held_out in again.config.held_out] == [True, False]


def test_members_of_families_are_named_on_command_lines() -> None:
    done = cli("evolve", "-t", "tabular:7", "--reserve", "letters:3-4", "--quick", "--dry-run", "--json", "--seed", "3")
    plan = done.json
    assert plan["task"] == "tabular-7" and plan["runs"] == sum(work["runs"] for work in plan["works"])
    named = [(work["task"], work["use"]) for work in plan["works"]]
    assert named[:3] == [("tabular-7", ""), ("letters-3", "held out"), ("letters-4", "held out")]
    assert re.fullmatch(r"tabular-7-\d{4,6}", named[3][0]) and plan["works"][3]["runs"] == 8
    assert named[3][1] == "held out, untested" and plan["works"][1]["experiments"] == plan["works"][0]["experiments"]

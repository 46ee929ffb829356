"""Several training tasks, and held-out ones that are touched once, at the end, under the one error budget."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import ttest_ind

from analysis.ledger import read
from analysis.statistics import mean_interval
from analysis.study import read_study
from analysis.verdict.claim import Claim, claim
from analysis.verdict.decision import Decision, HeldOut, decision_of
from analysis.verdict.verdict import decided
from arena.race import ArmScore
from arena.study.study import Study
from arena.study.task_set import TaskSet
from bench.common import champion_of
from bench.whole import evolve_plan, play_study, resized
from meta.champion import write_page_again
from meta.cli.views import view
from meta.mutators.llm.prompt import write_briefing
from meta.reserve import confirm_on_held_out, corrected, family_member, refuse_twice
from programs.common.errors import NotComparable, UsageError
from programs.shelf import starter
from tests.gallery import Gallery
from tests.meta.cli_study import metaloop
from tests.meta.evolved import evolved
from tests.planted_evidence import PLANTED
from tests.studies import TINY, Snapshot, planted
from trainer.task import Task


@pytest.fixture(scope="module")
def ended(gallery: Gallery) -> Path:
    return gallery("evolve")


@pytest.fixture(scope="module")
def decision(ended: Path) -> Decision:
    return decision_of(champion_of(ended) or {})


@pytest.fixture(scope="module")
def ask(ended: Path) -> Snapshot:
    return Snapshot(ended)


def test_match_is_played_on_every_task_by_the_same_arms(ask: Snapshot) -> None:
    sql = "SELECT task, purpose, program_id, role, count(*) AS n FROM runs WHERE task = '{}' GROUP BY ALL ORDER BY ALL"
    north, south = ([{**row, "task": ""} for row in ask(sql.format(task))] for task in ("north", "south"))
    assert north == south
    assert {row["purpose"] for row in north} == {"race", "generation", "confirmation"}
    labels = {row["label"] for row in ask("SELECT label FROM matches WHERE task = 'south'")}
    assert labels == {"opening-south", "generation-1-south", "confirmation-south"}


def test_held_out_task_is_in_no_event_of_the_search(ended: Path) -> None:
    events = list(read(ended / "ledger"))
    confirming = {e["match_id"] for e in events if e["kind"] == "match" and e["purpose"] == "confirmation"}
    assert len(confirming) == 2
    last = max(i for i, e in enumerate(events) if e["kind"] == "match_ended" and e["match_id"] in confirming)
    away = [i for i, e in enumerate(events) if e.get("task") == "far" and e["kind"] != "champion"]
    assert away and min(away) > last
    assert {events[i]["kind"] for i in away} >= {"match", "baseline", "run_started", "verification"}


def test_task_has_a_harvest_of_its_own(ended: Path, decision: Decision, ask: Snapshot) -> None:
    found = ask("SELECT task, files, source_id, gain FROM harvest ORDER BY task")
    assert [row["task"] for row in found] == ["north", "south"] and found[0]["source_id"] != found[1]["source_id"]
    page = (ended / "champion.evidence.md").read_text()
    for row, script in zip(found, decision.scripts, strict=True):
        [[name, text]] = row["files"]
        assert (ended / "best" / row["task"] / name).read_text() == text
        assert f"## Best train.py on {row['task']}" in page
        assert (script.task, script.gain) == (row["task"], row["gain"])
        of = f"task = '{row['task']}'"
        trained = ask(f"SELECT DISTINCT config::VARCHAR AS c FROM harvest_experiments WHERE {of} AND origin = 'run'")
        runs = ask(f"SELECT DISTINCT config::VARCHAR AS c FROM experiments JOIN runs USING (run_id) WHERE runs.{of}")
        assert trained and all(one in runs for one in trained)


def gains(ask: Snapshot, task: str, role: str) -> list[float]:
    sql = f"SELECT verified_gain FROM runs WHERE purpose = 'confirmation' AND task = '{task}' AND role = '{role}'"
    return [row["verified_gain"] for row in ask(sql)]


def test_claim_is_the_mean_over_tasks_in_gains_of_stock(ended: Path, decision: Decision, ask: Snapshot) -> None:
    stock = starter("stock").program_id
    apart = []
    d = decision
    for on in d.tasks:
        search = f"SELECT verified_gain FROM runs WHERE task = '{on.task}' AND stream = 'selection'"
        found = ask(f"{search} AND program_id = '{stock}'")
        before = mean_interval([row["verified_gain"] for row in found])
        assert on.of_stock == before.is_positive
        assert not on.of_stock or on.scale == pytest.approx(before.value)
        both = gains(ask, on.task, "control") + gains(ask, on.task, "a/a")  # the same program: one sample
        ours, stocks = mean_interval(gains(ask, on.task, "champion")), mean_interval(both)
        assert (on.champion.value, on.tested.value) == pytest.approx((ours.value, stocks.value))
        apart.append((ours.or_zero - stocks.or_zero) / on.scale)
    assert d.tested.lead.value == pytest.approx(sum(apart) / 2)
    assert [on.task for on in d.tasks] == ["north", "south"] and (champion_of(ended) or {})["holds"] == d.holds


def test_page_of_every_task_written_again_is_the_same(ended: Path, decision: Decision, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(ended, tmp_path / "study", symlinks=True))
    page = (folder / "champion.evidence.md").read_text().replace(str(ended), str(folder))
    assert all(sentence in page for sentence in decided(decision).sentences)
    assert all(f"| {decision.name} | on {task} |" in page for task in ("north", "south"))
    study = Study.open(folder)
    with study:
        assert write_page_again(study)
    assert (folder / "champion.evidence.md").read_text() == page


def test_task_named_twice_is_refused(tmp_path: Path) -> None:
    north, south = (planted(tmp_path / name, name=name) for name in ("north", "south"))
    for training, reserve in (([north, south], [south]), ([north, north], []), ([north], [south, south])):
        with pytest.raises(UsageError, match="named twice"):
            refuse_twice(training, reserve)
    words = ("evolve", "-t", f"{north.folder},{south.folder}", "--reserve", str(south.folder), "-s", tmp_path / "study")
    assert "named twice" in metaloop(*words, code=2).stderr and not (tmp_path / "study").exists()


def test_arms_are_promoted_by_the_mean_over_tasks(ended: Path, tmp_path: Path) -> None:
    study = Study.open(Path(shutil.copytree(ended, tmp_path / "study", symlinks=True)))
    with study:
        tasks = TaskSet.of(study)
        (match,) = tasks.enter("race", [], purpose="race", stream="selection")[:1]
        north, south = tasks.scales()
        early = [[ArmScore("a", True, (1.0, 2.0)), ArmScore("b", True, (3.0, 0.0))],
                 [ArmScore("c", True, (4.0, 4.0, 9.0)), ArmScore("d", True, (2.0,))]]  # fmt: skip
        first, second = tasks.combined(early, match, [north, south])
    means = tuple((n / north.size + 4.0 / south.size) / 2 for n in (1.0, 2.0))
    assert first == ArmScore("a", True, means)
    assert len(second.gains) == 1  # a run counts once there is one of its number on every task


@pytest.fixture(scope="module")
def window(root: Path) -> Path:
    return root / "one"


@pytest.fixture(scope="module")
def ask_window(window: Path) -> Snapshot:
    return Snapshot(window)


@pytest.fixture(scope="module")
def decision_there(window: Path) -> Decision:
    return decision_of(champion_of(window) or {})


def test_its_figures_are_those_of_the_runs_there(window: Path, decision_there: Decision, ask_window: Snapshot) -> None:
    with read_study(window, views=["transfer"]) as con:
        kinds = {row["task"]: row["on"].partition(" (")[2].partition(")")[0] for row in view("transfer").rows(con)}
    assert kinds == {"planted": "training task", "far": "held-out task", "farther": "held-out task"}
    assert len(decision_there.held_out) == 2
    for there in decision_there.held_out:
        assert there.p is not None and there.holds == (decision_there.holds and there.p < 0.025)
        assert there.champion is not None and there.tested is not None
        sql = f"SELECT role, avg(verified_gain) AS gain, count(*) AS n FROM runs WHERE task = '{there.task}' GROUP BY 1"
        gains = {row["role"]: (row["gain"], row["n"]) for row in ask_window(sql)}
        assert gains["champion"] == pytest.approx((there.champion.value, 2))
        assert gains["control"] == pytest.approx((there.tested.gain.value, 2))
    baselines = ask_window("SELECT task, count(*) AS n FROM baselines WHERE stream = 'reserve' GROUP BY 1 ORDER BY 1")
    assert baselines == [{"task": "far", "n": 8}, {"task": "farther", "n": 8}]
    seeds = "SELECT run_seed, stream FROM runs"
    drawn = [{row["run_seed"] for row in ask_window(f"{seeds} WHERE stream {s} 'reserve'")} for s in ("=", "<>")]
    assert drawn[0] and not drawn[0] & drawn[1]
    assert ask_window("SELECT DISTINCT task FROM credit") == [{"task": "planted"}]


STOCK = [-1.0, -0.5, 0.0, 0.0, 0.5, 1.0]


def shifted(by: float) -> Claim:
    """Champion against stock, six runs each, apart by so much; a standard deviation is .71."""
    return claim({"champion": [gain + by for gain in STOCK], "control": STOCK})


def test_the_one_test_is_held_against_a_level_of_a_fortieth() -> None:
    for by, low, high in ((0.82, 0.025, 0.05), (0.96, 0.01, 0.025), (0.3, 0.1, 0.5), (3.0, 0.0, 1e-4)):
        found = shifted(by)
        p = ttest_ind([gain + by for gain in STOCK], STOCK, equal_var=False, alternative="greater").pvalue
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


def test_a_reserved_task_that_has_changed_is_refused(window: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(window, tmp_path / "study", symlinks=True))
    text = (folder / "study.toml").read_text()
    away = Study.open(window).config.held_out[0]
    (folder / "study.toml").write_text(text.replace(away.task_id, "t" + "0" * 12))
    with pytest.raises(NotComparable, match="is now"):
        play_study(Study.open(folder))


def test_where_the_champion_behaves_like_stock_nothing_is_run(
    window: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(window, tmp_path / "study", symlinks=True))
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


def test_models_read_what_stock_and_its_twin_gained_at_first(window: Path, ask_window: Snapshot) -> None:
    """Of all the programs that ran: the two arms of stock, raced, and of the confirmation none."""
    sql = (
        "SELECT role, avg(verified_gain) AS mean, count(*) AS n, var_samp(verified_gain) AS var FROM runs "
        "WHERE task = 'planted' AND purpose = 'race' AND role IN ('control', 'a/a') GROUP BY 1 ORDER BY 1 DESC"
    )
    stock, twin = ask_window(sql)
    control = write_briefing(Study.open(window), PLANTED).control
    assert control is not None and control.first == pytest.approx(stock["mean"])
    assert control.second == pytest.approx(twin["mean"]) and control.runs == min(stock["n"], twin["n"])
    assert control.se == pytest.approx((stock["var"] / stock["n"] + twin["var"] / twin["n"]) ** 0.5)


def test_a_member_of_the_family_is_shown_and_not_tested(tmp_path: Path) -> None:
    home, other = planted(tmp_path / "home", name="home"), planted(tmp_path / "far", 3, name="far")
    with (home.folder / "task.toml").open("a") as toml:  # a law is about one untouched script, so relatives share it
        toml.write('\n[data]\nseed = 1\n\n[family]\nname = "planted"\nshare = 0.0\n\n[family.baseline]\n')
        toml.write("LADDER1 = [0.01, 0.5]\nLADDER5 = [0.01, 0.5]\n")
    home = Task.load(home.folder)
    variant = family_member(home, 5, lambda task: True)
    assert variant is not None and variant == family_member(home, 5, lambda task: True)
    assert variant.task_id != home.task_id
    assert variant != family_member(home, 6, lambda task: True) and family_member(other, 5, lambda task: True) is None
    assert family_member(home, 5, lambda task: False) is None
    assert family_member(home, 5, others=[variant]) not in (None, variant)  # --reserve may name a member
    plan = resized(TINY, generations=0, opening_runs=1, shown_runs=3, final={"without-ideas": 0})
    champion = evolved(tmp_path / "study", home, plan, seed=1, held_out=[other], shown=variant)
    tested, shown = champion.decision.held_out
    assert (tested.task, tested.is_tested, shown.task, shown.is_tested) == ("far", True, variant.name, False)
    assert shown.champion is not None and shown.tested is not None and shown.p is None and not shown.holds
    assert tested.champion is not None and tested.p is not None
    assert (shown.champion.n, shown.tested.gain.n) == (3, 3)
    again = Study.open(tmp_path / "study")
    assert [held_out.tested for held_out in again.config.held_out] == [True, False]


def test_members_of_families_are_named_on_command_lines() -> None:
    words = ("evolve", "-t", "tabular:7", "--reserve", "letters:3-4", "--quick", "--dry-run", "--json", "--seed", "3")
    plan = metaloop(*words).json
    assert plan["task"] == "tabular-7" and plan["runs"] == sum(work["runs"] for work in plan["works"])
    named = [(work["task"], work["use"]) for work in plan["works"]]
    assert named[:3] == [("tabular-7", ""), ("letters-3", "held out"), ("letters-4", "held out")]
    assert re.fullmatch(r"tabular-7-\d{4,6}", named[3][0]) and plan["works"][3]["runs"] == 8
    assert named[3][1] == "held out, untested" and plan["works"][1]["experiments"] == plan["works"][0]["experiments"]

"""Several home tasks: the same arms on each, one race and one claim over them, and the reserve untouched till then."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from analysis.ledger import read
from analysis.statistics import mean_interval
from analysis.verdict.decision import Decision, decision_of
from analysis.verdict.verdict import decided
from analysis.views.scales import UNIT
from arena.race import ArmScore
from arena.study.study import Study
from arena.study.task_set import TaskSet
from bench.common import champion_of
from meta.champion import write_page_again
from meta.reserve import refuse_twice
from programs.common.errors import UsageError
from programs.shelf import starter
from tests.gallery import Gallery
from tests.meta.cli_study import metaloop
from tests.studies import Snapshot, planted
from trainer.task import Task

NORTH, SOUTH, FAR = ("north", 2), ("south", 5), ("far", 9)


def home_of(folder: Path, name: str, seed: int) -> Task:
    return planted(folder / name, seed, name=name)


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


def test_page_names_every_task(ended: Path, decision: Decision) -> None:
    page = (ended / "champion.evidence.md").read_text()
    assert all(sentence in page for sentence in decided(decision).sentences) and UNIT in page
    for task in ("north", "south"):
        assert f"| {decision.name} | on {task} |" in page and f"stock (A/A, {task}) minus stock" in page


def test_page_written_again_is_the_same(ended: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(ended, tmp_path / "study", symlinks=True))
    page = (folder / "champion.evidence.md").read_text().replace(str(ended), str(folder))
    study = Study.open(folder)
    with study:
        assert write_page_again(study)
    assert (folder / "champion.evidence.md").read_text() == page


def test_task_named_twice_is_refused(tmp_path: Path) -> None:
    north, south = (home_of(tmp_path, *task) for task in (NORTH, SOUTH))
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


def test_view_has_the_scales_that_the_study_chose_by(ended: Path, ask: Snapshot, tmp_path: Path) -> None:
    study = Study.open(Path(shutil.copytree(ended, tmp_path / "study", symlinks=True)))
    with study:
        used = {scale.task: (scale.size, scale.of_stock) for scale in TaskSet.of(study).scales()}
    told = ask("SELECT task, size, of_stock FROM scales")
    assert {row["task"]: (pytest.approx(row["size"]), row["of_stock"]) for row in told} == used

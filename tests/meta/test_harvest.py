"""The best train.py of a study: how it is found, measured, written and compared; simulated tasks."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from scipy.stats import ttest_ind

from analysis.found_scripts import found_script
from analysis.ledger.events import HarvestEvent, HarvestExperimentEvent
from analysis.statistics import Estimate, t_quantile
from analysis.study import open_study, query
from analysis.verdict.caveats import caveats
from arena.after.harvest import HARVEST, Search, best_edits, best_final, harvest, untouched
from arena.measuring import baseline_metric, measure_baseline
from arena.study.setup import CHOOSING_SEEDS, FINALISTS, FRESH_SEEDS, LEAST_HARVEST
from arena.study.study import Study
from arena.study.task_study import TaskStudy
from arena.work.executors.in_process import InProcessExecutor
from arena.work.jobs import Job, JobResult, MeasureJob
from bench.whole import begin_study, play_study, resized
from meta.cli.output import Output
from meta.cli.study_result import show_study_result
from meta.evolve import search
from meta.outcome.evidence_page import evidence_page
from tests.meta.evolved import evolved
from tests.studies import TINY, planted, silent
from trainer.task import Task

BUDGET = 0.6  # device-seconds of a run
EXPERIMENTS = LEAST_HARVEST + 8
PLAN = resized(
    TINY, starters=2, opening_more=2, generations=0, harvest_percent=50,
    final={"champion": 2, "control": 2, "without-ideas": 0, "a/a": 0},
)  # fmt: skip


class Noting(InProcessExecutor):
    """Keeps which experiments each job is compared with."""

    own: ClassVar[dict[str, tuple[int | None, ...]]] = {}  # by job: seeds of the experiments that it is compared with

    def noted(self, jobs: Iterable[Job]) -> Iterator[Job]:
        for job in jobs:
            if isinstance(job, MeasureJob):
                self.own[job.job_id] = tuple(used.seed for used in job.own)
            yield job

    def run(self, jobs: Iterable[Job]) -> Iterator[JobResult]:
        yield from super().run(self.noted(jobs))


def harvested(folder: Path) -> HarvestEvent:
    study = Study.open(folder)
    with study, Noting(study, silent, repositories=True) as executor:
        return harvest(TaskStudy(study), executor, EXPERIMENTS)


def experiments(folder: Path) -> dict[tuple[str, int], HarvestExperimentEvent]:
    study = Study.open(folder)
    study.look()
    made = study.state.harvested[study.task.name, HARVEST]
    return {at: replace(event, wall_seconds=0.0) for at, event in made.items()}


def searched_on(task: Task, folder: Path) -> Path:
    """A study up to its confirmation."""
    study = begin_study(folder, task, PLAN, seed=5, run_budget=BUDGET)
    with study, InProcessExecutor(study, silent, repositories=True) as executor:
        search(study, PLAN, executor, silent)
    return folder


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The best of its finalists is not the one that the search found best."""
    folder = tmp_path_factory.mktemp("harvest")
    return searched_on(planted(folder / "task", experiments=6), folder / "study")


Harvested = tuple[Path, HarvestEvent]


@pytest.fixture(scope="module")
def whole(searched: Path) -> Harvested:
    folder = Path(shutil.copytree(searched, searched.parent / "whole", symlinks=True))
    return folder, harvested(folder)


def test_harvest_starts_from_model_and_runs_and_from_the_best(whole: Harvested) -> None:
    folder, event = whole
    made = [one for (stage, _), one in sorted(experiments(folder).items()) if stage == "search"]
    origins = [one.origin for one in made]
    assert origins[0] == "model" and {"run", "elite"} <= set(origins) and len(made) == event.experiments
    assert origins == sorted(origins, key=["model", "run", "elite"].index)
    assert len({one.source_id for one in made}) == len({one.seed for one in made}) == len(made)
    runs = {row["run_id"]: row for row in query(folder, "SELECT run_id, final_source_id, claimed_gain FROM runs")}
    best = max(row["claimed_gain"] for row in runs.values())
    [first, *_] = [one for one in made if one.origin == "run"]
    assert first.from_run and runs[first.from_run]["claimed_gain"] == best
    assert runs[first.from_run]["final_source_id"] == first.source_id
    seen = {one.source_id: one.metric for one in made}
    for at, one in enumerate(made):
        if one.origin == "elite":  # its parent is among the best four before its wave
            before = sorted((m, s) for s, m in ((x.source_id, x.metric) for x in made[:at]) if m is not None)
            assert one.parent_source_id in seen and one.parent_source_id in {s for _, s in before[:7]}


def test_announced_gain_is_of_seeds_and_data_that_chose_nothing(whole: Harvested) -> None:
    folder, event = whole
    stages: dict[str, list[HarvestExperimentEvent]] = {"search": [], "choose": [], "measure": []}
    for (stage, _), one in sorted(experiments(folder).items()):
        stages[stage].append(one)
    assert [{one.stream for one in made} for made in stages.values()] == [{"search"}, {"selection"}, {"confirmation"}]
    seeds = [{one.seed for one in made} for made in stages.values()]
    assert len(seeds[1]) == CHOOSING_SEEDS and len(seeds[2]) == event.n == FRESH_SEEDS
    assert not seeds[0] & seeds[1] and not seeds[1] & seeds[2] and not seeds[0] & seeds[2]
    others = query(folder, "SELECT seed FROM verifications UNION SELECT seed FROM baselines")
    assert not seeds[2] & {row["seed"] for row in others}
    study = Study.open(folder)
    with study, InProcessExecutor(study, silent) as executor:
        base = {}
        for stream in ("selection", "confirmation"):
            measure_baseline(TaskStudy(study), executor, stream, "")
            base[stream] = baseline_metric(study.state, study.task.name, stream, None)
    by_source: dict[str, list[float]] = {}
    for one in stages["choose"]:
        by_source.setdefault(one.source_id, []).append(base["selection"] - (one.metric or 0.0))
    means = {source_id: sum(gains) / CHOOSING_SEEDS for source_id, gains in by_source.items()}
    assert len(means) == event.finalists == FINALISTS and max(means, key=means.__getitem__) == event.source_id
    assert event.source_id != stages["choose"][0].source_id
    assert event.chosen_by == pytest.approx(means[event.source_id])
    assert {one.source_id for one in stages["measure"]} == {event.source_id} and event.trust == "verified"
    gains = [base["confirmation"] - (one.metric or 0.0) for one in stages["measure"]]
    assert event.gain == pytest.approx(sum(gains) / FRESH_SEEDS) and event.low is not None and event.high is not None
    sql = "SELECT metric FROM baselines WHERE stream = 'confirmation'"  # their error is in every one of these gains
    measured = [one.metric for one in stages["measure"]]
    welch = ttest_ind([row["metric"] for row in query(folder, sql)], measured, equal_var=False)
    assert (event.low, event.high) == pytest.approx(welch.confidence_interval())
    spent = sum(one.device_seconds_charged for made in stages.values() for one in made)
    assert event.device_seconds_charged == pytest.approx(spent)
    assert 0 < spent <= EXPERIMENTS * study.task.cost_seconds + 1e-9


def test_search_that_pays_only_for_its_finals_still_ends(searched: Path) -> None:
    study = Study.open(Path(shutil.copytree(searched, searched.parent / "short", symlinks=True)))
    with study, InProcessExecutor(study, silent) as executor:
        search = Search(TaskStudy(study), executor, "long-elite")
        ended = search.winner(8 * study.task.cost_seconds, lambda: [untouched(study.task)])
    assert (ended.n, ended.experiments, ended.origin) == (FRESH_SEEDS, 0, "untouched")


def test_verification_is_compared_with_its_sources_experiments(whole: Harvested) -> None:
    made = experiments(whole[0])
    seeds = {one.source_id: one.seed for (stage, _), one in made.items() if stage == "search"}
    for (stage, number), one in made.items():
        own = () if stage == "search" else (seeds[one.source_id],)
        assert Noting.own[f"harvest-{one.task}-{stage}-{number}"] == own


def test_the_best_edits_are_those_with_a_gain_that_go_together(searched: Path) -> None:
    task = Study.open(searched).task
    first, second, third, *_ = (knob for knob in task.edits.knobs if knob.kind == "float")
    known = task.edits.config(task.baseline())
    values = [value for value in first.values if value != known[first.name]]

    def effect(mean: float, low: float) -> Estimate:
        return Estimate(mean, (mean - low) / t_quantile(0.975, 9.0), 9.0)

    other = next(value for value in second.values if value != known[second.name])
    worse = next(value for value in third.values if value != known[third.name])
    found = ((first, values[0], 0.2, 0.1), (first, values[1], 0.3, -0.1), (second, other, 0.1, 0.05),
             (third, worse, -0.1, -0.2))  # fmt: skip
    effects = {(knob.name.lower(), f"{value:.12g}"): effect(mean, low) for knob, value, mean, low in found}
    effects["gone", '"x"'] = effect(9.0, 8.0)
    assert best_edits(task, effects)[1].set == {first.name: values[1], second.name: other}
    source, edit = best_edits(task, effects, certain=True)
    assert edit.set == {first.name: values[0], second.name: other}
    assert source == task.edits.apply(task.baseline(), edit)


def test_the_study_leaves_the_train_py_and_its_evidence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The runs behind its claim are verified with more seeds than those of the search."""
    folder, plan = tmp_path / "study", resized(PLAN, opening_runs=1)
    champion = evolved(
        folder, planted(tmp_path / "task", experiments=6), plan, seed=4, run_budget=BUDGET, confirm_seeds=4
    )
    seeds = "SELECT stream, min(verified_seeds) AS low, max(verified_seeds) AS high FROM runs GROUP BY 1"
    found = {row["stream"]: (row["low"], row["high"]) for row in query(folder, seeds)}
    assert found == {"selection": (2, 2), "confirmation": (4, 4)}
    [row] = query(folder, "FROM harvest")
    [[name, text]] = row["files"]
    assert name == "train.py" and (folder / "best_train.py").read_text() == text
    page = (folder / "champion.evidence.md").read_text()
    assert "## Best train.py" in page and f"{row['gain']:.2f}"[:4] in page
    assert champion.decision.scripts[0].gain == row["gain"] and "trained again 4 times" in page
    show_study_result(Output(person=False), folder)
    [script] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("best train.py\t")]
    assert f"{row['gain']:.2f}"[:4] in script and "8 seeds" in script
    (folder / "best_train.py").unlink()
    again = Study.open(folder)
    assert play_study(again) == champion and (folder / "best_train.py").read_text() == text
    again.config = again.config.model_copy(update={"sandbox": False})
    checks = re.findall("^    (metaloop verify .*)", evidence_page(again, champion), re.MULTILINE)
    assert len(checks) == 2 and all(line.endswith(" --no-sandbox") for line in checks) and "--no-sandbox" not in page


class Slower(InProcessExecutor):
    """On a machine that becomes slower at the end, by ``by`` in the unit of the metric."""

    by = 0.0

    def run(self, jobs: Iterable[Job]) -> Iterator[JobResult]:
        for result in super().run(jobs):
            changed = (replace(m, metric=(m.metric or 0.0) + self.by) for m in result.measurements)
            yield replace(result, measurements=tuple(changed)) if "-drift-" in result.job_id else result


def test_time_measured_at_changing_speed_has_no_verdict(tmp_path: Path) -> None:
    task = planted(tmp_path / "task", experiments=6)
    toml = task.folder / "task.toml"
    toml.write_text(toml.read_text().replace("[task]\n", "[task]\ntimed = true\n"))
    before = searched_on(Task.load(task.folder), tmp_path / "study")
    for by, drifts in ((0.0, False), (-9.0, True)):
        folder = Path(shutil.copytree(before, tmp_path / f"by{by}", symlinks=True))
        study = Study.open(folder)
        with study, Slower(study, silent, repositories=True) as executor:
            executor.by = by
            event = harvest(TaskStudy(study), executor, EXPERIMENTS)
            assert best_final(TaskStudy(study), executor) == event
        assert event.gain is not None and event.drift is not None and (abs(event.drift) > 2) == drifts
        assert (event.low is None) == (event.high is None) == (event.se is None) == drifts
        with open_study(folder) as con:
            titles = [caveat.title for caveat in caveats(con)]
        assert found_script(task, event).drift == event.drift and ("The machine's speed changed" in titles) == drifts

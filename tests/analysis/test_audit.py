"""What a check on fresh data says, on numbers whose truth is known; and what a search's own rows can show."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from analysis.ledger.run_state import RunState, StudyState
from analysis.looks import looks_of
from analysis.verdict.decision import Looks
from analysis.verdict.gain_estimate import GainEstimate, gain_over_rows, gain_over_seeds
from analysis.verdict.recheck import Lead, keeps_its_gain, lead, source_verdict, study_verdict, too_high
from inner_loop.events import DecisionEvent, Experiment
from programs.common.errors import Corrupt
from tests.events import example
from tests.trainer.foreign_repos import command_task
from trainer.rows import COUNT, DRAWN, EXACT, LUCK_DRAWS, UNKNOWN, RowStore, held_back, resolvable, share_error
from trainer.streams import Streams
from trainer.task import Task

BASELINE = [1.60, 1.62, 1.61, 1.59]


def mean_difference(metrics: list[float | None], baseline: list[float], sign: float) -> GainEstimate:
    middle = sum(baseline) / len(baseline)
    return gain_over_seeds([0.0 if m is None else sign * (middle - m) for m in metrics], baseline, UNKNOWN)


def test_gain_is_the_distance_to_baseline_and_a_failure_has_none() -> None:
    found = mean_difference([1.50, None], BASELINE, 1.0)
    assert found.gain == pytest.approx((0.105 + 0.0) / 2) and found.n == 2
    assert mean_difference([1.50, 1.51], BASELINE, -1.0).gain == pytest.approx(-0.1)


JUDGED: list[tuple[list[float | None], list[str], str, str]] = [
    ([1.50, 1.51, 1.49], [], "", "better than the baseline"),
    ([1.70, 1.71, 1.69], [], "", "worse"),
    ([1.61, 1.58, 1.62], [], "", "not shown"),
    ([1.4, None], ["crash: no"], "", "not shown"),
    ([None, None], ["crash: no"] * 2, "", "invalid: crash: no"),  # it fails under every seed
    ([None, None], ["invalid: not finite"] * 2, "", "invalid: not finite"),
    ([1.4, 1.41], [], "embedded: all", "invalid: embedded: all"),  # it needs no training
]


def test_a_source_is_judged_by_its_interval() -> None:
    for metrics, reasons, embedded, verdict in JUDGED:
        found = mean_difference(metrics, BASELINE, 1.0)
        assert source_verdict(found, reasons, embedded, len(metrics)) == verdict


def test_gain_that_stays_untrained_differs_from_one_that_is_lost() -> None:
    trained = mean_difference([1.40, 1.41, 1.39], BASELINE, 1.0)
    assert keeps_its_gain(trained, mean_difference([1.42, 1.43, 1.44], BASELINE, 1.0))
    assert not keeps_its_gain(trained, mean_difference([1.55, 1.56, 1.54], BASELINE, 1.0))
    assert not keeps_its_gain(trained, mean_difference([2.30, 2.31, 2.29], BASELINE, 1.0))
    assert not keeps_its_gain(trained, mean_difference([None, None], BASELINE, 1.0))


def measured(rng: np.random.Generator, champion: float, stock: float, runs: int) -> Lead:
    baseline = list(rng.normal(1.6, 0.02, 8))
    arms = list(rng.normal(champion, 0.1, runs)), list(rng.normal(stock, 0.1, runs))
    return lead(*arms, baseline, (1.0, 1.0), DRAWN)


def test_noise_of_a_gain_is_named_and_no_interval_has_width_zero() -> None:
    """Same metrics under all seeds: 100 fixed rows and a deterministic script, as a newcomer's."""
    fixed = gain_over_seeds([0.01, 0.01, 0.01], [0.24, 0.24, 0.24], UNKNOWN)
    assert (fixed.gain, fixed.low, fixed.high, fixed.noise) == (pytest.approx(0.01), None, None, "")
    assert gain_over_seeds([0.01] * 3, [0.24] * 3, COUNT).low is None
    for third in (0.1, 0.02, 0.7 / 3):  # the mean of three equal numbers may be another one
        assert gain_over_seeds([third] * 3, [third] * 3, UNKNOWN).noise == ""
    exact = gain_over_seeds([3.0, 3.0], [40.0, 40.0], EXACT)
    assert (exact.low, exact.noise) == (None, "exact")
    seeds = gain_over_seeds([0.01, 0.02, 0.03], BASELINE, UNKNOWN)
    assert seeds.noise == "seeds" and seeds.low is not None
    drawn = gain_over_seeds([0.01, 0.02, 0.03], [], DRAWN)
    assert drawn.noise == "seeds rows" and drawn.se == pytest.approx(0.01 / 3**0.5)
    assert seeds.se is not None and seeds.se > drawn.se  # a shared baseline has an error of its own


def test_a_few_rows_that_differ_show_nothing() -> None:
    """Of n that differ, all to the better: by chance in one case of 2ⁿ, and 2.5% are the limit."""
    found = {n: gain_over_rows(np.array([1.0] * n + [0.0] * (90 - n))) for n in (0, 1, 4, 5, 8)}
    assert [found[n].is_positive for n in found] == [False, False, False, False, True]
    assert found[0].low is None and found[0].noise == "" and found[8].noise == "rows"
    many = gain_over_rows(np.random.default_rng(1).normal(0.1, 1.0, 400))
    assert many.df > 100 and many.low is not None and many.high is not None


def test_a_source_that_ignores_its_seed_is_one_draw() -> None:
    still = gain_over_seeds([0.1, 0.1, 0.1], BASELINE, UNKNOWN)
    assert still.n == 1 and still.se == pytest.approx(np.std(BASELINE, ddof=1) * (1 + 1 / 4) ** 0.5)
    rows = gain_over_seeds([0.1, 0.3], [], DRAWN, ignores_seed=True)
    assert rows.n == 1 and rows.se == pytest.approx(np.std([0.1, 0.3], ddof=1) * 1.5**0.5)


def test_verdicts_of_studies_against_the_truth() -> None:
    rng = np.random.default_rng(3)
    found = {"honest": [], "forged": [], "nothing": []}  # type: dict[str, list[str]]
    for _ in range(200):
        split = 1.0 + rng.normal(0, 0.05)  # another split changes what there is to gain
        honest = measured(rng, 0.9, 0.45, 20)
        found["honest"].append(study_verdict(honest, measured(rng, 0.9 * split, 0.45 * split, 8), "")[0])
        found["forged"].append(study_verdict(honest, measured(rng, 0.45, 0.45, 8), "")[0])
        same = measured(rng, 0.5, 0.5, 20)
        found["nothing"].append(study_verdict(same, measured(rng, 0.5, 0.5, 8), "")[0])
    assert found["honest"].count("confirmed") > 195 and "contradicted" not in found["honest"]
    assert found["forged"].count("contradicted") > 195
    assert found["nothing"].count("nothing to confirm") > 185 and found["nothing"].count("contradicted") <= 2


def test_one_run_decides_nothing_and_weights_contradict_a_study() -> None:
    rng = np.random.default_rng(5)
    one, recorded = measured(rng, 0.1, 0.4, 1), measured(rng, 0.9, 0.4, 20)
    assert not too_high(recorded.lead, one.lead) and study_verdict(recorded, one, "")[0] == "not confirmed"
    weights = "embedded: 0.8 of 0.9"
    assert study_verdict(recorded, recorded, weights) == ("contradicted", weights)


TRIES, STREAMS = 12, Streams.from_seed(3)


def own_task(folder: Path, score: str) -> Task:
    made = command_task(folder, {"train.py": "print('loss: 1')\n"})
    toml = made.folder / "task.toml"
    toml.write_text(toml.read_text().replace("[score]\n", f"[score]\n{score}\n"))
    return Task.load(folder)


def experiment(number: int, metric: float | None, rows: str | None = None) -> Experiment:
    about = {"experiment_id": f"e{number}", "source_id": f"s{number}", "replicate": 0, "fraction": 1.0, "status": "ok"}
    return example(Experiment, number=number, metric=metric, rows=rows, **about)


def state_of(task: Task, experiments: list[Experiment], kept: set[int]) -> StudyState:
    state, run = StudyState(), RunState(started=cast(Any, SimpleNamespace(task=task.name)))
    for event in experiments:
        decision = "keep" if event.number in kept else "discard"
        run.take(event)
        run.take(example(DecisionEvent, experiment_id=event.experiment_id, decision=decision))
    state.runs["r"] = run
    return state


def with_rows(folder: Path, task: Task, rows: int, effect: float) -> Looks | None:
    """Of tries that each change the answers of a tenth of the rows; the first is kept and corrects ``effect`` more."""
    rng, store = np.random.default_rng(1), RowStore(folder)
    old = (rng.random(rows) < 0.3).astype(float)
    events = [experiment(0, float(old.mean()), store.put(old))]
    for number in range(1, TRIES + 1):
        new = old.copy()
        changed = rng.permutation(rows)[: rows // 10]
        new[changed] = rng.permutation(old[changed])
        wrong = np.flatnonzero(new)
        new[wrong[: round(effect * rows) if number == 1 else 0]] = 0.0
        events.append(experiment(number, float(new.mean()), store.put(new)))
    return looks_of(folder, state_of(task, events, {1}), task, STREAMS, earlier=5)


@pytest.mark.parametrize(("effect", "is_luck"), [(0.0, True), (0.15, False)])
def test_looks_with_values_of_rows_have_a_luck_test(tmp_path: Path, effect: float, is_luck: bool) -> None:
    task = own_task(tmp_path / "task", 'rows = "losses.csv"\nn_rows = 1000')
    seen = with_rows(tmp_path / "study", task, 1000, effect)
    assert seen is not None and (seen.tries, seen.earlier) == (TRIES + 5, 5)
    search = int((~held_back(STREAMS, task.task_id, 1000)).sum())
    assert seen.rows == search < 1000 and seen.step == pytest.approx(1 / search)
    assert seen.p is not None and seen.luck is not None and seen.luck > 0 and seen.resolvable
    assert (seen.p > 0.05) == is_luck and (seen.p == pytest.approx(1 / (1 + LUCK_DRAWS))) == (not is_luck)
    assert 0 < seen.resolvable < resolvable(math.sqrt(2) * share_error(0.3, search))  # paired


def test_looks_with_the_number_of_rows_have_an_error(tmp_path: Path) -> None:
    task = own_task(tmp_path / "task", "n_rows = 100")
    events = [experiment(number, 0.2) for number in range(4)] + [experiment(4, None)]
    seen = looks_of(tmp_path, state_of(task, events, set()), task, STREAMS)
    se = math.sqrt(2) * 0.04
    assert seen == Looks(
        "loss", 3, 0, 100, 0.01, pytest.approx(2.8 * se), luck=pytest.approx(se * math.sqrt(2 * math.log(3)))
    )


def test_looks_without_known_noise_are_counted_alone(tmp_path: Path) -> None:
    task = own_task(tmp_path / "task", "")
    state = state_of(task, [experiment(0, 0.2), experiment(1, 0.1)], set())
    assert looks_of(tmp_path, state, task, STREAMS) == Looks("loss", 1)
    assert looks_of(tmp_path, state_of(task, [experiment(0, 0.2)], set()), task, STREAMS) is None
    assert looks_of(tmp_path, state, Task.load("strokes"), STREAMS) is None
    assert looks_of(tmp_path, state, own_task(tmp_path / "exact", "exact = true"), STREAMS) is None


def test_looks_at_missing_values_of_rows_are_an_error(tmp_path: Path) -> None:
    task = own_task(tmp_path / "task", 'rows = "losses.csv"\nn_rows = 1000')
    events = [experiment(0, 0.2, "0" * 24), experiment(1, 0.1, "1" * 24)]
    with pytest.raises(Corrupt, match="is not the file that was recorded"):
        looks_of(tmp_path / "study", state_of(task, events, set()), task, STREAMS)

"""The difference of two sources: its gain on the same seeds, and the noise that its standard error contains."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inner_loop.bench import Bench
from inner_loop.comparison import decide_by, difference
from inner_loop.events import Experiment, Proposal
from inner_loop.scripted import keep
from inner_loop.scripted.trials import Trials
from inner_loop.stored_sources import StoredSources
from programs.charter import Keep
from tests.events import of, typed
from tests.inner_loop.play import open_bench, play, program
from tests.trainer.foreign_repos import command_task, trainer_of
from trainer.edits import Edit
from trainer.experiment import Trainer
from trainer.rows import KEPT, Difference, held_back, paired, share_error
from trainer.task_file import RunSection

RATES = (0.02, 0.03, 0.1)


@pytest.fixture
def bench(cached: Trainer) -> Bench:
    """A bench with its baseline and three other sources, each measured with one seed."""
    opened, _ = open_bench(cached, 40, kept_errors=KEPT)
    for rate in RATES:
        opened.experiment(Proposal(Edit({"LR": rate})))
    return opened


def with_metrics(bench: Bench, metrics: Mapping[int, Sequence[float]]) -> Bench:
    """The bench's sources as if they had been measured with so many seeds: number of a source → metric of each."""
    firsts = {number: bench.history[number] for number in metrics}
    bench.history[:] = [
        replace(firsts[number], metric=metric, replicate=seed)
        for number, values in metrics.items()
        for seed, metric in enumerate(values)
    ]
    return bench


def source(bench: Bench, at: int) -> Experiment:
    """The first record of the source number ``at``."""
    return [record for record in bench.history if record.replicate == 0][at]


def with_score(bench: Bench, **score: object) -> Bench:
    bench.task = replace(bench.task, scoring={**bench.task.scoring, **score})  # type: ignore[typeddict-item]
    return bench


def test_difference_of_common_seeds_has_no_error_without_noise(bench: Bench) -> None:
    with_metrics(bench, {0: [1.0, 3.0], 1: [0.9]})
    assert difference(bench, source(bench, 1), source(bench, 0)) == (pytest.approx(0.1), None, None)
    bench.history[2:] = [replace(bench.history[2], replicate=5)]
    assert difference(bench, bench.history[2], source(bench, 0)) is None, "no seed in common"


def test_difference_of_seeds_leaves_out_what_sources_share(bench: Bench) -> None:
    with_metrics(bench, {0: [1.0, 2.0], 1: [0.9, 1.92], 2: [0.5, 1.5], 3: [0.7, 1.7]})
    found = difference(bench, source(bench, 1), source(bench, 0))
    apart = [[1.0, 2.0], [0.9, 1.92], [0.5, 1.5], [0.7, 1.7]]
    every = [np.var(np.subtract(a, b), ddof=1) for at, a in enumerate(apart) for b in apart[:at]]
    assert found == (pytest.approx(0.09), pytest.approx(math.sqrt(np.mean(every) / 2)), None)


def test_difference_of_two_repeats_takes_spread_of_one_source(bench: Bench) -> None:
    with_metrics(bench, {0: [1.0, 1.2], 1: [0.8, 0.6]})
    found = difference(bench, source(bench, 1), source(bench, 0))
    assert found == (pytest.approx(0.4), pytest.approx(math.sqrt(2 * 0.02 / 2)), None)


def test_difference_of_rows_is_paired_row_by_row(bench: Bench) -> None:
    rng = np.random.default_rng(1)
    shared = rng.normal(size=400)
    old, new = shared + 0.01 * rng.normal(size=400), shared - 0.05
    for at, values in enumerate((old, new)):
        bench.history[at] = replace(bench.history[at], rows=bench.data.row_store.put(values))
    found = difference(bench, bench.history[1], bench.history[0])
    expected = paired(bench.task.sign, [old], [new])
    assert found and found.se == pytest.approx(expected.se) and expected.se and expected.se < 0.001
    bench.history += [replace(record, replicate=1) for record in bench.history[1::-1]]
    again = difference(bench, bench.history[1], bench.history[0])
    assert again and again.se == pytest.approx(expected.se), "a second seed on the same rows reduces nothing"


def test_rows_of_repository_are_compared_without_held_back_ones(bench: Bench, cached: Trainer) -> None:
    data, task = bench.data, cached.task
    scoring = {**task.scoring, "kind": "printed", "rows": "losses.csv", "n_rows": 400}
    own = replace(task, run=RunSection(command="python train.py"), scoring=scoring)
    values = np.arange(400.0)
    name = data.row_store.put(values)
    assert len(data.searched_rows(name)) == 400
    hidden = held_back(data.streams, task.task_id, 400)
    store = type(data)(own, data.streams, data.root)
    assert hidden.sum() == 120 and list(store.searched_rows(name)) == list(values[~hidden])


def test_difference_of_counted_rows_is_unpaired(bench: Bench) -> None:
    with_metrics(with_score(bench, n_rows=100), {0: [0.24], 1: [0.22], 2: [1.5]})
    found = difference(bench, source(bench, 1), source(bench, 0))
    error = pytest.approx(math.hypot(share_error(0.24, 100), share_error(0.22, 100)))
    assert found == (pytest.approx(0.02), error, error)
    bench.repeats_wins = True
    assert decide_by(bench, found) == "undecided"
    above = difference(bench, source(bench, 2), source(bench, 0))
    assert above and above.se is None, "a share of rows is between 0 and 1"


def test_difference_of_an_exact_metric_has_an_error_of_zero(bench: Bench) -> None:
    with_metrics(with_score(bench, kind="printed", exact=True), {0: [10.0], 1: [9.0]})
    found = difference(bench, source(bench, 1), source(bench, 0))
    assert found == (1.0, 0.0, 0.0) and decide_by(bench, found) == "keep"


@pytest.mark.parametrize(
    ("gain", "se", "decision", "any_gain"),
    [
        (0.1, 0.1, "keep", "keep"),
        (0.09, 0.1, "undecided", "keep"),
        (-0.09, 0.1, "undecided", "discard"),
        (0.0, 0.1, "undecided", "discard"),
        (-0.2, 0.1, "discard", "discard"),
        (0.01, None, "keep", "keep"),
        (0.0, None, "discard", "discard"),
        (0.0, 0.0, "discard", "discard"),
    ],
)
def test_gain_of_one_error_is_kept(bench: Bench, gain: float, se: float | None, decision: str, any_gain: str) -> None:
    assert decide_by(bench, Difference(gain, se)) == decision and decide_by(bench, None) == "discard"
    bench.kept_errors = 0.0
    assert decide_by(bench, Difference(gain, se)) == any_gain


def test_second_seed_replaces_the_seeds_part_of_the_error_alone(bench: Bench) -> None:
    found = Difference(0.09, 0.2, 0.05)
    assert decide_by(bench, found) == "undecided"
    bench.repeats_wins = True
    assert decide_by(bench, found) == "keep"
    rows = Difference(0.09, 0.2, 0.1)
    assert decide_by(bench, rows) == "undecided"
    bench.kept_errors = 0.0
    assert decide_by(bench, rows) == "keep"


def test_rule_better_leaves_a_gain_within_its_error_undecided(bench: Bench) -> None:
    rule = keep.make(Keep())
    trials = Trials(program(), rule)
    with_metrics(with_score(bench, n_rows=100), {0: [0.24], 1: [0.22], 2: [0.1], 3: [0.9]})
    verdicts = [trials.judge(bench, source(bench, at), source(bench, 0)) for at in (1, 2, 3)]
    assert [verdict.decision for verdict in verdicts] == ["undecided", "keep", "discard"]
    assert verdicts[0].reason == "not resolved: +0.020000 ± 0.059 nats" and verdicts[0].compared is not None
    dear = rule.judge(bench, source(bench, 2), source(bench, 0), earn=0.2)
    assert (dear.decision, dear.reason) == ("discard", "not better: +0.140000 ± 0.052 nats, needs more than 0.2")
    bench.kept_errors = 0.0
    assert rule.judge(bench, source(bench, 1), source(bench, 0)).decision == "keep"


def test_run_on_a_task_with_a_command_keeps_what_is_resolved(tmp_path: Path) -> None:
    text = "LR = 0.1\nprint('loss:', {0.1: 0.24, 0.2: 0.22, 0.3: 0.05}[LR])\n"
    task = command_task(tmp_path / "repo", {"train.py": text}, '[edits.LR]\nkind = "float"\nvalues = [0.1, 0.2, 0.3]')
    task = replace(task, scoring={**task.scoring, "n_rows": 100})
    ideas = program("proposers: {queue: 1.0}", ["first `lr=0.2`", "then `lr=0.3`"])
    with closing(trainer_of(task, sandbox=False)) as trainer:
        played = play(trainer, ideas, 3, full=task.cost_seconds)
    assert [row["edit"]["set"].get("LR") for row in played.experiments] == [None, 0.2, 0.3]
    assert list(played.decisions.values()) == ["baseline", "undecided", "keep"]
    decision = of(played.events, "decision")[1]
    assert decision["gain"] == pytest.approx(0.02) and decision["gain_se"] == pytest.approx(0.0595, abs=1e-3)


def test_recalled_decision_has_its_gain_and_error(cached: Trainer) -> None:
    bench, events = open_bench(cached, 4)
    bench.decide(bench.experiment(Proposal(Edit({"LR": 0.1}))), "undecided", "", Difference(0.004, 0.009))
    again, more = open_bench(cached, 4, recorded=typed(events))
    again.recall(StoredSources(None))
    assert (again.history[1].decision, again.history[1].gain, again.history[1].gain_se) == ("undecided", 0.004, 0.009)
    assert not more, "nothing is recorded twice"

"""The bench of few validation rows: tables, learner, keep rules, and what its ends say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import validation_rows as bench
from bench.common import go_on, kept
from bench.validation_tables import TABLES, UNTOUCHED, VALUES, Learner, Sample, TieBreaker

END = bench.End(300, 1, 0.1, 0.04, 0.002, 0.05, 0.01, 0.09, 0.02, 90, 14)


@pytest.mark.parametrize("table", TABLES)
def test_tie_breaker_any_setting_has_the_same_true_error(table: str) -> None:
    learner = TieBreaker(Sample(TABLES[table], 1))
    gains = []
    for setting in range(len(VALUES)):
        other = tuple(int(at == setting) * 3 for at in range(len(VALUES)))
        gains.append(learner.losses(UNTOUCHED, "test") - learner.losses(other, "test"))
    error = np.std(gains, axis=1) / np.sqrt(np.shape(gains)[1])
    assert (np.abs(np.mean(gains, axis=1)) < 4 * error).all() and (error > 0).all()


def test_tie_breaker_harmful_is_best_untouched() -> None:
    learner = TieBreaker(Sample(TABLES["trees"], 1), harmful=True)
    other = (0,) * 9 + (1,)
    assert learner.losses(UNTOUCHED, "test").mean() < learner.losses(other, "test").mean() - 0.005


@pytest.mark.parametrize("table", TABLES)
def test_learner_each_setting_changes_answers_and_repeats(table: str) -> None:
    sample = Sample(TABLES[table], 2)
    first = Learner(sample).scores(UNTOUCHED, "validation")
    for setting in range(len(VALUES)):
        settings = tuple(int(at == setting) for at in range(len(VALUES)))
        near = settings if setting != 8 else tuple(int(at in (7, 8)) for at in range(len(VALUES)))  # mix needs some
        assert not np.array_equal(first, Learner(sample).scores(near, "validation")), list(VALUES)[setting]
    assert np.array_equal(first, Learner(sample).scores(UNTOUCHED, "validation"))


def test_keep_rule_needs_more_than_the_paired_error() -> None:
    old = np.zeros(100)
    old[:4], new = 1.0, np.zeros(100)
    new[50:53] = 1.0  # one row better of seven that differ
    assert not bench.keeps(old, new) and not bench.keeps(old, old)
    new[50:53] = 0.0
    assert bench.keeps(old, new)


def test_end_where_no_row_or_four_differ_says_nothing() -> None:
    untouched, main = np.zeros(90), np.zeros(90)
    assert bench.end_test(untouched, main).low is None
    assert not replace(END, gain=0.0, low=None, high=None, se=None, differing=0).is_better
    untouched[:4] = 1.0
    four = bench.end_test(untouched, main)
    assert four.gain == 4 / 90 and four.low is not None and four.low < 0


def test_end_is_better_above_zero_and_covers_the_test_gain() -> None:
    assert END.is_better and not replace(END, low=-0.01, high=0.11).is_better
    assert END.covers and not replace(END, test=0.2).covers and replace(END, test=0.2, test_se=0.1).covers
    assert END.claimed == END.gain


def test_end_of_a_luck_test_needs_its_p() -> None:
    lucky = replace(END, luck=0.03, luck_p=0.2)
    assert not lucky.is_better and replace(lucky, luck_p=0.01).is_better
    assert lucky.claimed == pytest.approx(END.gain - 0.03)


def test_bench_rows_held_back_are_the_products(tmp_path: Path) -> None:
    line = bench.make(("nearly solved", bench.NULL, 1))
    ends = [bench.End(**fields) for fields in line.ends]
    assert [(end.validation_rows, end.rows) for end in ends] == [(100, 100), (300, 90), (1000, 300)]
    file = tmp_path / "rows.jsonl"
    go_on(file, bench.make, [("nearly solved", bench.NULL, 1)], 1)
    assert kept(file, bench.Nights) == [line]

"""Average gains and the tests between them, against Welch's test by hand."""

from __future__ import annotations

import random
from dataclasses import asdict
from itertools import combinations
from typing import Any

import pytest

from analysis.statistics import mean_interval, t_quantile, welch_difference
from analysis.wording import span
from arena.contest.board import runs_to_separate
from arena.contest.score import plain
from arena.contest.standing import beside_parent


def test_arms_are_compared_by_welchs_test_of_their_gains() -> None:
    rng = random.Random(4)
    gains = {f"p{k}": [rng.gauss(k / 3, 1.0) for _ in range(3 + k % 3)] for k in range(9)}
    gains |= {"same": [1.0, 1.0], "alike": [1.0, 1.0], "once": [4.0]}
    scores = plain(gains)
    assert scores.values == pytest.approx({arm: sum(v) / len(v) for arm, v in gains.items()})
    for a, b in combinations(gains, 2):
        difference, se, df = welch_difference(gains[a], gains[b])
        told = scores.over(a, b)
        assert told[0] == pytest.approx(difference)
        assert (told[2] is None) == (se is None)
        if se is not None:
            assert (told[2] or 0.0) == pytest.approx((difference or 0.0) + t_quantile(0.975, df) * se)
    for arm, values in gains.items():
        own = mean_interval(values)
        assert scores.interval(arm) == pytest.approx((own.se, own.low, own.high))


def test_the_difference_from_the_parent_is_that_of_the_scores() -> None:
    gains = {"a": [6.0, 5.0, 7.0], "b": [3.0, 2.4, 3.5]}
    rows: Any = {
        key: {**asdict(mean_interval(values)), "number": number, "entrant": "Ada", "name": "Ada 1", "role": "program"}
        for number, (key, values) in enumerate(gains.items())
    }
    for row in rows.values():
        row["gain"] = row.pop("mean")
    apart, low, high = plain(gains).over("a", "b")
    assert low is not None and high is not None and low > 0
    assert beside_parent(rows["a"], rows["b"], 4) == (
        f"The gain is {apart:.4f} above that of its parent, Ada 1 "
        f"({rows['b']['gain']:.4f} over 3 runs; 95% interval of the difference: {span(low, high, 4)})"
    )


def test_an_entry_is_not_set_against_its_own_text() -> None:
    row = {"role": "program", "se": 0.5, "n": 5, "gain": 2.0, "rank_low": 1, "entry_id": "a", "program_id": "p"}
    twin = {**row, "gain": 1.999, "entry_id": "b"}
    told = runs_to_separate([row, twin, {**row, "gain": 1.0, "entry_id": "c", "program_id": "q"}])
    assert told is not None and (told["first"], told["second"]) == ("a", "c")
    assert runs_to_separate([row, twin]) is None
    out, wide = ({**row, "entry_id": one, "program_id": one, "gain": gain} for one, gain in (("c", 1.5), ("d", 1.0)))
    told = runs_to_separate([row, {**out, "rank_low": 2}, wide])
    assert told is not None and told["second"] == "d"  # the second-highest gain is separated from the first already
    pair = [row, {**row, "gain": 1.0, "se": 0.001, "entry_id": "c", "program_id": "q"}]
    assert runs_to_separate([{**one, "n": 2} for one in pair]) is None  # the SD of so few runs says nothing
    stock = {**row, "role": "control", "gain": 1.5, "n": 9}
    pooled = runs_to_separate([pair[0], stock, pair[1]]), runs_to_separate([pair[0], {**stock, "se": 0.1}, pair[1]])
    leaders = [{**row, "se": 0.05}, {**row, "se": 0.05, "gain": 1.9, "entry_id": "d", "program_id": "r"}]
    rest = [{**row, "se": 0.05, "gain": 0.5}] * 5
    quiet, diverging = runs_to_separate([*leaders, *rest]), runs_to_separate([*leaders, *rest, {**row, "se": 9.0}])
    assert quiet is not None and quiet == diverging  # no entry can make the others look noisy
    assert pooled[0] and pooled[1] and (pooled[0]["runs"] or 0) > (pooled[1]["runs"] or 0)  # stock's runs count, too

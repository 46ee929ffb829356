"""Scores over several tasks: by hand, against Welch's test where there is one task, and how sure they are."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import pytest

from analysis.standings import rank_ranges
from analysis.statistics import mean_interval, t_quantile, welch_difference
from analysis.wording import span
from arena.contest.board import runs_to_separate
from arena.contest.score import UNIT, Scores, overall, plain
from arena.contest.standing import beside_parent
from bench.tasks import covered

GAINS = {
    "red": {"a": [6.0, 5.0, 7.0], "stock": [2.0, 3.0, 2.5], "again": [2.5, 2.0, 3.0], "b": [3.0, 2.4, 3.5]},
    "green": {"a": [0.1, 0.2, 0.3], "stock": [0.1, 0.12, 0.14], "again": [0.12, 0.1, 0.11], "b": [0.3, 0.31, 0.29]},
}
UNITS = {"red": "loss", "green": "bits"}


def scores_of(gains: dict[str, dict[str, Sequence[float]]]) -> Scores[str]:
    cells = {arm: {task: mean_interval(on[arm]) for task, on in gains.items()} for arm in gains["red"]}
    return Scores(cells, list(gains), ["stock", "again"])


def rows_of(gains: dict[str, dict[str, Sequence[float]]]) -> dict[str, list[dict[str, Any]]]:
    return {task: [row(task, arm, values) for arm, values in on.items()] for task, on in gains.items()}


def row(task: str, arm: str, values: Sequence[float]) -> dict[str, Any]:
    found = mean_interval(values)
    role = {"stock": "control", "again": "a/a"}.get(arm, "program")
    return {
        "entry_id": arm, "number": len(arm), "role": role, "gain": found.mean, "se": found.se, "low": found.low,
        "high": found.high, "n": found.n, "rank_low": 9, "rank_high": 9, "claimed": 2.0 * (found.mean or 0.0),
        "failed_seeds": 1, "device_seconds_charged": 10.0, "tokens": 0, "usd": 0.0, "trust": "scored",
    }  # fmt: skip


def test_the_score_is_the_mean_over_tasks_of_gain_over_stocks() -> None:
    scores = scores_of(GAINS)
    stock = {"red": 2.5, "green": 0.115}
    assert {each.task: each.gain for each in scores.scales} == pytest.approx(stock)
    assert scores.values["a"] == pytest.approx((6.0 / 2.5 + 0.2 / 0.115) / 2)
    assert scores.values["stock"] + scores.values["again"] == pytest.approx(2.0)


def test_the_interval_is_that_of_the_linear_approximation() -> None:
    """Entry a, by hand: d score / d mean = 1 / (T S), d score / d S = - mean / (T S^2), on each task."""
    parts = []
    for on in GAINS.values():
        own, stock = mean_interval(on["a"]), mean_interval([*on["stock"], *on["again"]])
        assert own.se and stock.se and own.mean and stock.mean
        parts += [((own.se / 2 / stock.mean) ** 2, 2), ((own.mean * stock.se / 2 / stock.mean**2) ** 2, 5)]
    se = math.sqrt(sum(part for part, _ in parts))
    df = se**4 / sum(part**2 / d for part, d in parts)
    scores = scores_of(GAINS)
    assert scores.interval("a")[0] == pytest.approx(se)
    assert scores.interval("a")[2] == pytest.approx(scores.values["a"] + t_quantile(0.975, df) * se)


def test_an_error_of_the_scale_moves_both_sides_of_a_difference() -> None:
    """Two entries that gain alike differ by their own errors only, however unsure stock is."""
    wild = {task: on | {"b": on["a"], "stock": [v * 3 for v in on["stock"]]} for task, on in GAINS.items()}
    scores = scores_of(wild)
    own = sum(2 * ((mean_interval(on["a"]).se or 0.0) / 2 / (s.gain or 1.0)) ** 2
              for on, s in zip(wild.values(), scores.scales, strict=True))  # fmt: skip
    difference, low, high = scores.over("a", "b")
    assert difference == 0.0 and low is not None and high is not None and low == -high
    alone = scores.interval("a")[0] or 0.0
    assert 2 * alone**2 > own  # taken apart, each would bear the error of the scale
    assert high < t_quantile(0.975, 2) * math.sqrt(own)


def test_the_error_of_an_arm_of_stock_is_counted_once() -> None:
    """An entry against one arm of stock, by hand: what moves that arm moves the scale too, and it is one error."""
    terms, difference = [], 0.0
    for on in GAINS.values():
        own, arm, both = (mean_interval(values) for values in (on["a"], on["stock"], [*on["stock"], *on["again"]]))
        assert own.se and both.se and own.mean and arm.mean and both.mean
        apart, share = own.mean - arm.mean, arm.n / both.n
        difference += apart / both.mean / 2
        moved = -1 / (2 * both.mean) - apart / (2 * both.mean**2) * share  # by the mean of this arm
        others = -apart / (2 * both.mean**2) * (1 - share)  # by that of the other
        one_run = both.se**2 * both.n
        terms += [((own.se / 2 / both.mean) ** 2, 2)]
        terms += [(one_run * (moved**2 / arm.n + others**2 / (both.n - arm.n)), both.n - 1)]
    se = math.sqrt(sum(term for term, _ in terms))
    df = se**4 / sum(term**2 / d for term, d in terms)
    told, low, high = scores_of(GAINS).over("a", "stock")
    assert told == pytest.approx(difference)
    assert (low, high) == pytest.approx([difference + sign * t_quantile(0.975, df) * se for sign in (-1, 1)])


@pytest.mark.parametrize(("stock", "counts"), [((-2.0, 3.0, 2.5), False), ((0.5, 3.0, 2.5), True)])
def test_a_task_counts_once_stock_surely_gains_there(stock: tuple[float, ...], counts: bool) -> None:
    """A mean above 0 is not enough: a score over something that may be 0 would have no interval."""
    unsure = GAINS | {"red": GAINS["red"] | {"stock": list(stock), "again": list(stock)}}
    scores = scores_of(unsure)
    (red, green) = scores.scales
    assert red.gain is not None and red.low is not None and red.gain > 0 and (red.low > 0) is counts
    assert (red.counts, green.counts) == (counts, True)
    assert scores.tasks == (["red", "green"] if counts else ["green"])


def test_one_task_is_welchs_test_of_the_gains() -> None:
    rng = random.Random(4)
    gains = {f"p{k}": [rng.gauss(k / 3, 1.0) for _ in range(3 + k % 3)] for k in range(9)}
    gains |= {"same": [1.0, 1.0], "alike": [1.0, 1.0], "once": [4.0]}
    scores = plain(gains)
    assert scores.ranks() == rank_ranges(gains)
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
    worse = {arm: scores.told_from(arm) for arm in gains}
    assert any(worse.values()) and all(rank[1] == len(gains) - len(worse[a]) for a, rank in scores.ranks().items())


def test_the_difference_from_the_parent_is_that_of_the_scores() -> None:
    """Both are divided by the same mean of stock, whose error is not that of their difference."""
    noisy = {"red": GAINS["red"] | {"stock": [1.0, 3.0, 2.5], "again": [2.5, 1.0, 3.0]}, "green": GAINS["green"]}
    rows, scales, _ = overall(rows_of(noisy), UNITS)
    named: Any = {r["entry_id"]: {**r, "number": i, "entrant": "Ada", "name": "Ada 1"} for i, r in enumerate(rows)}
    stock, tasks = [named["stock"], named["again"]], [str(each["task"]) for each in scales]
    apart, low, high = scores_of(noisy).over("a", "b")
    chance = ", which includes 0: not separated" * (low <= 0 <= high)
    assert beside_parent(named["a"], named["b"], stock, tasks, 4) == (
        f"The gain is {abs(apart):.4f} {'above' if apart > 0 else 'below'} that of its parent, Ada 1 "
        f"({named['b']['gain']:.4f} over 3 runs; 95% interval of the difference: {span(low, high, 4)}{chance})"
    )


def test_a_task_where_stock_does_not_gain_counts_for_nothing_and_is_named() -> None:
    lost = GAINS | {"green": GAINS["green"] | {"stock": [-0.2, 0.1, 0.2], "again": [0.1, -0.3, 0.0]}}
    rows, scales, unit = overall(rows_of(lost), UNITS)
    assert [(each["task"], each["counts"]) for each in scales] == [("red", True), ("green", False)] and unit == UNIT
    assert {r["entry_id"]: r["gain"] for r in rows}["a"] == pytest.approx(6.0 / 2.5)
    assert {r["entry_id"]: r["tasks"]["green"]["gain"] for r in rows}["a"] == pytest.approx(0.2)
    lost["red"] = GAINS["red"] | {"stock": [-2.0, 3.0, 2.5], "again": [-2.5, 2.0, -3.0]}
    rows, scales, unit = overall(rows_of(lost), UNITS)
    assert unit == "loss" and not any(each["counts"] for each in scales)
    whole = {r["entry_id"]: (r["gain"], r["low"], r["high"]) for r in rows}
    own = mean_interval(lost["red"]["a"])
    assert whole["a"] == pytest.approx((own.mean, own.low, own.high))


def test_a_row_over_all_tasks_has_each_beside_it_and_the_spend_of_all() -> None:
    rows, _, _ = overall(rows_of(GAINS), UNITS)
    assert [r["gain"] for r in rows] == sorted((r["gain"] for r in rows), reverse=True)
    (mine,) = (r for r in rows if r["entry_id"] == "a")
    red = row("red", "a", GAINS["red"]["a"])
    assert mine["tasks"]["red"] == {key: red[key] for key in ("gain", "low", "high", "n")} | {"unit": "loss"}
    assert (mine["n"], mine["device_seconds_charged"], mine["failed_seeds"]) == (3, 20.0, 2)
    assert mine["claimed"] == pytest.approx(2.0 * mine["gain"])
    half = rows_of(GAINS)
    half["green"] = [r for r in half["green"] if r["entry_id"] != "a"]
    (mine,) = (r for r in overall(half, UNITS)[0] if r["entry_id"] == "a")
    assert mine["gain"] is None and mine["rank_low"] is None and mine["n"] == 0 and list(mine["tasks"]) == ["red"]


def test_rows_of_one_task_are_left_as_they_are() -> None:
    rows = rows_of(GAINS)["red"]
    assert overall({"red": rows}, UNITS) == (rows, [], "loss")


def test_the_interval_covers_the_score() -> None:
    share, apart, _ = covered(studies=1500, runs=4, seed=1)
    assert 0.93 <= share <= 0.99 and 0.93 <= apart <= 0.99


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

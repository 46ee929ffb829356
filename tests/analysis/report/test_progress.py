"""The first picture of a study, of runs and turns that are known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analysis.report.axis import Axis
from analysis.report.progress import BOTTOM, LEFT, RIGHT, TOP, MainTurn, RunGain, of_night, of_runs
from analysis.statistics import mean_interval
from programs.shelf import starter


def runs(*given: tuple[str, str, float]) -> list[RunGain]:
    stock = {"stock": starter("stock").program_id}
    return [
        RunGain(f"r{number}", stage, stock.get(program, program), program, gain, "nats")
        for number, (stage, program, gain) in enumerate(given)
    ]


def test_line_is_the_mean_of_the_best_and_at_the_end_champion() -> None:
    given = runs(("opening", "stock", 0.1), ("opening", "a", 0.2), ("opening", "a", 0.4), ("generation-1", "b", 0.5),
                 ("confirmation", "b", 0.4), ("confirmation", "c", 1.0), ("confirmation", "stock", -3.0))  # fmt: skip
    [shown] = of_runs(given, "b")
    y = Axis(-1.0, 1.0, BOTTOM, TOP)  # no loss stretches it beyond the largest gain
    assert [line[1] for line in shown.lines[:3]] == [y(0.3), y(0.5), y(0.4)] and len(shown.lines) == 5
    assert [dot.y for dot in shown.dots[-3:]] == [y(0.4), y(1.0), BOTTOM] and "−3.000" in shown.dots[-1].title
    assert [dot.kind for dot in shown.dots] == ["k3", "k2", "k2", "k0", "k0", "k2", "k3"]
    assert [name for _, name in shown.columns] == ["opening", "1", "confirmation"]
    assert shown.legend[0] == ("k0", "a run of b, the champion") and "0.300 at first, 0.400 nats at last" in shown.said
    assert [line[1] for line in of_runs(given, None)[0].lines[:3]] == [y(0.3), y(0.5), y(1.0)]


def test_single_match_has_a_column_per_program_and_pictures() -> None:
    given = runs(("match", "a", 0.2), ("match", "b", 0.6), ("match", "a", 0.4))
    [shown] = of_runs(given, None)
    assert [name for _, name in shown.names] == ["a", "b"] and len(shown.lines) == 2  # nothing joins programs
    assert not shown.columns and len(shown.intervals) == 2  # of a: b has one run
    assert shown.dots[0].x == shown.dots[1].x != shown.dots[2].x and shown.dots[2].kind == "k0"
    other = RunGain("r9", "match", "a", "a", 3.0, "bits")
    assert ["nats" in each.label for each in of_runs([*given, other], None)] == [True, False]
    assert of_runs([], None) == []


def test_programs_of_the_last_match_have_the_intervals_of_table() -> None:
    long = "idea-queue-v2-without-ideas"
    last = [("confirmation", program, gain) for program in ("b", long) for gain in (0.3, 0.4, 0.5)]
    given = runs(("opening", "a", 0.2), ("opening", "a", 0.4), *last)
    [shown] = of_runs(given, "b")
    assert [name for _, name in shown.names] == ["a", "b", "idea-queue-v2-wit…"]
    y, mean = Axis(0.0, 0.5, BOTTOM, TOP), mean_interval([0.3, 0.4, 0.5])
    (x, low, same, high), (left, middle, right, level), *_ = shown.intervals
    assert (x, low, high) == (same, y(mean.low or 0), y(mean.high or 0)) and middle == level == y(0.4)
    assert left < x < right and x > shown.names[1][0] and len(shown.intervals) == 4
    assert shown.legend[-1][0] == "interval" and "interval" not in dict(of_runs(given[:1], None)[0].legend)
    crowd = of_runs(runs(*[("match", f"p{number}", 0.1) for number in range(40)]), None)
    assert not crowd[0].names  # they would cover each other


@pytest.mark.parametrize(
    ("programs", "is_level"), [("a b c", True), ("stock local", True), ("idea-queue-v2 local careful one-line", False)]
)
def test_names_of_programs_are_turned_only_where_they_are_long(programs: str, is_level: bool) -> None:
    [shown] = of_runs(runs(*[("match", name, 0.1) for name in programs.split()]), None)
    assert shown.is_level is is_level


def test_main_of_a_night_begins_at_the_untouched_script() -> None:
    turns = [
        MainTurn("r", number, program, 60.0 * (number + 1), 0.0, change, metric, 2.0)
        for number, (program, change, metric) in enumerate([("b", "lr=1", 1.5), ("a", None, 1.4), ("a", "lr=2", 1.0)])
    ]
    shown = of_night(turns, "nll", "lower")
    y, x = Axis(1.0, 2.0, BOTTOM, TOP), Axis(0.0, 3.0, LEFT, RIGHT)
    assert shown.lines[:3] == [
        (LEFT, y(2.0), x(1.0), y(2.0)), (x(1.0), y(1.5), x(3.0), y(1.5)), (x(3.0), y(1.0), RIGHT, y(1.0))
    ]  # fmt: skip
    assert [(dot.x, dot.kind) for dot in shown.dots] == [(x(1.0), "k0"), (x(3.0), "k1")]
    assert shown.label == "nll of main (lower is better)" and shown.legend[1] == ("k1", "kept change of a")
    assert of_night([replace(turns[1], number=0)], "nll", "lower").lines == [(LEFT, BOTTOM, RIGHT, BOTTOM)]


@pytest.mark.parametrize(("low", "high", "labels"), [(0.0, 1.0, ["0", "0.5", "1.0"]), (-2.0, 3.0, ["−2", "0", "2"])])
def test_axis_has_round_ticks_and_keeps_what_lies_beyond_ends(low: float, high: float, labels: list[str]) -> None:
    axis = Axis(low, high, 100.0, 0.0)
    assert [label for _, label in axis.ticks(3)] == labels
    assert (axis(low - 1), axis(high + 1), axis((low + high) / 2)) == (100.0, 0.0, 50.0)

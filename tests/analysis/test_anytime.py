"""How early runs reach targets: shares of the budget, their distribution, and intervals without assumptions."""

from __future__ import annotations

import math
from pathlib import Path

from analysis.anytime import Anytime, GainCurve, anytime, median_interval, programs_of, within
from analysis.study import open_study
from tests.analysis.report.studies import finished

WORSE, BETTER = "p0stock", "p1"


def run(name: str, task: str, best: list[float], role: str = "program", program: str = BETTER) -> list[GainCurve]:
    """A run whose experiments take a quarter of the budget each."""
    return [GainCurve(name, task, program, program, role, [(i + 1) / 4 for i in range(len(best))], best)]


def stock(name: str, task: str, best: list[float]) -> list[GainCurve]:
    return run(name, task, best, "control", WORSE)


def of(programs: list[Anytime], program: str, tasks: tuple[str, ...]) -> Anytime:
    [one] = [each for each in programs if each.program_id == program and each.tasks == tasks]
    return one


def test_the_share_of_the_budget_until_a_target() -> None:
    made = [*stock("a", "t", [0, 0.5, 0.5, 1.0]), *stock("b", "t", [0, 1, 3, 3]), *run("c", "t", [2, 2, 2, 4])]
    programs = programs_of(made)  # stock gains 2 on average
    better, worse = of(programs, BETTER, ("t",)), of(programs, WORSE, ("t",))
    assert better.shares == {0.5: (0.25,), 1.0: (0.25,), 1.5: (1.0,), 2.0: (1.0,)}
    assert worse.shares == {0.5: (1.0, 0.5), 1.0: (math.inf, 0.75), 1.5: (math.inf, 0.75), 2.0: (math.inf, math.inf)}
    assert [better.reached(spent) for spent in (0.1, 0.25, 0.9, 1.0)] == [0.0, 0.5, 0.5, 1.0]
    assert worse.reached(1.0) == 4 / 8 and worse.is_stock and not better.is_stock


def test_gains_at_three_moments_are_in_units_of_stocks_last_one() -> None:
    made = [*stock("a", "t", [0, 1, 2, 4]), *run("b", "t", [0, 6, 6, 8]), *run("c", "t", [0, 2, 2, 2])]
    better = of(programs_of(made), BETTER, ("t",))
    assert better.gains == {"first": (1.5, 0.5), "half": (1.5, 0.5), "end": (2.0, 0.5)}
    assert better.gain("end").mean == 1.25
    late = GainCurve("d", "t", BETTER, BETTER, "program", [0.8], [3.0])  # its first experiment took most of the budget
    [other] = [one for one in programs_of([*stock("a", "t", [0, 1, 2, 4]), late]) if not one.is_stock]
    assert other.gains == {"first": (0.75,), "half": (0.0,), "end": (0.75,)}


def test_targets_belong_to_the_task_and_every_task_counts() -> None:
    made = [*stock("a", "t", [0, 0, 0, 1]), *run("b", "t", [1, 1, 1, 1]), *stock("c", "u", [0, 0, 0, 100])]
    made += [*run("d", "u", [0, 50, 100, 100]), *stock("e", "none", [0, 0, 0, 0]), *run("f", "none", [0, 0, 0, 9])]
    programs = programs_of(made)
    assert of(programs, BETTER, ("u",)).shares[1.0] == (0.75,)
    both = of(programs, BETTER, ("t", "u"))
    assert both.runs == 2 and both.shares[1.0] == (0.25, 0.75)
    assert not any("none" in one.tasks for one in programs)  # stock gained nothing: there is no target


def test_the_profile_is_the_share_of_tasks_near_the_fastest() -> None:
    made = [*stock("a", "t", [0, 0, 0, 1]), *run("b", "t", [1, 1, 1, 1])]  # four times as long
    made += [*stock("c", "u", [0, 10, 10, 10]), *run("d", "u", [0, 0, 0, 10])]  # half as long
    made += [*stock("e", "v", [0, 0, 0, 1]), *run("f", "v", [0, 0, 0, 0])]  # never
    made += [*stock("g", "w", [0, 0, 0, -1]), *run("h", "w", [0, 0, 0, 1])]  # no target
    programs = programs_of(made)
    better, worse = (BETTER, False), (WORSE, True)
    for factor, shares in ((1.0, (1 / 3, 2 / 3)), (2.0, (2 / 3, 2 / 3)), (4.0, (2 / 3, 1.0))):
        near = within(programs, factor)
        assert [near[one].mean for one in (better, worse)] == list(shares) and near[better].n == 3
    assert within(programs, 4.0, target=20.0) == {} == within([], 1.0)


def test_another_control_of_a_match_is_not_stock() -> None:
    made = [
        GainCurve("a", "t", "p-stock", "stock", "control", [1.0], [2.0]),
        GainCurve("b", "t", "p-line", "one-line", "control", [1.0], [9.0]),
    ]
    programs = programs_of([*made, GainCurve("c", "t", BETTER, BETTER, "program", [1.0], [4.0])])
    assert {one.program_id: one.is_stock for one in programs} == {"p-stock": True, "p-line": False, BETTER: False}
    assert of(programs, BETTER, ("t",)).gains["end"] == (2.0,)
    twin = GainCurve("d", "t", "p-stock", "stock", "a/a", [1.0], [2.0])
    assert [of(programs_of(runs), "p-stock", ("t",)).role for runs in (made, [twin, *made])] == ["control", "both arms"]


def test_the_median_has_an_interval_without_assumptions() -> None:
    assert median_interval([0.3, 0.1, 0.2]) == (0.2, 0.0, math.inf)
    assert median_interval([1, 2, 3, 4, 5, math.inf])[0] == 3.5
    middle, low, high = median_interval([float(n) for n in range(1, 11)])
    assert (middle, low, high) == (5.5, 2.0, 9.0)  # ranks 2 and 9 of ten: 97.9%
    assert median_interval([0.1] * 5 + [math.inf] * 5)[0] == math.inf


def test_only_runs_that_select_nothing_count_where_there_are_any(tmp_path: Path) -> None:
    with open_study(finished(tmp_path), views=()) as con:
        programs = anytime(con)
        counted = con.execute("SELECT role, count(*) FROM runs WHERE stream = 'confirmation' GROUP BY 1").fetchall()
    runs = dict(counted)
    assert {one.role: one.runs for one in programs if not one.is_stock} == {
        role: n for role, n in runs.items() if role not in ("control", "a/a")
    }
    assert "champion" in runs and any(one.is_stock for one in programs)

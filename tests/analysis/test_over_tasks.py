"""The evidence of a study over several tasks: means over the tasks, each in the scale of its task."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from analysis.effects.rows import CreditRow
from analysis.evidence.over_tasks import over_tasks
from analysis.evidence.task_evidence import Evidence
from analysis.statistics import mean_interval
from analysis.views.scales import UNIT, GainScale
from tests.planted_evidence import edit, idea


def test_edits_and_directives_have_their_mean_over_their_tasks() -> None:
    """The gains 1 and 8 are 0.5 and 2 in the scales of their tasks, their standard errors 0.2 and 0.1."""
    north, south = edit("LR", 2, 1.0, se=0.4, df=15), edit("lr", 2.0, 8.0, se=0.4, df=15)
    told = [replace(idea("d", "", 1.0), program_ids=programs) for programs in (("a", "b"), ("b", "c"))]
    parts = [
        Evidence("north", "nats", (north,), (told[0],), (), (), 3, 30),
        Evidence("south", "nats", (south, edit("WD", 0, 4.0)), (told[1],), (), (), 3, 30),
    ]
    scales = [in_scale(size) for size in (2.0, 4.0)]
    found = over_tasks(parts, scales)
    assert [(row.knob, row.estimate, row.n) for row in found.edits] == [("LR", 1.25, 32), ("WD", 1.0, 16)]
    assert {row.unit for row in (*found.edits, *found.directives)} == {UNIT}
    assert found.edits[0].se == pytest.approx(math.hypot(0.2, 0.1) / 2) and found.edits[0].of == ("c-LR-2", "c-lr-2.0")
    assert [(row.estimate, row.program_ids) for row in found.directives] == [(0.375, ("a", "b", "c"))]


def test_mean_of_an_edit_counts_its_failures_on_a_task_once() -> None:
    """Its gain where it ran is 0.5 in the scale of the task; on the other task all 16 tries failed."""
    ran = edit("LR", 2, 1.0, se=0.4, df=15, p=0.02)
    failed = replace(edit("LR", 2, 0.0, se=None), failures=16, estimate=None)
    for parts in ((ran, failed), (failed, ran)):
        [row] = over_tasks([one_edit(part) for part in parts], [in_scale(2.0)] * 2).edits
        assert (row.estimate, row.se, row.n, row.failures) == (0.5, 0.2, 32, 16)
        assert row.score == pytest.approx(0.25) and row.low is not None and row.p is not None
    [none] = over_tasks([one_edit(failed)] * 2, [in_scale(2.0)] * 2).edits
    assert (none.estimate, none.score, none.low) == (None, 0.0, None)


def test_mean_of_an_edit_not_isolated_on_a_task_has_no_interval() -> None:
    clear = edit("LR", 2, 1.0, se=0.4, df=15, p=0.02)
    repair = replace(clear, is_isolated=False, p=None)
    for parts in ((clear, repair), (repair, clear)):
        [row] = over_tasks([one_edit(part) for part in parts], [in_scale(2.0)] * 2).edits
        assert (row.low, row.high, row.p, row.q, row.is_isolated) == (None, None, None, None, False)


def one_edit(row: CreditRow) -> Evidence:
    return Evidence("t", "nats", (row,), (), (), (), 3, 30)


def in_scale(size: float) -> GainScale:
    return GainScale("t", "nats", size, True, mean_interval([size]))

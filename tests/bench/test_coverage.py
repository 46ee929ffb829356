"""The bench of coverage: its scripts are edits that the tasks declare, and its share is that of other checks' means."""

from __future__ import annotations

import pytest

from bench import coverage
from trainer.task import Task


@pytest.mark.parametrize("task", coverage.TASKS)
def test_scripts_are_edits_of_the_untouched_one(task: str) -> None:
    loaded = Task.load(task)
    sources = {coverage.script(loaded, size).source_id for size in coverage.SCRIPTS[task]}
    assert len(sources - {loaded.baseline().source_id}) == len(coverage.SCRIPTS[task]) == 3
    for edit in coverage.SCRIPTS[task].values():
        known = {knob.name: knob for knob in loaded.edits.knobs}
        assert all(known[name].legal(value) == value for name, value in edit.set.items())


def test_covered_compares_each_check_with_the_mean_of_the_others() -> None:
    narrow = [(gain, gain - 0.1, gain + 0.1) for gain in (0.0, 1.0, 0.0, 1.0, 0.0, 1.0)]
    assert coverage.covered(narrow) == [False] * 6  # apart from the others by .6, whose error is .5
    wide = [(gain, gain - 0.6, gain + 0.6) for gain, _, _ in narrow]
    assert coverage.covered(wide) == [True] * 6
    unknown = [(0.0, None, None), *wide[1:]]
    assert coverage.covered(unknown) == [False, *[True] * 5]


def test_covered_with_uneven_limits_looks_at_the_side_of_mean() -> None:
    checks = [(0.0, -5.0, 0.1)] + [(1.0, 0.9, 1.1)] * 20
    assert not coverage.covered(checks)[0]
    assert coverage.covered([(0.0, -0.1, 5.0), *checks[1:]])[0]


@pytest.mark.slow
@pytest.mark.parametrize("what", sorted(coverage.WHAT))
def test_a_check_measures_a_gain_with_its_interval(what: str) -> None:
    check = coverage.make((what, "tabular", 2, 0))
    assert check.gains and check.cpu_seconds > 0
    for gain, low, high in check.gains.values():
        assert low is not None and high is not None and low < gain < high

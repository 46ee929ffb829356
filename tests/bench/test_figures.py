"""What benches compute from what they measured: shares of intervals, ratios, differences by seed, a league's table."""

from __future__ import annotations

import pytest

from bench import coverage, league
from bench.own_share import Shown, show_differences
from trainer.task import Task


@pytest.mark.parametrize("task", coverage.TASKS)
def test_scripts_of_coverage_are_edits_of_the_untouched_one(task: str) -> None:
    loaded = Task.load(task)
    sources = {coverage.script(loaded, size).source_id for size in coverage.SCRIPTS[task]}
    assert len(sources - {loaded.baseline().source_id}) == len(coverage.SCRIPTS[task]) == 3
    known = {knob.name: knob for knob in loaded.edits.knobs}
    for edit in coverage.SCRIPTS[task].values():
        assert all(known[name].legal(value) == value for name, value in edit.set.items())


def test_covered_compares_each_check_with_the_mean_of_the_others() -> None:
    narrow = [(gain, gain - 0.1, gain + 0.1) for gain in (0.0, 1.0, 0.0, 1.0, 0.0, 1.0)]
    assert coverage.covered(narrow) == [False] * 6  # apart from the others by .6, whose error is .5
    wide = [(gain, gain - 0.6, gain + 0.6) for gain, _, _ in narrow]
    assert coverage.covered([(0.0, None, None), *wide[1:]]) == [False, *[True] * 5]
    alike = [(1.0, 0.9, 1.1)] * 20  # uneven limits: the side of the mean counts
    assert [coverage.covered([(0.0, *limits), *alike])[0] for limits in ((-5.0, 0.1), (-0.1, 5.0))] == [False, True]


@pytest.mark.slow
@pytest.mark.parametrize("what", sorted(coverage.WHAT.keys() - {"verify"}))  # tests/test_bench.py has that
def test_a_check_measures_a_gain_with_its_interval(what: str) -> None:
    check = coverage.make((what, "tabular", 2, 0))
    assert check.gains and check.cpu_seconds > 0
    for gain, low, high in check.gains.values():
        assert low is not None and high is not None and low < gain < high


@pytest.mark.parametrize("words", [["plya"], ["programs", "strokes"], ["sentences"], ["against", "one", "vs"]])
def test_league_with_unknown_words_refuses_and_prints_every_word(words: list[str]) -> None:
    with pytest.raises(SystemExit, match=f"{' '.join(words)}: no command of the league") as refused:
        league.main(words)
    assert all(word in str(refused.value) for word in ("programs", "nights", "sentences", "against"))


def test_possible_ratios_of_two_samples_enclose_ratio_of_means() -> None:
    possible = league.possible_ratios([2.0, 2.2, 1.8, 2.1], [1.0, 1.1, 0.9, 1.0])
    assert 1.6 < possible.min() < 2.02 < possible.max() < 2.5
    assert league.possible_ratios([1.0, 3.0], [1.0, 3.0]).min() == 0.0


def test_show_differences_pairs_studies_by_seed(capsys: pytest.CaptureFixture[str]) -> None:
    def study(seed: int, champion: float, child: float) -> Shown:
        own, children = (champion - 2.0, None, None), [("reorder-ideas", child)]
        return Shown("several", seed, 2.0, champion, own, None, children, None, 1.0)

    show_differences([study(1, 4.0, 0.5), study(2, 4.0, 0.5)], [study(2, 3.0, 0.1), study(3, 9.0, 9.0)])
    lines = dict(line.split(": ") for line in capsys.readouterr().out.splitlines())
    assert lines["all, difference of champion over stock"] == "0.500 of 1"
    assert lines["apart, difference of children minus parents"] == "0.400 of 1"
    assert lines["all, difference of children minus parents write-ideas"] == "0.000 of 0"

"""The figures of the league: recomputed from recorded turns, and over the studies of a season."""

from __future__ import annotations

import pytest

from bench import league


@pytest.mark.parametrize("words", [["plya"], ["programs", "strokes"], ["sentences"], ["against", "one", "vs"]])
def test_league_with_unknown_words_refuses_and_prints_every_word(words: list[str]) -> None:
    with pytest.raises(SystemExit, match=f"{' '.join(words)}: no command of the league") as refused:
        league.main(words)
    assert all(word in str(refused.value) for word in ("programs", "nights", "sentences", "against"))


def test_league_programs_prints_the_published_figures(capsys: pytest.CaptureFixture[str]) -> None:
    league.main([])
    shown = capsys.readouterr().out
    assert "turns and calls: 256, 269" in shown and "all, all programs alike: p: 0.189" in shown
    assert "bold-then-fine  1.52 (0.46 [0.11, 0.80])" in shown


def test_possible_ratios_of_two_samples_enclose_ratio_of_means() -> None:
    possible = league.possible_ratios([2.0, 2.2, 1.8, 2.1], [1.0, 1.1, 0.9, 1.0])
    assert 1.6 < possible.min() < 2.02 < possible.max() < 2.5
    assert league.possible_ratios([1.0, 3.0], [1.0, 3.0]).min() == 0.0

"""Whether a short look pays: what it costs, what it finds, and what is said where that is not known."""

from __future__ import annotations

import json
import shutil
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from programs.lint import lint
from programs.program import Program
from trainer.cards.screening import Look, Screening, best_of_wave, doubt, gains_if_kept, of_card, rank_correlation
from trainer.task import TASKS, Task

GAINS = [5.0, 0.0, 0.0, 2.0, 0.0]


@pytest.mark.parametrize(("wave", "chosen"), [(1, 1), (3, 1), (4, 2), (5, 4)])
def test_the_best_of_a_wave_is_that_of_all_draws(wave: int, chosen: int) -> None:
    drawn = [sum(sorted(each, reverse=True)[:chosen]) / chosen for each in product(GAINS, repeat=wave)]
    assert best_of_wave(GAINS, wave, chosen) == pytest.approx(sum(drawn) / len(drawn))
    assert best_of_wave(GAINS, 1000, 3) == pytest.approx(5.0)


def test_break_even_and_what_is_expected() -> None:
    looks = Screening(0.21, (Look(0.25, 0.4, 50), Look(0.5, 0.8, 50)))
    assert looks.cost(0.25) == pytest.approx(0.4075) and looks.cost(1.0) == 1.0
    assert looks.break_even(0.25, 10, 2) == pytest.approx(3.04, abs=0.01)  # half of it is launch and scoring
    assert Screening(0.0, ()).break_even(0.25, 10, 2) == 2.25
    assert [looks.agreement(fraction) for fraction in (0.1, 0.25, 0.3, 0.5, 0.7)] == [0.4, 0.4, 0.8, 0.8, 1.0]
    best = best_of_wave(GAINS, 6, 1) / 1.4
    assert looks.expected(GAINS, 0.25, 6, 1) == pytest.approx(0.6 + 0.4 * best)
    assert Screening(0.2, (Look(0.25, -0.3, 9),)).expected(GAINS, 0.25, 6, 1) == 1.0
    said = "\n".join(looks.lines(GAINS))
    assert "launch and scoring are 21% of an experiment" in said and "52% of that for launch and scoring" in said
    assert "waves of 6, 1 of them promoted: break-even at 3.4 times" in said and "does not pay" in said
    assert "break-even" not in "\n".join(looks.lines([0.0]))


def test_ranks_and_gains() -> None:
    assert rank_correlation([(1, 10), (2, 40), (9, 20)]) == pytest.approx(0.5)
    assert rank_correlation([(1, 1), (2, 2)]) is None and rank_correlation([(1, 1), (1, 2), (1, 3)]) is None
    assert gains_if_kept([(3.0, True), (1.0, False), (-4.0, True), (None, True)]) == [3.0, 0.0, 0.0, 0.0]


CARD = {
    "effects": [{"gain_sd": gain, "resolved": True} for gain in GAINS],
    "screening": {"fixed_share": 0.2, "looks": [{"fraction": 0.25, "agreement": 0.5, "edits": 60}]},
}


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"screening": None},
        {"screening": {"fixed_share": 0.2, "looks": []}},
        {"screening": {"fixed_share": 1e999, "looks": CARD["screening"]["looks"]}},  # type: ignore[call-overload]
        {"screening": {"fixed_share": 0.2, "looks": [{"fraction": 0.25, "agreement": "much", "edits": 3}]}},
        {"effects": [{"gain_sd": 1e999, "resolved": True}]},
        {"effects": [{"gain_sd": -1, "resolved": True}]},
        {"effects": 3},
    ],
)
def test_a_card_without_the_numbers_says_nothing(wrong: dict[str, Any]) -> None:
    assert of_card(CARD) is not None and of_card(CARD | wrong if wrong else None) is None


def test_lint_warns_of_a_screen_below_its_break_even(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(TASKS / "strokes", tmp_path / "strokes"))
    card = json.loads((folder / "card.json").read_text())
    known = Task.load(folder).task_id

    def messages(charter: str, agreement: float | None) -> list[tuple[int, str]]:
        looks = {"fixed_share": 0.2, "looks": [{"fraction": 0.25, "agreement": agreement, "edits": 60}]}
        (folder / "card.json").write_text(json.dumps(card | {"screening": looks if agreement is not None else None}))
        task = Task.load(folder)
        assert task.task_id == known
        found = lint(Program.parse(f"---\nmetaloop:\n{charter}---\nGo.\n"), None, lambda one: doubt(task, one))
        return [(m.line, m.message) for m in found if m.code == "below-break-even"]

    screen = "  wave: 6\n  screen: {fraction: 0.25, promote: 0.17}\n"
    ((line, message),) = messages(screen, 0.1)
    assert line == 4 and message.startswith(
        "screening does not pay on strokes: a promoted candidate has to gain 3.4 times"
    )
    assert messages(screen, 1.0) == messages(screen, None) == messages(screen.replace("6", "1"), 0.1) == []
    assert messages(screen.replace("0.25", "0.4"), 0.1) == []  # longer than what was measured
    phases = "  phases:\n  - {until: 0.5, screen: {fraction: 1.0}}\n  - until: 0.7\n  - screen:\n      fraction: 0.2\n"
    assert [line for line, _ in messages(screen + phases, 0.1)] == [4, 9]

"""Laws of studies on several tasks, and the differences by seed between two codes."""

from __future__ import annotations

import numpy as np
import pytest

from bench.own_share import DEVIATION, RELATIONS, Shown, several_laws, show_differences


def test_several_laws_have_the_relation_of_their_seed() -> None:
    for seed in range(1, 13):
        laws, relation = several_laws(seed), RELATIONS[seed % 3]
        assert len(laws) == 2 + seed % 2 and len({law.seed for law in laws}) == len(laws)
        shared = set(laws[0].before) & set(laws[1].before)
        assert shared == (set() if relation == "apart" else set(laws[0].before))
        if relation == "alike":
            deviations = [laws[1].effects[change] - effect for change, effect in laws[0].effects.items()]
            assert np.std(deviations) == pytest.approx(DEVIATION, rel=0.3)


def study(seed: int, champion: float, child: float) -> Shown:
    return Shown(
        "several", seed, 2.0, champion, (champion - 2.0, None, None), None, [("reorder-ideas", child)], None, 1.0
    )


def test_show_differences_pairs_studies_by_seed(capsys: pytest.CaptureFixture[str]) -> None:
    show_differences([study(1, 4.0, 0.5), study(2, 4.0, 0.5)], [study(2, 3.0, 0.1), study(3, 9.0, 9.0)])
    lines = dict(line.split(": ") for line in capsys.readouterr().out.splitlines())
    assert lines["all, difference of champion over stock"] == "0.500 of 1"
    assert lines["apart, difference of children minus parents"] == "0.400 of 1"
    assert lines["all, difference of children minus parents write-ideas"] == "0.000 of 0"

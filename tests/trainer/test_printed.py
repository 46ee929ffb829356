"""Printed metrics: what the pattern finds, what it must not believe."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.forked import ForkedReferee
from trainer.predictions import InvalidPredictions
from trainer.scorers.printed import Printed
from trainer.scoring import Score, scorer_of

PATTERN = r"^val_bpb:\s*([-+0-9.eE]+)"


def score(log: str) -> Score:
    scorer = scorer_of({"kind": "printed", "pattern": PATTERN, "classes": 10})
    assert isinstance(scorer, Printed) and not scorer.needs_checkpoint
    return scorer.score(ForkedReferee("", Path(), Path(), 10, log=log, verifying=True))


def test_the_last_match_counts_and_is_never_verified() -> None:
    found = score("step 1\nval_bpb: 2.5\nval_bpb:  9.98e-1\npeak: 3\n")
    assert found == Score(0.998, "self-reported")


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ("", "no line"),
        ("final val_bpb: 1.0", "no line"),
        ("val_bpb: nan", "no line"),
        ("val_bpb: 1e999", "not a finite number"),
        ("val_bpb: 1.2.3", "not a finite number"),
        ("val_bpb: --", "not a finite number"),
        ("val_bpb: " + "9" * 300, "not a finite number"),
        ("val_bpb: " + "9" * 3_000_000, "no line"),
        ("val_bpb: 1.0\nval_bpb: e", "not a finite number"),
    ],
)
def test_what_is_no_metric(log: str, message: str) -> None:
    with pytest.raises(InvalidPredictions, match=message) as raised:
        score(log)
    assert len(str(raised.value)) < 200

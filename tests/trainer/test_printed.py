"""Printed metrics: what the pattern finds, what it must not believe."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.forked import ForkedReferee
from trainer.commands import named_numbers
from trainer.scorers.printed import Printed
from trainer.scoring import InvalidPredictions, Score, scorer_of

PATTERN = r"^val_bpb:\s*([-+0-9.eE]+)"


def score(log: str) -> Score:
    scorer = scorer_of({"kind": "printed", "pattern": PATTERN, "classes": 10})
    assert isinstance(scorer, Printed) and not scorer.needs_checkpoint
    return scorer.score(ForkedReferee("", Path(), Path(), 10, log=log, verifying=True))


KEYED = Printed({"key": "val", "pattern": ""})


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
        ("val_bpb: " + "9" * 41, "not a finite number of at most 40 characters"),
        ("val_bpb: " + "9" * 300, "not a finite number of at most 40 characters"),
        ("val_bpb: " + "9" * 3_000_000, "no line"),
        ("val_bpb: 1.0\nval_bpb: e", "not a finite number"),
        ('{"val": 0.3}\n{"val": NaN}', "not a finite number"),
        ('{"val": 0.3}\n{"val": -Infinity}', "not a finite number"),
        ('{"val": 0.3}\n{"val": 1e999}', "not a finite number"),
        (f'{{"val": 0.3}}\n{{"val": {"9" * 400}}}', "not a finite number"),
    ],
)
def test_what_is_no_metric(log: str, message: str) -> None:
    with pytest.raises(InvalidPredictions, match=message) as raised:
        KEYED.metric(log) if log.startswith("{") else score(log)
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize("length", range(1, 41))
def test_a_decimal_of_up_to_40_characters_is_a_number(length: int) -> None:
    text = ("-0." + "00037904500378069337" * 2)[1 if length < 4 else 0 :][:length]
    assert score(f"val_bpb: {text}").metric == float(text)


@pytest.mark.parametrize(
    "value", [0.00037904500378069337, 1.2345678901234567e-05, -2.2250738585072014e-308, 1.2345678901234567e22]
)
def test_printed_float_of_python_is_read_with_all_its_digits(value: float) -> None:
    for number in (value, np.float64(value)):
        assert score(f"val_bpb: {number}").metric == value == KEYED.metric(json.dumps({"val": number}))


def test_json_of_a_log_is_read_with_its_other_numbers() -> None:
    log = f'{{"val": 0.3}}\n{{"val": 2.5E-1, "grad": NaN, "seed": {2**256}}}\nnot {{json\n'
    assert KEYED.metric(log) == 0.25
    assert named_numbers.read(log)["val"].values == ["0.3", "0.25"]

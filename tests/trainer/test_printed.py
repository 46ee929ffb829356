"""Printed metrics: what the pattern finds, what it must not believe; directions by name; a task of this kind."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.forked import ForkedReferee
from tests.trainer.foreign_repos import store
from trainer.cards.check import check
from trainer.commands import named_numbers
from trainer.experiment import Spec, Trainer
from trainer.jobs.job import Launcher
from trainer.scorers.printed import Printed
from trainer.scoring import InvalidPredictions, Score, scorer_of
from trainer.task import Task
from trainer.values.metric_names import certain_direction, is_timed

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
        ("val_bpb: " + "9" * 41, "not a finite number of at most 40 characters"),
        ("val_bpb: " + "9" * 3_000_000, "no line"),
        ('{"val": 0.3}\n{"val": NaN}', "not a finite number"),
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


HEAD = """
[task]
name = "own"
metric = "figure"
read_only = []

[budget]
seconds = 0.2
cost = 0.2
"""
PRINTED = HEAD + "[score]\nkind = \"printed\"\npattern = '^val_bpb:\\s*([-+0-9.eE]+)'\n"


def test_a_printed_task_needs_no_data_and_no_checkpoint(
    tmp_path: Path, launcher: Launcher, session_cache: Path
) -> None:
    script = "print('val_bpb: 2.0')\nprint('val_bpb: 1.25')\n"
    (tmp_path / "task.toml").write_text(PRINTED)
    (tmp_path / "train.py").write_text(script)
    task = Task.load(tmp_path)
    trainer = Trainer(task, store(task, tmp_path / "splits"), launcher=launcher)
    outcome = trainer.run(Spec(task.baseline(), 1, "confirmation"))
    assert (outcome.status, outcome.metric, outcome.findings) == ("ok", 1.25, ())
    assert outcome.trust == ("self-reported" if launcher.sandboxed else "unverified")
    assert [finding.message for finding in check(tmp_path, launcher=launcher, only=["data"])][1:] == []


NAMES = {
    "lower": "val_loss valLoss loss_mean time seconds error_rate p99_latency",
    "higher": "testAcc AUROC GFLOPS tok_per_sec tok/s success_rate",
    None: "performance _ score neg_loss rate failure_rate inverse_accuracy mAP bits val "
    "acc_time time_acc accuracy_mm time_to_accuracy loss_at_best_acc pass@1 ms_per_token crash_rate collision_rate "
    "hallucination_rate timeout_rate eval.rate dropout_rate errors/s survival_time",
}


@pytest.mark.parametrize(("name", "way"), [(name, way) for way, names in NAMES.items() for name in names.split()])
def test_directions_by_name(name: str, way: str | None) -> None:
    assert certain_direction(name) == way


@pytest.mark.parametrize("name", ["latency", "p99_ms", "total_s", "tok/s", "qps", "tokensPerSec"])
def test_times_and_rates_by_name(name: str) -> None:
    assert is_timed(name)


@pytest.mark.parametrize("name", ["val_loss", "time_to_accuracy", "bits", "params", "lss"])
def test_other_names_are_no_times(name: str) -> None:
    assert not is_timed(name)

"""What may be said of a train.py: of its noise and the rows of its task; of a diff: a seed, the metric, other files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analysis.found_scripts import found_script, script_sentence
from analysis.ledger.events import HarvestEvent
from analysis.script_remarks import METRIC, READS, SEED, script_remarks
from analysis.verdict.decision import SEED_ALONE, FoundScript
from tests.events import example
from tests.trainer.foreign_repos import write_files
from trainer.task import Task

SCRIPT = FoundScript("own", "val_err", 1.0, 0, 0.01, None, None, 3, "scored", start=0.24, end=0.23, metric="val_err")
EXACT = {"noise": "exact", "data": "exact", "metric": "bytes", "unit": "bytes"}
SHOWN = {"low": 0.004, "high": 0.016}
OF = "main is better than the untouched script"
NOT = "main is not shown to be better"
GAIN, FROM = "+0.0100 val_err [0.0040, 0.0160]", "(val_err 0.2400 → 0.2300;"
SAME = "; whether it holds on other data is not known."
#: fields of the script, whether it is better, and the sentence
SENTENCES: list[tuple[dict[str, Any], bool, str]] = [
    ({"seeded": False}, False, f"{NOT}: on the same data val_err 0.240 → 0.230{SAME}"),
    ({"noise": "seeds", **SHOWN}, True,
     f"{OF} on the same validation data by {GAIN} {FROM} 95% interval over 3 fresh seeds){SAME}"),
    ({"noise": "seeds", "seeded": False, "low": -0.004, "high": 0.016}, False,
     f"{NOT} than the untouched script on the same validation data: +0.0100 val_err [−0.0040, 0.0160] "
     f"{FROM} 95% interval over 3 trainings){SAME}"),
    ({"noise": "seeds rows", "data": "drawn", **SHOWN}, True,
     f"{OF} on fresh data by {GAIN} {FROM} 95% interval over 3 fresh seeds and rows)."),
    ({"noise": "rows", "data": "rows", "rows": 300, **SHOWN}, True,
     f"{OF} on 300 held-back rows by {GAIN} {FROM} 95% interval over rows)."),
    ({"noise": "seeds", "data": "split", **SHOWN}, True,
     f"{OF} on rows that the search did not use by {GAIN} {FROM} 95% interval over 3 fresh seeds); the interval leaves "
     "out the noise of these rows."),
    ({"data": "split"}, False,
     f"{NOT}: on rows that the search did not use val_err 0.240 → 0.230; the noise of these rows is not known "
     "([score] n_rows or rows in task.toml gives it)."),
    ({"noise": "seeds", "data": "n_rows", "rows": 100, **SHOWN}, False,
     f"{NOT}: on the same 100 rows val_err 0.2400 → 0.2300; as a share of these rows, only a gain of five times their "
     "error, with the luck of so many tries, would be shown."),
    ({"noise": "rows", "data": "n_rows", "rows": 10**6, **SHOWN}, True,
     f"{OF} by {GAIN} {FROM} 95% interval over rows); the search chose on these rows, and the luck of its looks is "
     "taken off the lower end."),
    ({**EXACT, "gain": 12.0, "start": 120.0, "end": 108.0}, True, f"{OF} by +12 bytes (bytes 120 → 108; exact)."),
    ({**EXACT, "gain": -1.0, "start": 4.0, "end": 5.0}, False,
     "main is not better than the untouched script: −1 bytes (bytes 4 → 5; exact)."),
    ({"noise": "seeds rows", "data": "drawn", "start": None, "low": -0.1, "high": 0.12}, False,
     f"{NOT} than the untouched script on fresh data: +0.010 val_err [−0.100, 0.120] "
     "(95% interval over 3 fresh seeds and rows)."),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "better", "sentence"), SENTENCES)
def test_a_sentence_states_no_more_than_its_noise(fields: dict[str, Any], better: bool, sentence: str) -> None:
    script = replace(SCRIPT, **fields)
    assert script.is_better == better
    assert script_sentence(script, "main", "the untouched script") == sentence


def test_an_interval_without_width_is_none() -> None:
    task = Task.load("strokes")
    event = example(HarvestEvent, files=task.baseline().files, gain=0.02, se=0.0, low=0.02, high=0.02)
    script = found_script(task, event)
    assert (script.low, script.high, script.noise, script.is_better) == (None, None, "", False)
    known = found_script(task, replace(event, low=0.01, high=0.03, noise="seeds rows", held_rows=90))
    assert (known.low, known.data, known.seeded, known.rows) == (0.01, "drawn", True, 90)


TRAIN = """import numpy as np
from model import Model
STEPS = 10
model = Model(depth=3, random_state=0)
inputs, targets = np.load("train.npy"), np.load("targets.npy")
model.fit(inputs, targets, STEPS)
score = model.error(np.load("held.npy"))
if STEPS > 5: print(f"val_err: {score:.4f}", STEPS)
"""
TASK = """[task]
name = "remarks"
metric = "val_err"
editable = ["train.py"]
read_only = ["labels.csv", "targets.npy"]
[budget]
seconds = 1.0
[score]
kind = "printed"
pattern = '^val_err: (.*)'
[edits.STEPS]
kind = "int"
values = [10, 20]
[run]
command = "python train.py"
"""
REPLACED = [
    ("STEPS = 10", "STEPS = 20", []),
    ("random_state=0", "random_state=17", [(SEED_ALONE, "random_state=0 → random_state=17")]),
    ("depth=3, random_state=0", "depth=4, random_state=17", [(SEED, "random_state=0 → random_state=17")]),
    ("STEPS = 10", "STEPS = 10\nrng = np.random.default_rng(3)", []),
    ("{score:.4f}", "{score * 0.9:.4f}", [(METRIC, 'if STEPS > 5: print(f"val_err: {score * 0.9:.4f}", STEPS)')]),
    ("model.error(", "0.5 * model.error(", [(METRIC, 'score = 0.5 * model.error(np.load("held.npy"))')]),
    ("if STEPS", "score -= 0.1\nif STEPS", [(METRIC, "score -= 0.1")]),
    ('f"val_err: {score:.4f}", STEPS', '"val_err: 0.1"', [(METRIC, 'if STEPS > 5: print("val_err: 0.1")')]),
    ("model.fit(", "if STEPS <= 3: raise ValueError\nmodel.fit(", []),
    ("targets, STEPS)", "targets, STEPS, random_state=5)", []),
    ("model.fit(inputs", 'labels = open("labels.csv").read()\nmodel.fit(inputs', [(READS, "labels.csv")]),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "expected"), REPLACED)
def test_remarks_of_a_diff_name_what_changes_no_training(
    tmp_path: Path, old: str, new: str, expected: list[tuple[str, str]]
) -> None:
    write_files(tmp_path, {"train.py": TRAIN, "task.toml": TASK, "labels.csv": "1\n", "targets.npy": "1\n"})
    task = Task.load(tmp_path)
    assert list(script_remarks(task, (("train.py", TRAIN.replace(old, new)),))) == expected


def test_remarks_of_the_metric_leave_the_scoring_commands_output(tmp_path: Path) -> None:
    command = "score_command = 'python score.py'\nartifacts = ['model.json']\n"
    write_files(tmp_path, {"train.py": TRAIN, "score.py": "", "task.toml": TASK.replace('"labels.csv"', '"score.py"')
                           .replace('"targets.npy"', '"labels.csv"') + command, "labels.csv": "1\n"})  # fmt: skip
    task = Task.load(tmp_path)
    assert not list(script_remarks(task, (("train.py", TRAIN.replace("{score:.4f}", "{score / 2:.4f}")),)))

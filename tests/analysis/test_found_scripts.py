"""What may be said of a train.py: by the noises that its interval contains, and by what the task says of its rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from analysis.found_scripts import found_script, script_sentence
from analysis.ledger.events import HarvestEvent
from analysis.verdict.decision import FoundScript
from trainer.task import Task

SCRIPT = FoundScript("own", "val_err", 1.0, 0, 0.01, None, None, 3, "scored", start=0.24, end=0.23, metric="val_err")
SHOWN = {"low": 0.004, "high": 0.016}
SAME = "; whether it holds on other data is not known."
TABLE: dict[str, tuple[dict[str, Any], bool, str]] = {
    "nothing varies": (
        {"seeded": False}, False,
        f"main is not shown to be better: on the same data val_err 0.240 → 0.230{SAME}",
    ),
    "seeds alone": (
        {"noise": "seeds", **SHOWN}, True,
        "main is better than the untouched script on the same validation data by +0.0100 val_err [0.0040, 0.0160] "
        f"(val_err 0.2400 → 0.2300; 95% interval over 3 fresh seeds){SAME}",
    ),
    "no seed is given": (
        {"noise": "seeds", "seeded": False, "low": -0.004, "high": 0.016}, False,
        "main is not shown to be better than the untouched script on the same validation data: +0.0100 val_err "
        f"[−0.0040, 0.0160] (val_err 0.2400 → 0.2300; 95% interval over 3 trainings){SAME}",
    ),
    "hidden splits": (
        {"noise": "seeds rows", "data": "drawn", **SHOWN}, True,
        "main is better than the untouched script on fresh data by +0.0100 val_err [0.0040, 0.0160] "
        "(val_err 0.2400 → 0.2300; 95% interval over 3 fresh seeds and rows).",
    ),
    "held-back rows": (
        {"noise": "rows", "data": "rows", "rows": 300, **SHOWN}, True,
        "main is better than the untouched script on 300 held-back rows by +0.0100 val_err [0.0040, 0.0160] "
        "(val_err 0.2400 → 0.2300; 95% interval over rows).",
    ),
    "other rows without their noise": (
        {"noise": "seeds", "data": "split", **SHOWN}, True,
        "main is better than the untouched script on rows that the search did not use by +0.0100 val_err "
        "[0.0040, 0.0160] (val_err 0.2400 → 0.2300; 95% interval over 3 fresh seeds); the interval leaves out the "
        "noise of these rows.",
    ),
    "other rows, no noise": (
        {"data": "split"}, False,
        "main is not shown to be better: on rows that the search did not use val_err 0.240 → 0.230; the noise of these "
        "rows is not known ([score] n_rows or rows in task.toml gives it).",
    ),
    "a share of rows, seeds alone": (
        {"noise": "seeds", "data": "n_rows", "rows": 100, **SHOWN}, False,
        "main is not shown to be better: on the same 100 rows val_err 0.2400 → 0.2300; as a share of these rows, only "
        "a gain of five times their error, with the luck of so many tries, would be shown.",
    ),
    "a share of a million rows": (
        {"noise": "rows", "data": "n_rows", "rows": 10**6, **SHOWN}, True,
        "main is better than the untouched script by +0.0100 val_err [0.0040, 0.0160] "
        "(val_err 0.2400 → 0.2300; 95% interval over rows); the "
        "search chose on these rows, and the luck of its looks is taken off the lower end.",
    ),
    "exact": (
        {"noise": "exact", "data": "exact", "metric": "bytes", "unit": "bytes", "gain": 12.0, "start": 120.0,
         "end": 108.0}, True, "main is better than the untouched script by +12 bytes (bytes 120 → 108; exact).",
    ),
    "exact and worse": (
        {"noise": "exact", "data": "exact", "metric": "bytes", "unit": "bytes", "gain": -1.0, "start": 4.0, "end": 5.0},
        False, "main is not better than the untouched script: −1 bytes (bytes 4 → 5; exact).",
    ),
    "no start value": (
        {"noise": "seeds rows", "data": "drawn", "start": None, "low": -0.1, "high": 0.12}, False,
        "main is not shown to be better than the untouched script on fresh data: +0.010 val_err [−0.100, 0.120] "
        "(95% interval over 3 fresh seeds and rows).",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLE)
def test_a_sentence_states_no_more_than_its_noise(case: str) -> None:
    fields, better, sentence = TABLE[case]
    script = replace(SCRIPT, **fields)
    assert script.is_better == better
    assert script_sentence(script, "main", "the untouched script") == sentence


def test_an_interval_without_width_is_none() -> None:
    task = Task.load("strokes")
    event = HarvestEvent(
        task=task.name, search="harvest", stream="confirmation", source_id="s", origin="run", config={},
        files=task.baseline().files, experiments=28, finalists=4, chosen_by=0.02, gain=0.02, se=0.0, low=0.02,
        high=0.02, n=8, failed=0, trust="verified", device_seconds_charged=1.0, device_seconds_spent=1.0,
    )  # fmt: skip
    script = found_script(task, event)
    assert (script.low, script.high, script.noise, script.is_better) == (None, None, "", False)
    known = found_script(task, replace(event, low=0.01, high=0.03, noise="seeds rows", held_rows=90))
    assert (known.low, known.data, known.seeded, known.rows) == (0.01, "drawn", True, 90)

"""What the rows of a log become: numbers and words, baselines, steps, what was measured again, and how many kept steps
are distinguishable from noise."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from analysis.imports.columns import Stated
from analysis.imports.noise import MeasurementNoise
from analysis.imports.runs import ImportedRun, runs_of
from analysis.imports.table import log_of_text
from analysis.statistics import family_p
from tests.analysis.imports import samples
from tests.analysis.imports.helpers import bring_in_one, rows
from tests.analysis.imports.samples import tsv
from trainer.values.metric_names import named_direction


@dataclass(frozen=True)
class Log:
    """A log with what is expected of its run (columns of ``imports``) and of its rows (a list for each column)."""

    text: str
    run: Mapping[str, Any] = field(default_factory=dict)
    rows: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    stated: Stated = field(default_factory=Stated)
    name: str = "results.tsv"


near = pytest.approx
HEAD = "commit|val_loss|status|description"
CHANCE = statistics.NormalDist().inv_cdf(3.625 / 4.25)  # SDs that the best of CANONICAL's tries gains by noise alone
CHANCE_OF_ROWS = statistics.NormalDist().cdf(-0.1 / math.sqrt(2 * 0.3 * 0.7 / 400))
NEWEST = tsv("time|description|score", "2026-01-03|c|3", "2026-01-02|b|2", "2026-01-02|a2|1.5", "2026-01-01|a|1")
LOGS = {
    "steps": Log(
        samples.CANONICAL,
        {"tried": 4, "kept": 2, "discarded": 1, "failed": 1, "baseline": 1.12, "best_kept": 1.101, "best_line": 6,
         "claimed_gain": near(0.019), "chance_keeps": near(1 / 2 + 1 / 3 + 1 / 4)},
        {"e.number": [0, 1, 2, 3, 4], "step_gain": [None, near(0.012), None, None, near(0.007)],
         "step_tries": [None, 1, None, None, 2], "best_so_far": [1.12, 1.108, 1.108, 1.108, 1.101],
         "e.gain": [0.0, near(0.012), near(-0.011), None, near(0.019)]}),
    "without statuses each new best is a step": Log(
        tsv("commit|val_loss|description", "a|2.0|b", "b|2.1|c", "c|1.9|d", "d|1.95|e"),
        {"decided": False, "kept": 0, "new_bests": 1, "undecided": 3, "claimed_gain": near(0.1)}),
    "and the best of what is ok": Log(
        tsv("id|tok_per_sec|status|notes", "1|10|ok|baseline", "2|14|ok|a", "3|20|REVERT|b", "4|0|FAIL|c", "5|15|ok|d"),
        {"new_bests": 2, "discarded": 1, "failed": 1, "claimed_gain": 5.0}),
    "rows before the baseline count below zero": Log(
        tsv("commit|val_bpb|status", "a|0.0|crash", "b|1.1|keep", "c|1.0|keep"),
        rows={"e.number": [-1, 0, 1], "metric": [None, 1.1, 1.0]}),
    "no baseline": Log(
        tsv("commit|val_bpb|status", "a|1.2|discard", "b|1.1|keep", "c|1.0|keep"),
        {"baseline": None, "claimed_gain": None, "best_kept": 1.0, "kept": 2}, {"e.number": [1, 2, 3]}),
    "what was kept although it is worse is no new best": Log(
        tsv("commit|val_loss|status", "a|2|keep", "b|1.9|keep", "c|1.4|discard", "d|1.95|keep", "e|1.8|keep"),
        {"best_measured": 1.4, "best_kept": 1.8, "noise_steps": 1},
        {"step_gain": [None, near(0.1), None, near(-0.05), near(0.1)], "best_so_far": [2, 1.9, 1.9, 1.9, 1.8]},
        Stated(noise=1e-6)),
    # The re-runs give the noise and the step: the lucky measurement itself says nothing of either.
    "a best that was measured again at a third": Log(
        samples.RERUN_LOWER,
        {"claimed_gain": near(0.8), "rerun_gain": near(0.2), "noise_sd": near(0.01), "noise_df": 2, "noise_sources": 1,
         "noise_steps": 1},
        {"again": [None, None, None, 4, 4, 4, None]}),
    "re-runs that are worse": Log(
        samples.RERUN_LOWER.replace("0.29", "0.09").replace("0.31", "0.11"), {"noise_steps": 2}),
    "the best changes between two re-runs": Log(
        tsv("commit|val_loss|status|what", "a|9|keep|start", "b|8|keep|x", "c|8.1|discard|rerun of best", "d|2|keep|y",
            "e|2.1|discard|rerun of best"),
        {"noise_sd": near(0.1 / math.sqrt(2)), "noise_sources": 2}, {"again": [None, None, 3, None, 5]}),
    "the number of a seed or of a try names no experiment, and a re-run is no new best": Log(
        tsv("exp|val_acc|what", "1|.8|start", "2|.85|x", "3|.9|y", "4|.91|seed 2 of best", "5|.89|rerun 2 of the best"),
        {"noise_sources": 1, "new_bests": 2}, {"again": [None, None, None, 4, 4]}),
    "a re-run before the row of its script is part of the decision, and shows noise": Log(
        tsv("commit|val_loss|status|description", "a|2.0|keep|baseline", "b|1.6|discard|wider, again (replicate)",
            "c|1.5|keep|wider", "d|1.7|discard|deeper"),
        {"kept": 1, "tried": 2, "reruns": 1, "noise_sd": near(0.1 / math.sqrt(2)), "baseline": 2.0},
        {"line": [2, 4, 3, 5], "again": [None, None, 4, None], "step_gain": [None, near(0.5), None, None],
         "step_p": [None, near(family_p(0.45 / (0.1 / math.sqrt(2) * math.sqrt(1 + 1 / 2)), 1, 2)), None, None]}),
    "copied rows show no noise": Log(
        tsv("commit|val_loss|status|what", "a|2.0|keep|baseline", "a|2.0|keep|baseline", "b|1.9|keep|x"),
        {"noise_sd": None, "noise_steps": None, "noise_share": None, "reruns": 1}),
    "noise is pooled": Log(
        tsv("commit|val_loss|status|what", "a|1.0|keep|baseline", "a|1.2|discard|baseline",
            *(f"b|{value}|discard|wide" for value in (3.0, 3.1, 3.2))),
        {"noise_df": 3, "noise_sources": 2, "noise_sd": near(math.sqrt((0.02 + 0.02) / 3))}),
    "noise that explains all steps": Log(
        samples.CANONICAL,
        {"noise_steps": 2, "noise_share": 1.0, "chance_gain": near(0.02 * CHANCE)},
        stated=Stated(noise=0.02)),
    "rows alone are a noise, that of the share nearest to a half": Log(
        samples.SHARES,
        {"noise_sd": None, "n_rows": 400, "rows_sd": near(math.sqrt(0.3 * 0.7 / 400)), "noise_steps": 2},
        {"step_p": [None, 1.0, near(3 * CHANCE_OF_ROWS, rel=1e-3), 1.0]},
        Stated(rows=400)),
    "rows in percent": Log(
        tsv("commit|val_acc|status", "a|70.0|keep", "b|81.0|keep"),
        {"rows_sd": near(100 * math.sqrt(0.3 * 0.7 / 400)), "noise_steps": 0}, stated=Stated(rows=400)),
    "one row shows nothing": Log(
        tsv("commit|val_err|status", "a|1.0|keep", "b|0.0|keep"), {"rows_sd": near(0.5), "noise_steps": 1},
        stated=Stated(rows=1)),
    "a column of statuses that is given": Log(
        tsv("id|loss|status|good", "1|3|keep|no", "2|2|keep|yes", "3|1|keep|no"), {"kept": 1},
        stated=Stated(status="good")),
    "an empty column of statuses": Log(
        tsv("id|loss|result|what", "1|3||x", "2|2||y"), {"metric": "loss", "decided": False, "new_bests": 1}),
    "two columns of statuses": Log(
        tsv("id|loss|status|decision", "1|3|ok|keep", "2|2|ok|revert", "3|0|crash|", "4|1|ok|keep"),
        {"kept": 1, "discarded": 1, "failed": 1, "best_kept": 1.0}),
    "words against each other decide nothing": Log(
        tsv("commit|val_loss|status", "a|2|keep", "b|1|not kept", "c|1|kept, then reverted", "d|1|discard (crash)",
            "e|3|❌ slower"),
        rows={"decision": ["baseline", None, None, "discard", "discard"], "status": ["ok", "ok", "ok", "crash", "ok"]}),
    "a failure in place of the metric": Log(
        samples.FAILURES, {"rows": 9, "failed": 7, "kept": 1, "quarantined": 0},
        {"status": ["ok", "ok", "invalid", "invalid", "invalid", "timeout", "oom", "invalid", "crash"]}),
    "failures in most rows hide no metric of an unknown name": Log(
        tsv("id|blend (lower is better)|what", "1|3.0|a", "2|OOM|b", "3|2.0|c", "4|crash|d", "5|timeout|e"),
        {"metric": "blend", "failed": 3, "best_measured": 2.0}),
    "newest first is turned around": Log(
        NEWEST, {"baseline": 1.0, "claimed_gain": 2.0, "notes": {"sorted_by": "time"}}, {"line": [5, 4, 3, 2]}),
    "an incomplete column of times": Log(NEWEST.replace("2026-01-02\tb", "\tb"), {"baseline": 3.0, "notes": {}}),
    "durations are no times": Log(tsv("time|description|score", "300|a|1", "200|b|2"), {"baseline": 1.0, "notes": {}}),
    "a value that is far off": Log(
        tsv("commit|tok_s|status|description", "a|10|keep|one", "b|11|keep|x", "c|700|keep|batch 64", "d|400|keep|y"),
        {"notes": {"far_from_baseline": {"rows": 1, "line": 4, "value": 700.0}}}),
    "the metric of autoresearch goes before all others": Log(
        tsv("commit|val_bpb|tok_per_sec|final_loss|status|what", "a|.9|6|3|keep|x", "b|.8|7|2|keep|y"),
        {"metric": "val_bpb"}),
    "constants and changes in per cent are no metric": Log(
        tsv("commit|tok_s|hits|improvement|status|what", "a|.9|0|0%|keep|x", "b|1.8|0|99%|keep|y"),
        {"metric": "tok_s"}),
    # A separator in the last description belongs to it; a cut row, text and a row that is too wide are set aside.
    "odd rows": Log(
        tsv("commit|val_bpb|status|description", "a|1.2|keep|baseline", "b|1.1|keep|wider| deeper", "c|1.3|discard",
            "def forward(x):", "- weight decay|does nothing", "d|soon|keep|later",
            "commit|val_bpb|status|description", 'e|1.0|keep|"say ""x"""', 'f|1.05|discard|say "'),
        {"quarantined": 3},
        {"line": [2, 3, 4, 9, 10], "description": ["baseline", "wider\tdeeper", "", 'say "x"', 'say "']}),
    "notes and empty rows": Log(
        tsv("commit|val_bpb|status", "a|1.2|keep", "b||skip", "c||", "d|1.1|keep"),
        {"rows": 3, "tried": 1, "quarantined": 1}, name="a-log.tsv"),
    "a line of words above wider rows is no header": Log(
        tsv("commit|val_bpb|status|what", "a|1.2|keep|x", "", "now|the|second", "b|1.1|keep|y", "c|1.0|keep|z"),
        {"rows": 3, "kept": 2, "quarantined": 1}),
    "a table of markdown with shas as code": Log(
        samples.OF_A_NIGHT,
        {"metric": "loss", "notes": {"description_column": "what_i_changed", "unused_columns": ["vram"]}},
        {'"commit"': ["a11569f", "1f0f2fe"], "description": ["baseline", "a larger step"]}, name="results.md"),
    "a CSV with line breaks in cells": Log(
        'commit,val_acc,status,description\na,0.90,keep,"two\nlines"\nb,0.91,keep,"wider, deeper"\n',
        rows={"line": [2, 4], "description": ["two\nlines", "wider, deeper"]}, name="results.csv"),
    "JSON over several lines": Log(
        samples.RECORDS, {"metric": "val_loss", "direction": "lower", "direction_from": "its name"},
        {"line": [1, 2, 3, 4], "metric": [2.3, 2.2, None, None], "status": ["ok", "ok", "crash", "invalid"]},
        name="results.jsonl"),
    "broken JSON": Log(
        '{"id": 1, "loss": 2.0}\n{"id": 2, "lo\n{"id": 3, "loss": 1.0}\n', {"rows": 2, "quarantined": 1},
        name="results.jsonl"),
}  # fmt: skip


@pytest.mark.parametrize("log", LOGS.values(), ids=LOGS)
def test_a_log_becomes_a_run(tmp_path: Path, log: Log) -> None:
    run = bring_in_one(tmp_path, log.text, log.stated, log.name)
    assert {column: run[column] for column in log.run} == log.run
    found = rows(tmp_path, *log.rows) if log.rows else []
    assert dict(zip(log.rows, map(list, zip(*found, strict=True)), strict=True)) == log.rows


def only_run(*lines: str) -> ImportedRun:
    [run] = runs_of(log_of_text(tsv(*lines)), Stated())
    return run


def test_numbers_with_marks_are_read() -> None:
    cells = {
        "95.2%": 95.2,
        "~96": 96.0,
        "0.98 ± 0.01": 0.98,
        "**0.97**": 0.97,
        "~~0.98~~ ❌": 0.98,
        "_0.97_ 🏆⭐️": 0.97,
    }
    found = only_run("commit|val_loss|status", *(f"a{n}|{cell}|keep" for n, cell in enumerate(cells)))
    assert [row.metric for row in found.rows] == list(cells.values())


def test_direction_follows_from_a_name() -> None:
    names = {
        "lower": "val_bpb val_rmse ms_per_token error_rate neg_log_likelihood crossdock_median_rmsd",
        "higher": "score tok_per_sec win_rate neg_loss Val_Accuracy_(%)",
        None: "performance",
    }
    for way, listed in names.items():
        assert {name: named_direction(name)[0] for name in listed.split()} == dict.fromkeys(listed.split(), way)


@pytest.mark.parametrize(
    ("line", "again"),
    [
        ("c3|1.95|discard|baseline", 2),
        ("c3|1.95|baseline|start anew", 2),
        ("b2b2b22|1.95|discard|wider net", 3),  # commit and description are the same
        ("c3|1.95|discard|replicate b2b2b22 with more care", 3),
        ("c3|1.95|discard|re-run: wider net, seed 4", 3),
        ("c3|1.95|discard|verification of the best", 3),
        ("b2b2b22|1.95|discard|narrower net", None),  # a discarded row has the hash of what it started from
        ("c3|1.95|discard|retry with warmup", None),
        ("c3|-|crash|rerun of the best", None),
    ],
)
def test_what_counts_as_measured_again(line: str, again: int | None) -> None:
    found = only_run(HEAD, "a1a1a11|2.0|keep|baseline", "b2b2b22|1.9|keep|wider net", line)
    assert [row.repeats and row.repeats.line for row in found.rows if row.line == 4] == [again]


RERUNS = (
    HEAD,
    "a1a1a11|2.0|keep|baseline",
    "b2b2b22|1.9|keep|wider net",
    "c3c3c33|1.95|discard|deeper net",
    "b2b2b22|1.7|{0}|wider net (re-run, seed 2)",
    "b2b2b22|1.8|{0}|wider net (re-run, seed 3)",
    "a1a1a11|1.8|{0}|baseline (re-run, seed 4)",
    "d4d4d44|1.85|keep|GELU",
)


@pytest.mark.parametrize("status", ["keep", "discard", "rerun", ""])
def test_a_re_run_is_one_whatever_its_status_says(tmp_path: Path, status: str) -> None:
    run = bring_in_one(tmp_path, tsv(*RERUNS).format(status))
    counts = {"kept": 2, "tried": 3, "discarded": 1, "undecided": 0, "reruns": 3, "noise_df": 2, "notes": {}}
    assert {name: run[name] for name in counts} == counts
    assert (run["best_line"], run["claimed_gain"], run["rerun_gain"]) == (8, near(0.15), near(0.05))
    sd = math.sqrt((0.1**2 / 2 + 0.2**2 / 2) / 2)  # of the two re-runs of the kept row, and of the baseline
    assert run["noise_sd"] == near(sd)
    wider, gelu = [row for row in rows(tmp_path, "step_gain", "step_tries", "step_p") if row[0] is not None]
    assert wider[:2] == (near(0.1), 1) and gelu[:2] == (near(0.05), 2)
    noise = MeasurementNoise(sd, 2)
    assert wider[2] == near(family_p(*noise_t(noise, 1.9 - 1.75, 2, 2), 2))  # one of the two kinds of test
    assert gelu[2] == near(family_p(*noise_t(noise, 1.8 - 1.85, 1, 3), 2 * 3))


def noise_t(noise: MeasurementNoise, step: float, n: int = 1, n_before: int = 1) -> tuple[float, float]:
    found = noise.difference(step, n, n_before)
    assert found.se
    return step / found.se, found.df


@pytest.mark.parametrize(("tries", "df"), [(1, 2), (1, 10), (5, 4), (20, 10)])
def test_how_often_noise_alone_passes(tries: int, df: int) -> None:
    """Of tries without an effect at most one best in twenty passes, also with an SD of few repeats; real ones do."""
    rng = random.Random(6)
    passed = found = 0
    for _ in range(2000):
        sd = math.sqrt(sum(rng.gauss(0, 1) ** 2 for _ in range(df)) / df)
        step = max(rng.gauss(0, 1) for _ in range(tries)) - rng.gauss(0, 1)
        noise = MeasurementNoise(sd, df, 1)
        passed += family_p(*noise_t(noise, step), tries) <= 0.05
        found += family_p(*noise_t(noise, step + 100.0), tries) <= 0.05
    assert passed / 2000 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 2000) and found / 2000 > 0.9
    assert tries > 1 or passed / 2000 > 0.03


@pytest.mark.parametrize("share", [0.0, 0.3], ids=["nothing measured again", "some kept rows measured again"])
def test_steps_of_a_log_without_effect_rarely_count(share: float) -> None:
    """In at most one log in twenty any kept row counts, however many tries and kept rows it has."""
    rng, logs = random.Random(9), 300
    false = 0
    for _ in range(logs):
        best, lines = 9.0, ["id|loss|status|what", *(f"a|{rng.gauss(1, 0.1)}|discard|baseline" for _ in range(9))]
        for number in range(40):
            value = rng.gauss(1, 0.1)
            lines.append(f"c{number}|{value}|{'keep' if value < best else 'discard'}|change {number}")
            if value < best and rng.random() < share:
                lines += [f"c{number}|{rng.gauss(1, 0.1)}|rerun|change {number}" for _ in range(2)]
            best = min(best, value)
        run = only_run(*lines)
        false += any((row.step_p or 1.0) <= 0.05 for row in run.rows)
    assert false / logs <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / logs)


def test_loop_without_effect_gains_the_best_of_its_noise() -> None:
    rng = random.Random(3)
    gains = [max(rng.gauss(0, 1) for _ in range(101)) for _ in range(3000)]
    assert MeasurementNoise(1.0).best_of(100) == pytest.approx(statistics.fmean(gains), abs=0.08)
    assert (MeasurementNoise(1.0).best_of(0), MeasurementNoise().best_of(5)) == (None, None)


def test_noise_of_rows_rerun_many_times_stays() -> None:
    noise = MeasurementNoise(0.01, 4, 1, 100, 0.04)
    many = noise.difference(0.1, 1000, 1000).one_sided()
    known = MeasurementNoise(rows_sd=0.04, n_rows=100).difference(0.1).one_sided()
    assert many == near(known, rel=0.01) and noise.difference(0.1).one_sided() > known
    assert noise.best_of(10) == near(math.hypot(0.01, 0.04) * statistics.NormalDist().inv_cdf(10.625 / 11.25))

"""A command that leaves a value for each validation row, or is told which rows to use: what its metric is then."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.foreign_repos import changed, command_task, run, trainer_of
from trainer.commands.rows_file import read_rows
from trainer.experiment import Spec
from trainer.outcome import Outcome
from trainer.rows import RowStore, held_back
from trainer.scoring import InvalidPredictions
from trainer.streams import Streams
from trainer.task import Task

LOSSES = """import random

SEED = 1
N = 400
random.seed(SEED)
rows = [random.random() for _ in range(N)]
with open("out/losses.csv", "w") as file:
    file.write("loss\\n" + "".join(f"{row!r}\\n" for row in rows))
print("loss:", sum(rows) / N)
"""
ROWS = 'rows = "out/losses.csv"\nn_rows = 400\n'
SEEDED = 'seed_constant = "train.py:SEED"\n'


def noisy(folder: Path, train: str, score: str, run_section: str = "", **files: str) -> Task:
    command_task(folder / "task", {"train.py": train, **files}, run_section)
    return changed(folder / "task", 'kind = "printed"\n', f'kind = "printed"\n{score}')


MANY = b"\n" * 1_000_001


def bare(task: Task, spec: Spec) -> Outcome:
    """One experiment without a sandbox."""
    return run(task, spec, sandbox=False)


def npy(values: object) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(values))
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "values"),
    [
        ("a.csv", b"loss\n0.5\n1\n-2e3\n", [0.5, 1.0, -2000.0]),
        ("a.txt", b"\xef\xbb\xbf0.5\r\n\r\n1.5", [0.5, 1.5]),
        ("a.csv", b'"the loss"\n3\n', [3.0]),
        ("a.jsonl", b'{"row": "x", "loss": 0.5, "right": true}\n1\n', [0.5, 1.0]),
        ("a.npy", npy([True, False]), [1.0, 0.0]),
        ("a.npy", npy(np.ones((2, 1), np.float32)), [1.0, 1.0]),
    ],
)
def test_rows_are_read_in_the_order_of_the_file(name: str, data: bytes, values: list[float]) -> None:
    assert read_rows(name, data, 3).tolist() == values


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.csv", b"0.5\nnan\n", "row 2 is nan, not a finite number"),
        ("a.csv", b"0,5\n0,4\n", "a.csv:1: '0,5' is not one number"),
        ("a.csv", b"row,loss\n1,0.5\n", "a.csv:2: '1,0.5' is not one number, and no other column"),
        ("a.csv", b"1.0\nlost\n2.0\n", "a.csv:2: 'lost' is not one number"),
        ("a.csv", b"loss\n", "has no rows"),
        ("a.jsonl", b'{"loss": 1, "row": 2}\n', "a.jsonl:1: .* is not one number or an object with one"),
        ("a.jsonl", b"[" * 9999, "is not a line of JSON"),
        ("a.jsonl", b"NaN\n", "row 1 is nan"),
        ("a.jsonl", b"1" + b"0" * 400 + b"\n", "row 1 is inf"),
        pytest.param("a.csv", MANY, "a.csv has more than 1,000,000 lines", id="csv of a million"),
        pytest.param("a.jsonl", MANY, "a.jsonl has more than 1,000,000 lines", id="jsonl of a million"),
        ("a.npy", b"0.5\n", "not an array that numpy.save wrote"),
        ("a.npy", npy([[1.0, 2.0]]), r"shape \[1, 2\] and the type float64"),
        ("a.npy", npy(["x"]), "not one number a row"),
        ("a.npy", npy([1.0, 2.0])[:-8], "ends before its 2 rows do"),
        ("a.npy", npy([np.nan]), "row 1 is nan"),
    ],
)
def test_rows_that_are_no_finite_numbers_are_refused_in_one_line(name: str, data: bytes, message: str) -> None:
    with pytest.raises(InvalidPredictions, match=message) as caught:
        read_rows(name, data, 3)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 120


def test_the_metric_is_the_mean_of_the_rows_of_the_stream(tmp_path: Path) -> None:
    task = noisy(tmp_path, LOSSES, ROWS, SEEDED)
    searched, confirmed = (run(task, Spec(task.baseline(), 1, stream)) for stream in ("search", "confirmation"))
    assert searched.rows is not None and searched.rows == confirmed.rows
    rows = RowStore(tmp_path).get(searched.rows)
    held = held_back(Streams.from_seed(1), task.task_id, 400)
    assert len(rows) == 400 and held.sum() == 120
    assert searched.metric == rows[~held].mean() != confirmed.metric == rows[held].mean()
    assert run(task, Spec(task.baseline(), 1, "selection")).metric == searched.metric
    assert f"loss: {rows.mean():.6f}"[:12] in searched.log  # the script prints the mean of all rows


def test_few_rows_are_all_scored_and_need_no_printed_metric(tmp_path: Path) -> None:
    train = LOSSES.replace("400", "100").partition("print")[0]
    task = changed(noisy(tmp_path, train, ROWS.replace("400", "100")).folder, "pattern = '^loss: (.*)'\n", "")
    searched, confirmed = (bare(task, Spec(task.baseline(), 1, stream)) for stream in ("search", "confirmation"))
    assert searched.metric == confirmed.metric == RowStore(tmp_path).get(str(searched.rows)).mean()


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("N = 400", "N = 399", "out/losses.csv has 399 rows, and not 400 as [score] n_rows says"),
        ('"out/losses.csv"', '"elsewhere.csv"', "the command left no out/losses.csv: No such file or directory"),
        ("in rows)", 'in rows[:-1] + ["x"])', "out/losses.csv:401: \"'x'\" is not one number"),
    ],
)
def test_a_candidate_with_other_rows_is_invalid_in_one_line(old: str, new: str, reason: str, tmp_path: Path) -> None:
    task = noisy(tmp_path, LOSSES, ROWS)
    source = task.baseline().with_text("train.py", task.baseline().text().replace(old, new))
    outcome = bare(task, Spec(source, 1))
    assert outcome.status == "invalid" and outcome.metric is None and outcome.rows is None
    assert reason in outcome.reason and "\n" not in outcome.reason, outcome.reason


@pytest.mark.parametrize("sandbox", [True, False])
def test_a_result_of_an_earlier_run_does_not_count(sandbox: bool, tmp_path: Path) -> None:
    """Both files are committed, alone in their folder, and the candidate writes neither."""
    committed = {"out/losses.csv": "0.5\n" * 400, "res/metric.txt": "loss: 0.5\n"}
    train = LOSSES + 'open("res/metric.txt", "w").write("loss: 0.5\\n")\n'
    task = noisy(tmp_path, train, f'{ROWS}file = "res/metric.txt"\n', **committed)
    trainer = trainer_of(task, sandbox=sandbox)
    assert trainer.run(Spec(task.baseline(), 1)).status == "ok"
    large = train.replace("file.write(", "file.truncate(65 << 20); file.write(")
    for text in ("print('loss: 0.1')\n", LOSSES, large):
        outcome = trainer.run(Spec(task.baseline().with_text("train.py", text), 1))
        assert outcome.status == "invalid" and "the command left no " in outcome.reason
    assert "out/losses.csv: is too large, " in outcome.reason


def test_a_scoring_command_leaves_the_rows(tmp_path: Path) -> None:
    score = "rows = [float(line) for line in open('model.txt')]\nopen('rows.txt', 'w').write('2\\n' * len(rows))\n"
    task = noisy(
        tmp_path,
        "open('model.txt', 'w').write('1\\n1\\n')\nopen('rows.txt', 'w').write('0\\n0\\n')\n",
        'rows = "rows.txt"\nn_rows = 2\n',
        'score_command = "python score.py"\nartifacts = ["model.txt"]',
        **{"score.py": score + "print('loss: 2')\n"},
    )
    assert (run(task).metric, run(task).trust) == (2.0, "scored")


SPLIT = """import os, sys
split = sys.argv[1]
assert split == os.environ["METALOOP_SPLIT"]
rows = {"search": ["0.1"] * 4, "confirm": ["0.3"] * 6}[split]
open("rows.txt", "w").write("\\n".join(rows))
print("loss:", rows[0])
"""


def with_split(folder: Path, score: str = "") -> Task:
    task = noisy(folder, SPLIT, score)
    return changed(task.folder, '"python train.py"', '"python train.py {split}"')


def test_a_split_is_confirm_on_the_streams_that_decide(tmp_path: Path) -> None:
    task = with_split(tmp_path)
    metrics = [
        bare(task, Spec(task.baseline(), 1, stream)).metric
        for stream in ("search", "selection", "confirmation", "reserve")
    ]
    assert task.takes_split and metrics == [0.1, 0.1, 0.3, 0.3]


def test_rows_of_a_confirm_split_are_as_many_as_the_originals(tmp_path: Path) -> None:
    task = with_split(tmp_path, 'rows = "rows.txt"\nn_rows = 4\n')
    for count, status in ((6, "ok"), (5, "invalid")):
        source = task.baseline().with_text("train.py", SPLIT.replace("* 6", f"* {count}") + "#\n")
        outcome = bare(task, Spec(source, 1, "confirmation"))
        assert outcome.status == status, outcome.reason
    assert outcome.reason == "rows.txt has 5 rows, and not 6 as the untouched files have"
    assert bare(task, Spec(source, 1)).metric == 0.1


def test_an_exact_metric_that_varies_is_a_finding(tmp_path: Path) -> None:
    task = noisy(tmp_path, "SEED = 1\nprint('loss:', 40 + SEED % 2)\n", "exact = true\n", SEEDED)
    findings = [bare(task, Spec(task.baseline(), seed, "confirmation")).findings for seed in (1, 3, 2)]
    assert findings == [(), (), ("exact: 40.0, but 41.0 before for the same files, in an exact metric",)]

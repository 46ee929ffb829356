"""`task check` of a metric that a model wins which ignores its input, and of limits that the untouched files break."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.foreign_repos import checked, command_task
from trainer.cards.check_record import CheckFinding
from trainer.commands.blind_check import constant_prediction
from trainer.commands.check import check_command
from trainer.task import Task

pytestmark = pytest.mark.usefixtures("own_cache")
SECTION = 'score_command = "python score.py"\nartifacts = ["out/predictions.csv"]\nscore_files = ["score.py"]\n'
TRAIN = """import os
os.makedirs('out', exist_ok=True)
with open('out/predictions.csv', 'w') as file:
    print('id,value', *(f'{i},{i * GAIN:.3f}' for i in range(40)), sep=chr(10), file=file)
"""
#: the true values are 0, 1, 2, …; `level` rewards the right mean alone
SCORE = """rows = [line.split(',') for line in open('out/predictions.csv').read().split()[1:]]
print('error:', sum({loss} for i, v in rows) / len(rows) + abs(sum(float(v) for i, v in rows) / len(rows) - 19.5))
"""


def clauses(folder: Path, gain: float, loss: str, more: str = "") -> dict[str, CheckFinding]:
    files = {"train.py": f"GAIN = {gain}\n{TRAIN}", "score.py": SCORE.format(loss=loss)}
    task = command_task(folder, files, SECTION + more, metric="error")
    return checked(task, knobs=False)


@pytest.mark.parametrize(
    ("loss", "level", "message"),
    [
        ("abs(float(v) - int(i))", "ok", "which is worse"),
        ("abs(float(v) - 19.5)", "warning", "no worse than 10.0 of the untouched files"),
    ],
)
def test_metric_that_one_prediction_for_all_rows_wins_is_named(
    loss: str, level: str, message: str, tmp_path: Path
) -> None:
    found = clauses(tmp_path / "task", 1.0, loss)["constant"]
    assert (found.level, message.replace("10.0", "10") in found.message) == (level, True), found.message


def test_artifacts_that_are_no_predictions_are_named(tmp_path: Path) -> None:
    files = {"train.py": "open('model.bin', 'wb').write(b'x')\n", "score.py": "print('error: 1')\n"}
    section = 'score_command = "python score.py"\nartifacts = ["model.bin"]'
    task = command_task(tmp_path / "task", files, section, metric="error")
    found = next(
        one for one in check_command(Task.load(task.folder), knobs=False, sandbox=False) if one.clause == "constant"
    )
    assert found.level == "warning" and "not tried" in found.message and "model.bin" in found.message


def test_script_as_good_with_a_little_of_its_budget_is_named(tmp_path: Path) -> None:
    for name, code, level in (("idle", "0.5", "warning"), ("trains", "1 / (1 + {budget})", "ok")):
        text = f"import sys\nprint('loss:', {code.replace('{budget}', 'float(sys.argv[1])')})\n"
        task = command_task(tmp_path / name, {"train.py": text})
        toml = task.folder / "task.toml"
        toml.write_text(toml.read_text().replace('"python train.py"', '"python train.py {budget}"'))
        found = next(
            one for one in check_command(Task.load(task.folder), knobs=False, sandbox=False) if one.clause == "constant"
        )
        assert (found.level, "with 2% of the budget" in found.message) == (level, True)


def array(values: object) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array(values))
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "constant"),
    [
        ("p.npy", array([[1.0, 4.0], [3.0, 0.0]]), array([[2.0, 2.0], [2.0, 2.0]])),
        ("p.npy", array([1, 2, 2]), array([2, 2, 2])),
        ("p.csv", b"id,label\na,cat\nb,dog\nc,dog\n", b"id,label\na,dog\nb,dog\nc,dog\n"),
        ("p.csv", b"01,0.5\n2,1.5\n", b"01,1.0\n2,1.0\n"),
        ("p.json", b"[0.5, 1.5]", b"[1.0, 1.0]"),
        ("p.json", b'{"a": 1, "b": 1, "c": 0}', b'{"a": 1, "b": 1, "c": 1}'),
        ("p.json", b"[[0.0, 1.0], [1.0, 0.0]]", b"[[0.5, 0.5], [0.5, 0.5]]"),
        ("p.json", b'[{"id": 7, "p": 0.0}, {"id": 8, "p": 1.0}]', b'[{"id": 7, "p": 0.5}, {"id": 8, "p": 0.5}]'),
        ("pred.txt", b"1\n0\n1\n", b"1\n1\n1\n"),
        ("notes.txt", b"a log, 1\nof words, 2\n", None),
        ("p.json", b'{"weight": 2.5}', None),
        ("p.csv", b"id,count\na,1\nb,2\n", None),
        ("p.csv", b'a,"' + b"x" * 200_000, None),
        ("p.npy", b"no array", None),
        ("model.pt", b"PK", None),
    ],
)
def test_constant_prediction_keeps_the_form_of_a_table(name: str, data: bytes, constant: bytes | None) -> None:
    assert constant_prediction(name, data) == constant

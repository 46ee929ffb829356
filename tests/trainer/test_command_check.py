"""`task check` of a command: what its knobs do, which direction is meant, and what a failed check prevents."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from programs.common.errors import TaskError
from tests.trainer.foreign_repos import checked, command_task, trainer_of
from trainer.cards import check_record
from trainer.commands.check import check_command, device_finding, require_checked
from trainer.commands.knobs import KnobTrials
from trainer.gpu import Gpu
from trainer.outcome import Outcome
from trainer.task import TASKS, Task

TRAIN = """import random

SEED = 1
LR = 0.1
IDLE = 2
BOOM = 4

random.seed(SEED)
assert BOOM == 4
w = IDLE * 0.0
for _ in range(30):
    w = max(-99.0, min(99.0, w - LR * (w - 3.0 + random.gauss(0, 0.1))))
print("step 7 idle", IDLE)
print(f"loss: {(w - 3.0) ** 2 + 0.5:.6f}")
"""
LR = '[edits.LR]\nkind = "float"\nvalues = [0.05, 0.1, 0.2]\nrole = "learning_rate"\n'
IDLE = '[edits.IDLE]\nkind = "int"\nvalues = [1, 2, 3]\n'
BOOM = '[edits.BOOM]\nkind = "int"\nvalues = [4, 8]\n'
SEED = 'seed_constant = "train.py:SEED"\n'
pytestmark = pytest.mark.usefixtures("own_cache")


def made(folder: Path, text: str = TRAIN, direction: str = "lower", edits: str = LR, seed: str = SEED) -> Task:
    return command_task(folder / "repo", {"train.py": text}, seed + edits, direction=direction)


def test_knob_is_alive_without_effect_or_failing_and_stays(tmp_path: Path) -> None:
    task = made(tmp_path, edits=LR + IDLE + BOOM)
    before = (task.folder / "task.toml").read_text()
    found = checked(task, sandbox=True)
    states = {clause[5:]: one.message.partition(":")[0] for clause, one in found.items() if clause.startswith("knob")}
    assert states == {"LR": "alive", "IDLE": "no effect", "BOOM": "fails"}
    assert found["knob IDLE"].level == "warning" and "AssertionError" in found["knob BOOM"].message
    assert found["direction"].level == "ok" and "LR = 0.0001 or 100" in found["direction"].message
    assert "one seed repeats its result" in found["noise"].message and found["device"].message.startswith("CPU (")
    assert (task.folder / "task.toml").read_text() == before
    assert [one.clause for one in check_record.read(task) or ()] == [one for one in found if one != "task.toml"]
    (task.folder / "train.py").write_text(TRAIN + "\n")
    assert check_record.read(Task.load(task.folder)) is None  # a check says nothing about another script
    assert found["trust"].message.startswith("self-reported:")
    trust = {one.clause: one for one in check_command(task, again=False, sandbox=False)}["trust"]
    assert trust.message.startswith("unverified:") and not trust.hint


def test_check_of_two_seeds_keeps_the_metric_and_sd_for_plans(tmp_path: Path) -> None:
    task = made(tmp_path)
    assert check_record.measured(task) == {}
    found = checked(task, knobs=False)
    measured = check_record.measured(task)
    differ = re.search(r"two seeds differ by ([\d.e-]+);", found["noise"].message)
    assert differ and measured["seed_sd"] == pytest.approx(float(differ[1]) / math.sqrt(2), rel=0.01)
    assert f"loss {measured['metric']:.6g}," in found["baseline"].message


def test_direction_that_bad_values_improve_prevents_studies(tmp_path: Path) -> None:
    task = made(tmp_path, direction="higher")
    found = checked(task)["direction"]
    assert (
        found.level == "error" and "bad values improve loss, if higher is better: LR = 0.0001 or 100" in found.message
    )
    with pytest.raises(TaskError, match="fails its check: direction: bad values improve loss") as caught:
        require_checked(task, False, lambda _: None)
    assert (caught.value.hint or "").startswith(f"metaloop task check {task.folder} ")
    assert checked(task, knobs=False)["direction"].level == "warning"
    require_checked(task, False, lambda _: None)


def test_a_task_none_of_whose_knobs_changes_anything_fails(tmp_path: Path) -> None:
    task = made(tmp_path, TRAIN.replace("- LR *", "- 0.1 *").replace("assert BOOM == 4\n", ""), edits=LR + IDLE + BOOM)
    assert checked(task)["knobs"].level == "error"
    with pytest.raises(TaskError, match="knobs: none of 3 changes loss"):
        require_checked(task, False, print)


def test_what_is_within_the_noise_of_equal_runs_shows_no_effect(tmp_path: Path) -> None:
    task = made(tmp_path)
    trainer = trainer_of(task, sandbox=False)
    for noise, state in ((50.0, "no effect"), (0.0, "alive")):
        equal = [Outcome("ok", metric, 0.0, 0.0, 0.0) for metric in (0.5, 0.5 + noise)]
        first, *_ = KnobTrials(trainer, equal).findings()
        assert first.message.startswith(state)


def test_a_task_that_was_never_checked_gets_the_cheap_part_first(tmp_path: Path) -> None:
    task, notes = made(tmp_path), list[str]()
    (task.folder / check_record.NAME).unlink(missing_ok=True)
    require_checked(task, False, notes.append)
    assert len(notes) == 1 and "has not been checked here: running its baseline once" in notes[0]
    require_checked(task, False, notes.append)
    assert len(notes) == 1
    task = made(tmp_path / "broken")
    (task.folder / "train.py").write_text(TRAIN + "raise SystemExit(3)\n")
    broken = Task.load(task.folder)
    for _ in range(2):
        with pytest.raises(TaskError, match="fails its check: baseline: crash: exit code 3"):
            require_checked(broken, False, notes.append)
    assert len(notes) == 2
    require_checked(replace(Task.load(TASKS / "strokes"), folder=tmp_path / "none"), False, notes.append)
    assert len(notes) == 2


def test_the_device_is_what_can_be_seen_of_it() -> None:
    gpu = Gpu(1, "GPU-1", "NVIDIA H100", 81_559, "580.1")
    said = [device_finding(gpu, used) for used in (0.83, 0.0, None)]
    assert [(one.level, one.message) for one in said] == [
        ("ok", "GPU 1, NVIDIA H100: busy 83% of the time"),
        ("warning", "GPU 1, NVIDIA H100 was offered, but nothing ran on it: CPU"),
        ("warning", "GPU 1, NVIDIA H100 was offered; unknown whether the command used it"),
    ]
    assert device_finding(None, None).level == "ok"


def test_a_seed_that_changes_nothing_is_warned_of(tmp_path: Path) -> None:
    task = made(tmp_path, TRAIN.replace("random.seed(SEED)", "random.seed(SEED * 0)"))
    found = checked(task, knobs=False)["noise"]
    assert found.level == "warning" and "the seed changes nothing" in found.message


TWO = '[edits.A]\nkind = "float"\nvalues = [1.0, 2.0, 3.0]\n[edits.B]\nkind = "float"\nvalues = [2.0, 4.0, 5.0]\n'


@pytest.mark.parametrize(
    ("direction", "second", "level", "said"),
    [
        ("lower", " + (B - 4.0) ** 2", "ok", "bad values make loss worse: A = 0.002 or 2000, B = 0.004 or 4000"),
        ("higher", " + (B - 4.0) ** 2", "error", "bad values improve loss, if higher is better: A = 0.002 or 2000"),
        ("lower", " + B", "warning", "not known whether lower loss is better: 1 of 2 knobs"),
        ("higher", " + B", "warning", "bad values improve loss, if higher is better: A = 0.002 or 2000"),
    ],
)
def test_two_bad_knobs_confirm_a_direction_without_learning_rate(
    direction: str, second: str, level: str, said: str, tmp_path: Path
) -> None:
    text = f"A = 2.0\nB = 4.0\nprint(f'loss: {{(A - 2.0) ** 2{second} + 0.5:.6f}}')\n"
    found = checked(made(tmp_path, text, direction, TWO, ""))["direction"]
    assert (found.level, said in found.message) == (level, True), found.message

"""`task check` of a command: what its knobs do, which direction is meant, and what a failed check prevents."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from programs.errors import TaskError
from tests.trainer import foreign_repos
from tests.trainer.foreign_repos import write_files
from trainer import check_record
from trainer.check import check
from trainer.command import CommandTrainer
from trainer.command_check import device_finding, require_checked
from trainer.data import DataStore
from trainer.experiment import Spec
from trainer.finding import CheckFinding
from trainer.foreign.init import Wanted, draft, write
from trainer.gpus import Gpu
from trainer.knob_check import KnobCheck, Yardstick, judge_knobs, knobs_of
from trainer.outcome import Outcome
from trainer.streams import Streams
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
VALUES = {"LR": "0.05,0.2", "IDLE": "1,3", "BOOM": "8"}
pytestmark = pytest.mark.usefixtures("own_cache")


def made(folder: Path, text: str = TRAIN, direction: str = "lower", **values: str) -> Task:
    place = write_files(folder / "repo", {"train.py": text})
    wanted = Wanted(command="python train.py", metric="loss", direction=direction, editable=["train.py"], budget=1.0,
                    values=values or VALUES)  # fmt: skip
    return Task.load(write(draft(place, wanted), None))


def clauses(task: Task, **how: bool) -> dict[str, CheckFinding]:
    return {finding.clause: finding for finding in check(task.folder, **how)}


def test_each_knob_is_alive_dead_or_fails_and_dead_ones_are_removed(tmp_path: Path) -> None:
    task = made(tmp_path)
    found = clauses(task)
    states = {clause[5:]: one.message.partition(":")[0] for clause, one in found.items() if clause.startswith("knob")}
    assert states == {"LR": "alive", "IDLE": "dead", "BOOM": "fails"}
    assert found["knob IDLE"].level == "warning" and "--write" in found["knob IDLE"].hint
    assert "AssertionError" in found["knob BOOM"].message
    assert found["direction"].level == "ok" and "LR (× 1000)" in found["direction"].message
    assert "one seed repeats its result" in found["seed noise"].message and found["device"].message.startswith("CPU (")
    assert clauses(task, write=True)["edits"].message == "removed from task.toml: IDLE; the task's id changed"
    now = Task.load(task.folder)
    assert [knob.name for knob in now.edits.knobs] == ["LR", "BOOM"]
    assert (
        "# IDLE was removed by metaloop task check: idle=3, idle=1 change nothing"
        in (now.folder / "task.toml").read_text()
    )
    assert check_record.read(now) is not None and now.task_id != task.task_id


def test_a_direction_that_bad_values_improve_is_an_error_and_prevents_studies(tmp_path: Path) -> None:
    task = made(tmp_path, direction="higher", LR="0.05,0.2")
    found = clauses(task)["direction"]
    assert found.level == "error" and "the direction looks wrong: bad values improve loss: LR (× 1000)" in found.message
    assert 'direction = "lower"' in found.hint
    with pytest.raises(TaskError, match="fails its check: direction: the direction looks wrong") as caught:
        require_checked(task, True, lambda _: None)
    assert caught.value.hint == f"metaloop task check {task.folder}"
    assert clauses(task, knobs=False)["direction"].level == "warning"
    require_checked(task, True, lambda _: None)


def test_a_metric_that_no_knob_changes_is_no_metric_if_other_numbers_change(tmp_path: Path) -> None:
    text = TRAIN.replace('print(f"loss', 'print(f"fit: {(w - 3.0) ** 2 + 0.5 + IDLE:.6f}")\nprint(f"loss')
    fixed = text.replace("(w - 3.0) ** 2 + 0.5:.6f}", "0.5:.6f}")
    for name, source, level in (("fixed", fixed, "error"), ("good", text, None)):
        task = made(tmp_path / name, source, LR="0.05,0.2", IDLE="1,3")
        found = clauses(task)
        assert (found["moved metric"].level if "moved metric" in found else None) == level
        if level:
            with pytest.raises(TaskError, match="no knob changes loss, although other printed numbers change"):
                require_checked(task, False, print)


def test_a_task_none_of_whose_knobs_changes_anything_fails_until_they_are_removed(tmp_path: Path) -> None:
    task = made(tmp_path, TRAIN.replace("- LR *", "- 0.1 *").replace("assert BOOM == 4\n", ""), IDLE="1,3")
    found = clauses(task, write=True)
    assert found["dead knobs"].level == "error" and "IDLE" in found["dead knobs"].message
    with pytest.raises(TaskError, match="no knob changes anything: IDLE"):
        require_checked(Task.load(task.folder), False, print)
    assert "dead knobs" not in clauses(Task.load(task.folder)) and not Task.load(task.folder).edits.knobs
    require_checked(Task.load(task.folder), False, print)


def test_a_second_check_trains_only_the_baseline_unless_something_outside_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside, runs = tmp_path / "target.txt", [0]
    outside.write_text("3.0")
    text = TRAIN.replace("import random\n", f"import random\n\nGOAL = float(open({str(outside)!r}).read())\n")
    task = made(tmp_path, text.replace("- 3.0", "- GOAL"), LR="0.05,0.2")
    toml = task.folder / "task.toml"
    toml.write_text(toml.read_text().replace("[run]\n", f"[run]\nreadable = ['{outside}']\n"))
    task = Task.load(task.folder)
    attempt = CommandTrainer._attempt

    def counted(self: CommandTrainer, spec: object) -> Outcome:
        runs[0] += 1
        return attempt(self, spec)  # type: ignore[arg-type]

    monkeypatch.setattr(CommandTrainer, "_attempt", counted)
    first = clauses(task)
    trained, runs[0] = runs[0], 0
    assert clauses(task)["knob LR"] == first["knob LR"] and runs[0] == 1 < trained
    outside.write_text("4.0")
    runs[0] = 0
    assert clauses(task)["knob LR"] != first["knob LR"] and runs[0] == trained


def test_without_a_seed_that_repeats_nothing_is_called_dead(tmp_path: Path) -> None:
    text = TRAIN.replace("random.seed(SEED)", "random.seed()").replace("assert BOOM == 4\n", "")
    found = clauses(made(tmp_path, text, IDLE="1,3"), noise=False)
    assert found["knob IDLE"].message.startswith(("not known: runs of one seed differ", "alive"))
    noisy = Yardstick([outcome(1.0), outcome(1.1), outcome(1.05)])
    assert not noisy.repeats and noisy.moved(1.25) == 0.0 and noisy.moved(1.4) == pytest.approx(0.3)


def outcome(metric: float, log: str = "") -> Outcome:
    return Outcome("ok", metric, 0.0, 0.0, 0.0, log=log)


def test_after_four_knobs_that_drown_in_noise_the_others_are_left_to_a_request(tmp_path: Path) -> None:
    names = [f"K{number}" for number in range(6)]
    text = "".join(f"{name} = 2\n" for name in names) + f"print(f'loss: {{{' + '.join(names)}:.4f}}')\n"
    task = made(tmp_path, text, **dict.fromkeys(names, "1,3"))
    trainer = CommandTrainer(task, DataStore(task, Streams.from_seed(1), tmp_path / "data"))
    for forced, tried in ((False, 4), (True, 6)):
        noisy = Yardstick([outcome(0.0, ""), outcome(50.0, "")])
        found = [*judge_knobs(KnobCheck(trainer, noisy, forced=forced), False)]
        messages = [one.message for one in found if one.clause.startswith("knob K")]
        assert sum("runs of one seed differ by 50" in message for message in messages) == tried and len(messages) == 6
        assert sum("does the script learn anything" in message for message in messages) == 6 - tried


def test_only_numbers_that_equal_runs_share_count_and_not_a_value_that_is_printed_back() -> None:
    log = "train_err 0.25\nnoise 0.7\nbatch: 16\ntraining_seconds: 1.5\n"
    equal = Yardstick([outcome(1.0, log), outcome(1.0, log.replace("0.7", "0.8"))])
    changed = outcome(1.0, log.replace("0.7", "0.9").replace("16", "32").replace("1.5", "1.9"))
    assert equal.other_numbers(changed, {32.0}) == [] and equal.other_numbers(changed, set()) == ["32"]
    assert equal.other_numbers(outcome(1.0, log.replace("0.25", "0.26")), set()) == ["0.26"]


def test_a_quarter_of_the_budget_is_enough_but_no_knob_is_called_dead_by_it(tmp_path: Path) -> None:
    """LATE only acts in the second half of the training, which a shortened one does not reach."""
    text = (
        "import os\nimport time\n\nLR = 0.1\nLATE = 2.0\nIDLE = 2\n\nsteps = int(100 * float(os.environ['SHARE']))\n"
        "w = IDLE * 0.0\nfor step in range(steps):\n    w -= LR * (w - 3.0) * (LATE if step > 50 else 1.0)\n"
        "print(f'loss: {(w - 3.0) ** 2 + 0.5:.9f}')\n"
    )
    task = made(tmp_path, text, LR="0.001", LATE="0.0", IDLE="3")
    path = task.folder / "task.toml"
    path.write_text(path.read_text().replace("[run]\n", '[run]\nenvironment = { SHARE = "{budget}" }\n'))
    task = Task.load(path.parent)
    assert task.scales and task.budget_seconds == 1.0
    trainer = CommandTrainer(task, DataStore(task, Streams.from_seed(1), tmp_path / "data"))
    probe = KnobCheck(trainer, Yardstick([trainer.run(Spec(task.baseline(), 1))]), fraction=0.25)
    states = {knob.name: probe.state(knob) for knob in knobs_of(task)}
    assert {name: one.state for name, one in states.items()} == {"LR": "alive", "LATE": "alive", "IDLE": "dead"}
    assert states["LATE"].message.startswith("only in a full training")


def test_a_task_that_was_never_checked_gets_the_cheap_part_first(tmp_path: Path) -> None:
    task, notes = made(tmp_path, LR="0.05,0.2"), list[str]()
    require_checked(task, True, notes.append)
    assert len(notes) == 1 and "has not been checked here: running its baseline once" in notes[0]
    require_checked(task, True, notes.append)
    assert len(notes) == 1
    broken = made(tmp_path / "broken", TRAIN + "raise SystemExit(3)\n", LR="0.05,0.2")
    for _ in range(2):
        with pytest.raises(TaskError, match="fails its check: baseline: crash: exit code 3"):
            require_checked(broken, True, notes.append)
    assert len(notes) == 2
    require_checked(replace(Task.load(TASKS / "strokes"), folder=tmp_path / "none"), True, notes.append)
    assert len(notes) == 2


def test_the_device_is_what_can_be_seen_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METALOOP_DEVICES", "cpu")
    task, gpu = made(tmp_path, LR="0.05,0.2"), Gpu(1, "GPU-1", "NVIDIA H100", 81_559, "580.1")
    said = [device_finding(task, gpu, used) for used in (0.83, 0.0, None)]
    assert [(one.level, one.message) for one in said] == [
        ("ok", "GPU 1, NVIDIA H100: busy 83% of the time"),
        ("warning", "GPU 1, NVIDIA H100 was offered, but nothing ran on it: CPU"),
        ("warning", "GPU 1, NVIDIA H100 was offered; unknown whether the command used it"),
    ]
    path = task.folder / "task.toml"
    path.write_text(path.read_text().replace("[budget]\n", '[budget]\ndevice = "gpu"\ntoy_seconds = 1.0\n'))
    toy = device_finding(Task.load(task.folder), None, None)
    assert toy.level == "warning" and "with the toy budget, because of the GPU: METALOOP_DEVICES=cpu" in toy.message


def test_a_seed_that_changes_nothing_is_warned_of(tmp_path: Path) -> None:
    task = made(tmp_path, TRAIN.replace("random.seed(SEED)", "random.seed(SEED * 0)"), LR="0.05,0.2")
    found = clauses(task, knobs=False)["seed noise"]
    assert found.level == "warning" and "the seed changes nothing" in found.message


def test_patches_of_one_constant_are_one_knob(tmp_path: Path) -> None:
    task = Task.load(write(draft(foreign_repos.makefile(tmp_path / "theirs"), Wanted()), None))
    knobs = {knob.name: knob.knobs for knob in knobs_of(task)}
    assert list(knobs) == ["BLOCK", "UNROLL"] and knobs["BLOCK"] == ("BLOCK_4", "BLOCK_8", "BLOCK_32", "BLOCK_64")


@pytest.mark.parametrize(
    ("direction", "second", "level", "said"),
    [
        ("lower", " + (B - 4.0) ** 2", "ok", "both extremes make loss worse: A = 0.002 or 2000, B = 0.004 or 4000"),
        ("higher", " + (B - 4.0) ** 2", "error", "bad values improve loss: A = 0.002 or 2000"),
        ("lower", " + B", "warning", "not known whether lower loss is better: only 1 of 2 knobs"),
        ("higher", " + B", "warning", "doubtful: if higher is better, bad values improve loss: A = 0.002 or 2000"),
    ],
)
def test_without_a_learning_rate_two_knobs_with_bad_extremes_confirm_a_direction(
    direction: str, second: str, level: str, said: str, tmp_path: Path
) -> None:
    text = f"A = 2.0\nB = 4.0\nprint(f'loss: {{(A - 2.0) ** 2{second} + 0.5:.6f}}')\n"
    found = clauses(made(tmp_path, text, direction, A="1.0,3.0", B="2.0,5.0"))["direction"]
    assert (found.level, said in found.message) == (level, True), found.message

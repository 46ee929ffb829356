"""Constraints of a task: what is measured, which sources are invalid, what a task must not say."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bench.simulated_tasks import random_law, simulated_task
from programs.common.errors import TaskError
from tests.trainer.foreign_repos import checked
from tests.trainer.limited_task import LATENCY, MEMORY, SIZE, SOFT, TASK, limited, trainer_of
from trainer.constraints import line_count, sentences
from trainer.edits import Edit
from trainer.experiment import Spec
from trainer.outcome import Outcome
from trainer.source import Source
from trainer.task import TASKS, Task


def trained(task: Task, edit: Edit | None = None, seed: int = 2, fraction: float = 1.0) -> Outcome:
    source = task.edits.apply(task.baseline(), edit or Edit())
    return trainer_of(task).run(Spec(source, seed, fraction=fraction))


def test_broken_hard_constraint_is_invalid_and_soft_is_ignored(tmp_path: Path) -> None:
    task = limited(tmp_path / "task", MEMORY + SIZE + LATENCY + SOFT)
    plain, large = trained(task), trained(task, Edit({"PAD": 60}))
    assert plain.status == "ok" and plain.constraints["size"] == 10 and plain.constraints["latency"] == 5.0
    assert 1 < plain.constraints["memory"] < 50 < large.constraints["memory"] < 120
    assert (large.status, large.metric) == ("invalid", None) and large.trust == "self-reported"
    assert large.reason == f"constraint memory: {large.constraints['memory']:.6g} MB, needed at most 50 MB"
    hard = trained(limited(tmp_path / "hard", LATENCY), Edit({"PAD": 20}))
    assert hard.status == "invalid" and hard.reason == "constraint latency: 7 ms, needed at most 6 ms"
    assert Outcome.from_json(hard.to_json()) == hard


def test_too_many_lines_are_refused_before_training_and_charged(tmp_path: Path) -> None:
    task = limited(tmp_path / "task", SIZE + MEMORY)
    long = task.baseline().with_text("train.py", task.baseline().text() + "\n\nprint('trained')\n")
    outcome = trainer_of(task).run(Spec(long, 1))
    assert outcome.status == "invalid" and outcome.reason == "constraint size: 13 lines, needed at most 12 lines"
    assert outcome.log == "" and outcome.constraints == {"size": 13}
    assert outcome.device_seconds_charged == pytest.approx(task.scoring_seconds) and outcome.device_seconds_spent == 0.0
    fixed = trainer_of(task, fixed_steps=True)
    assert fixed.run(Spec(long, 1)).device_seconds_charged == task.steps_of(1.0) * task.seconds_per_step
    soft = limited(tmp_path / "soft", SIZE + SOFT)
    assert trainer_of(soft).run(Spec(long, 1)).status == "ok"


@pytest.mark.parametrize(("text", "lines"), [("", 0), ("a", 1), ("a\n", 1), ("a\r\nb\r\n", 2), ("a\rb\rc", 3)])
def test_lines_end_as_python_sees_them(text: str, lines: int) -> None:
    assert line_count(Source((("a.py", text), ("b.py", "x = 1\n")))) == lines + 1


def test_a_number_in_json_a_lower_limit_and_one_that_is_missing(tmp_path: Path) -> None:
    score = "pattern = '^loss: (.*)'", "file = 'result.json'\nkey = 'loss'"
    tests = '[constraints.tests]\nkind = "printed"\nkey = "tests.passed"\nat_least = 12\n'
    task = limited(tmp_path / "task", tests + LATENCY, *score)
    outcome = trained(task)
    assert outcome.status == "ok" and outcome.constraints == {"tests": 12.0, "latency": 5.0}  # file, else output
    failing = trained(task, Edit({"LR": 0.4}))
    assert failing.status == "invalid" and failing.reason == "constraint tests: 11, needed at least 12"
    silent = limited(tmp_path / "silent", LATENCY.replace("latency_ms", "delay"))
    assert trained(silent).reason == "constraint latency: the output has no such number, needed at most 6 ms"
    ignored = limited(tmp_path / "ignored", LATENCY.replace("latency_ms", "delay") + SOFT)
    assert trained(ignored).status == "ok" and trained(ignored).constraints == {}


def test_a_short_training_is_held_to_memory_and_lines_only(tmp_path: Path) -> None:
    takes = 'command = "python train.py"', 'command = "python train.py {budget}"'
    time = '[constraints.time]\nkind = "seconds"\nat_most = 0.0001\n'
    task = limited(tmp_path / "task", LATENCY + time, *takes)
    part = trained(task, Edit({"PAD": 20}), fraction=0.5)
    assert part.status == "ok" and part.constraints["latency"] == 7.0 and 0.0001 < part.constraints["time"] < 5
    full = trained(task, Edit({"PAD": 20}))
    assert full.status == "invalid" and "constraint latency" in full.reason and "constraint time" in full.reason
    assert trained(limited(tmp_path / "memory", MEMORY, *takes), Edit({"PAD": 60}), fraction=0.5).status == "invalid"


def test_check_shows_values_and_refuses_an_untouched_break(tmp_path: Path) -> None:
    task = limited(tmp_path / "task", MEMORY + LATENCY.replace("= 6", "= 4") + SOFT + SIZE.replace("12", "5"))
    found = checked(task, knobs=False, sandbox=True)  # whose memory is that of the training alone
    for name, level, words in (
        ("memory", "ok", "at most 50 MB (hard)"),
        ("latency", "warning", "5 ms: the untouched files break it"),
        ("size", "error", "10 lines: the untouched files break it; at most 5 lines"),
    ):
        finding = found[f"constraint {name}"]
        assert finding.level == level and words in finding.message
    assert found["constraint size"].hint
    fine = checked(limited(tmp_path / "fine", MEMORY + SIZE), knobs=False, sandbox=True)
    assert "error" not in {finding.level for finding in fine.values()}


@pytest.mark.parametrize(
    ("constraint", "line", "message"),
    [
        ('kind = "memory"\nat_most = 1', "kind", "constraints.it.kind"),
        ('kind = "lines"', "[constraints.it]", "needs one of at_most, at_least and equals"),
        ('kind = "lines"\nat_most = 1\nat_least = 1', "[constraints.it]", "needs one of at_most, at_least and equals"),
        ('kind = "lines"\nequals = 1', "[constraints.it]", "never exactly equal"),
        ('kind = "lines"\nat_most = "300"', "at_most", "constraints.it.at_most"),
        ('kind = "lines"\nat_most = inf', "at_most", "finite"),
        ('kind = "lines"\nat_most = 0', "[constraints.it]", "must be above 0"),
        ('kind = "lines"\nat_most = 9\nhard = "no"', "hard", "constraints.it.hard"),
        ('kind = "lines"\nat_most = 9\nunit = "kB"', "[constraints.it]", "has the unit lines"),
        ('kind = "lines"\nat_most = 9\nkey = "a"', "[constraints.it]", "other kinds have neither"),
        ('kind = "printed"\nat_most = 9', "[constraints.it]", "needs either pattern or key"),
        ('kind = "printed"\nat_most = 9\npattern = "x"', "pattern", "has 0 groups"),
        ('kind = "lines"\nat_most = 9\nlimit = 3', "limit", "unknown key"),
    ],
)
def test_what_a_constraint_must_not_say(tmp_path: Path, constraint: str, line: str, message: str) -> None:
    with pytest.raises(TaskError) as raised:
        limited(tmp_path / "task", f"[constraints.it]\n{constraint}\n")
    below = ["[constraints.it]", *constraint.splitlines()]
    number = len(TASK.splitlines()) + 1 + next(n for n, text in enumerate(below) if text.startswith(line))
    assert raised.value.message.startswith(f"{tmp_path / 'task' / 'task.toml'}:{number}: "), raised.value.message
    assert message in raised.value.message and "\n" not in raised.value.message and raised.value.hint


def test_which_tasks_can_have_which_constraint(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"task.toml:\d+: constraints.a b: is not a name"):
        limited(tmp_path / "named", SIZE.replace("size", '"a b"'))
    law = simulated_task(random_law(1), tmp_path / "law") / "task.toml"
    law.write_text(f"{law.read_text()}\n{SIZE}")
    with pytest.raises(TaskError, match="a simulated task trains nothing"):
        Task.load(law.parent)
    folder = tmp_path / "scored"
    shutil.copytree(TASKS / "tabular", folder)
    before, toml = Task.load(folder), (folder / "task.toml").read_text()
    (folder / "task.toml").write_text(f"{toml}\n{LATENCY}")
    with pytest.raises(TaskError, match=r"constraints.latency: score regression reads nothing that a script"):
        Task.load(folder)
    (folder / "task.toml").write_text(f"{toml}\n{SIZE}")
    assert Task.load(folder).task_id != before.task_id and before.constraints == {}


def test_researchers_read_one_line_for_each(tmp_path: Path) -> None:
    hard, soft = sentences(limited(tmp_path / "task", MEMORY + LATENCY + SOFT).constraints)
    assert (
        hard == "Constraint memory: peak memory of the training, at most 50 MB (a source that breaks it is never kept)."
    )
    assert soft.endswith("at most 6 ms (soft: recorded, but it decides nothing).") and "latency_ms" in soft

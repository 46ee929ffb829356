"""A task that runs a command: its experiments, its trust, its scoring command, its check."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from programs.errors import TaskError
from tests.trainer import foreign_repos
from tests.trainer.foreign_repos import MAKEFILE, ORIGINAL, SHELL, changed, command_task, run, trainer_of
from trainer.cards.check import check
from trainer.commands.task_toml import Wanted
from trainer.edits import Edit
from trainer.experiment import Spec
from trainer.task import Task

SCORED = {"train.py": "open('model.txt', 'w').write('2.5')\nprint('score: 99')\n", "score.py": (
    "import pathlib\nprint('train.py is here:', pathlib.Path('train.py').exists())\n"
    "print('score:', float(pathlib.Path('model.txt').read_text()))\n"
)}  # fmt: skip


def made(folder: Path, repository: Callable[[Path], Path], wanted: Wanted) -> Task:
    return foreign_repos.made(repository(folder / "theirs"), wanted, folder / "task")


def in_fractions(folder: Path) -> Path:
    """The original's shape, at work for many ticks of 4 ms, in which the kernel counts CPU time under a limit."""
    foreign_repos.original(folder)
    for name, old, new in (("prepare.py", "TIME_BUDGET = 0.1", "TIME_BUDGET = 30.0"), ("train.py", "2000", "200000")):
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))
    return folder


def test_the_original_shape_trains_with_its_seed_and_a_share_of_its_budget(tmp_path: Path) -> None:
    task = made(tmp_path, in_fractions, ORIGINAL)
    task = changed(task.folder, "[run]\n", '[run]\nbudget_constant = "prepare.py:TIME_BUDGET"\n')
    one, again, other = (run(task, Spec(task.baseline(), seed)) for seed in (1, 1, 2))
    assert one.status == "ok" and one.metric == again.metric != other.metric and one.steps == 200_000
    assert one.trust == "self-reported" and 0 < one.device_seconds < 30.0
    shorter = run(task, Spec(task.baseline(), 1, fraction=1e-6))
    assert task.scales and shorter.steps is not None and shorter.steps < 200_000
    better = task.edits.apply(task.baseline(), Edit({"LEARNING_RATE": 0.008}))
    learnt = run(task, Spec(better, 1)).metric
    assert learnt is not None and one.metric is not None and learnt < one.metric


def test_json_of_a_makefile_and_constants_of_c(tmp_path: Path) -> None:
    task = made(tmp_path, foreign_repos.makefile, MAKEFILE)
    assert run(task).metric == 66.5
    source = task.edits.apply(task.baseline(), Edit({"BLOCK": 4}))
    assert "#define BLOCK 4\n" in source.text("src/kernel.c") and run(task, Spec(source, 1)).metric == 54.5
    broken = task.baseline().with_text("src/kernel.c", "int work(void) { return }\n")
    outcome = run(task, Spec(broken, 1))
    assert outcome.status == "crash" and outcome.metric is None and outcome.trust == "self-reported"


def scored(folder: Path, artifact: str = "model.txt") -> Task:
    """A task whose train.py leaves a model and claims a score, which score.py reads from that model."""
    run = f'score_command = "python score.py"\nartifacts = ["{artifact}"]'
    return command_task(folder / "task", SCORED, run, metric="score", direction="higher")


def test_a_scoring_command_counts_and_sees_no_edited_file(tmp_path: Path) -> None:
    task = scored(tmp_path)
    outcome = run(task)
    assert outcome.metric == 2.5 and outcome.trust == "scored" and "train.py is here: False" in outcome.log
    none = run(task, Spec(task.baseline().with_text("train.py", "print('score: 99')\n"), 1))
    assert none.status == "invalid" and "model.txt" in none.reason
    swap = (
        "import os\nos.remove('score.py')\nopen('score.py', 'w').write('print(\"score: 99\")')\n" + SCORED["train.py"]
    )
    assert run(task, Spec(task.baseline().with_text("train.py", swap), 1)).metric == 2.5
    link = "import os\nos.symlink('/etc/hostname', 'model.txt')\n"
    assert run(task, Spec(task.baseline().with_text("train.py", link), 1)).status == "invalid"


def test_a_scoring_command_gets_what_the_training_left_of_the_limit(tmp_path: Path) -> None:
    """Training may use 3 CPU-seconds, and scoring one more: 2 of training leave 2 to the scoring command, not 3."""
    burn = "import time\nwhile time.process_time() < {}: pass\n"
    task = scored(tmp_path)
    task = replace(task, budget_seconds=3.0, cost_seconds=4.0, hard_factor=1.0, hard_extra=0.0)
    scores = (task.folder / "score.py").read_text()

    def status(training: float, scoring: float) -> str:
        (task.folder / "score.py").write_text(burn.format(scoring) + scores)
        source = task.baseline().with_text("train.py", burn.format(training) + SCORED["train.py"])
        return run(replace(task), Spec(source, 1)).status

    assert (status(2.0, 1.0), status(2.0, 2.6)) == ("ok", "timeout")


def test_a_scoring_command_is_another_command(tmp_path: Path) -> None:
    """With the same text in both places, the training would count as scoring."""
    with pytest.raises(TaskError, match="score_command is the training command") as caught:
        changed(scored(tmp_path).folder, '"python score.py"', '"python train.py"')
    assert "\n" not in caught.value.message


def test_libraries_have_the_threads_of_the_machine_unless_the_task_says_a_number(tmp_path: Path) -> None:
    names = "('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS')"
    text = f"import os\nprint('loss:', sum(int(os.environ.get(name, 100)) for name in {names}))\n"
    task = command_task(tmp_path / "task", {"train.py": text})
    assert run(task).metric == 300.0
    assert run(changed(task.folder, "[run]\n", "[run]\nthreads = 2\n")).metric == 6.0


def test_an_outcome_counts_for_the_packages_that_it_was_measured_with(tmp_path: Path) -> None:
    packages = tmp_path / "venv" / "lib" / "python3.11" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "torch-2.12.0.dist-info").mkdir()
    task = command_task(tmp_path / "task", {"train.py": ""}, f'readable = ["{tmp_path / "venv"}"]')
    spec, keys = Spec(task.baseline(), 1), list[str]()
    for name in ("torch-2.12.0", "torch-2.13.0", "torch-2.12.0"):
        next(packages.iterdir()).rename(packages / f"{name}.dist-info")
        with trainer_of(task, sandbox=False) as trainer:
            keys.append(trainer.key(spec))
    assert keys[0] == keys[2] != keys[1]


def test_an_artifact_takes_the_place_of_no_file(tmp_path: Path) -> None:
    outcome = run(scored(tmp_path, artifact="score.py"))
    assert outcome.status == "invalid" and "read-only" in outcome.reason


def test_what_a_task_may_not_say(tmp_path: Path) -> None:
    for line in ('seed_constant = "x"', 'score_command = "x"', 'unknown = "x"'):
        with pytest.raises(TaskError):
            command_task(tmp_path, {"train.py": ""}, line)
    task = command_task(tmp_path, {"train.py": ""})
    with pytest.raises(TaskError):
        changed(task.folder, '"python train.py"', "[]")
    findings = check(command_task(tmp_path, {"train.py": ""}, 'readable = ["~/.ssh"]').folder)
    assert findings[-1].level == "error" and "keys" in findings[-1].message


def test_check_says_what_it_found_and_what_to_do_about_a_baseline_that_fails(tmp_path: Path) -> None:
    task = made(tmp_path, foreign_repos.shell, SHELL)
    findings = {finding.clause: finding for finding in check(task.folder)}
    assert findings["baseline"].message.startswith("score 22,") and findings["time"].level == "ok"
    assert findings["trust"].level == "warning" and "takes no seed" in findings["noise"].message
    assert findings["edits"].level == "ok" and findings["knob LEVEL"].message.startswith("alive")
    toml = task.folder / "task.toml"
    toml.write_text(re.sub("(?m)^cost = .*", "cost = 50.0", toml.read_text()))
    assert "plans will be wrong" in {one.clause: one.message for one in check(task.folder, knobs=False)}["time"]
    script = task.folder / "run.sh"
    script.write_text(f"{script.read_text()}python3 -c 'import no_such_module'\nexit 3\n")
    last = check(task.folder)[-1]
    assert last.level == "error" and last.clause == "baseline" and "no_such_module" in last.hint

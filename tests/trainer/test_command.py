"""A task that runs a command: its experiments, its trust, its scoring command, its check."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from inner_loop.agents.worktree import shown_files
from programs.common.errors import TaskError
from tests.trainer import foreign_repos
from tests.trainer.foreign_repos import ORIGINAL, SHELL, changed, command_task, run, trainer_of
from trainer.cards.check import check
from trainer.commands.check import check_command
from trainer.commands.task_toml import Wanted
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


def test_original_shape_trains_with_its_seed_and_budget_share(tmp_path: Path) -> None:
    task = made(tmp_path, in_fractions, ORIGINAL)
    task = changed(task.folder, "[run]\n", '[run]\nbudget_constant = "prepare.py:TIME_BUDGET"\n')
    one, again, other = (run(task, Spec(task.baseline(), seed)) for seed in (1, 1, 2))
    assert one.status == "ok" and one.metric == again.metric != other.metric and one.steps == 200_000
    assert one.trust == "self-reported" and 0 < one.device_seconds_charged < 30.0
    shorter = run(task, Spec(task.baseline(), 1, fraction=1e-6))
    assert task.scales and shorter.steps is not None and shorter.steps < 200_000


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


def test_scoring_command_gets_the_rest_of_the_limit(tmp_path: Path) -> None:
    """Training may use 1.5 CPU-seconds, and scoring half of one more: 1 of training leaves 1 to the scoring command."""
    burn = "import time\nwhile time.process_time() < {}: pass\n"
    task = scored(tmp_path)
    task = replace(task, budget_seconds=1.5, cost_seconds=2.0, hard_factor=1.0, hard_extra=0.0)
    scores = (task.folder / "score.py").read_text()

    def status(training: float, scoring: float) -> str:
        (task.folder / "score.py").write_text(burn.format(scoring) + scores)
        source = task.baseline().with_text("train.py", burn.format(training) + SCORED["train.py"])
        return run(replace(task), Spec(source, 1)).status

    assert (status(1.0, 0.3), status(1.0, 1.15)) == ("ok", "timeout")


def test_libraries_have_the_machines_threads_unless_a_task_says(tmp_path: Path) -> None:
    names = "('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS')"
    text = f"import os\nprint('loss:', sum(int(os.environ.get(name, 100)) for name in {names}))\n"
    task = command_task(tmp_path / "task", {"train.py": text})
    assert run(task).metric == 300.0
    assert run(changed(task.folder, "[run]\n", "[run]\nthreads = 2\n")).metric == 6.0


def test_outcome_counts_for_the_packages_it_was_measured_with(tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    ("artifact", "taken"), [("score.py", "score.py"), ("out/", "out/model.txt"), ("./out", "out/x")]
)
def test_artifact_in_read_only_is_refused(tmp_path: Path, artifact: str, taken: str) -> None:
    """It would be scored in place of what a training leaves."""
    files = {**SCORED, taken: SCORED.get(taken, "9")}
    run_section = f'score_command = "python score.py"\nartifacts = ["{artifact}"]'
    with pytest.raises(TaskError, match=f"'{taken}' is an artifact") as caught:
        command_task(tmp_path / "task", files, run_section, metric="score", direction="higher")
    assert caught.value.hint == "remove it from read_only or from artifacts"


ANSWERS = {
    "answers.json": "[1, 0, 1, 1]",
    "large.bin": "1" * (5 << 20),
    "train.py": """import pathlib, json
try:
    guess = json.loads(pathlib.Path("answers.json").read_text())
except OSError:
    guess = [0, 0, 0, 0]
pathlib.Path("out.json").write_text(json.dumps(guess))
print("large is here:", pathlib.Path("large.bin").exists())
""",
    "score.py": """import json, pathlib
answers, guess = json.load(open("answers.json")), json.load(open("out.json"))
print("large is there:", pathlib.Path("large.bin").exists())
print("accuracy:", sum(a == g for a, g in zip(answers, guess)) / len(answers))
""",
}
SCORES = 'score_command = "python score.py"\nartifacts = ["out.json"]'


@pytest.mark.parametrize("sandbox", [True, False])
def test_score_files_are_seen_by_the_scoring_command_alone(tmp_path: Path, sandbox: bool) -> None:
    open_task = command_task(tmp_path / "open", ANSWERS, SCORES, metric="accuracy", direction="higher")
    names = 'score_files = ["answers.json", "large.bin", "score.py"]\n'
    task = command_task(tmp_path / "task", ANSWERS, f"{SCORES}\n{names}", metric="accuracy", direction="higher")
    with trainer_of(open_task, sandbox=sandbox) as trainer:
        assert trainer.run(Spec(task.baseline(), 1)).metric == 1.0
    with trainer_of(task, sandbox=sandbox) as trainer:
        outcome = trainer.run(Spec(task.baseline(), 1))
    assert outcome.metric == 0.25 and "large is here: False" in outcome.log and "large is there: True" in outcome.log
    assert outcome.trust == ("scored" if sandbox else "unverified")
    assert not shown_files(task) and {"answers.json", "score.py"} <= dict(shown_files(open_task)).keys()


def test_score_files_below_a_readable_folder_are_hidden(tmp_path: Path) -> None:
    text = ANSWERS["train.py"].replace('"answers.json"', f'"{tmp_path}/task/data/answers.json"')
    files = {**ANSWERS, "train.py": text, "data/answers.json": "[1, 0, 1, 1]"}
    names = f'score_files = ["answers.json", "data/answers.json"]\nreadable = ["{tmp_path}/task/data"]\n'
    task = command_task(tmp_path / "task", files, f"{SCORES}\n{names}", metric="accuracy", direction="higher")
    assert run(task).metric == 0.25


def test_init_hides_the_files_that_only_scoring_names(tmp_path: Path) -> None:
    """The training runs without them; where it needs one, the error says which, and how to answer."""
    wanted = Wanted(
        command="python train.py", editable=["train.py"], direction="higher", noise="unknown",
        score_command="python score.py", artifacts=["out.json"],
    )  # fmt: skip
    files = {**ANSWERS, "tools.py": "", "out.json": "[1, 0, 1, 1]", "train.py": f"import tools\n{ANSWERS['train.py']}"}
    files["score.py"] = f"import tools  # of tools.py\n{ANSWERS['score.py']}"
    place = foreign_repos.write_files(tmp_path / "theirs", files)
    task = foreign_repos.made(place, wanted, tmp_path / "task")
    assert task.run is not None and task.run.score_files == ["answers.json", "large.bin", "score.py"]
    assert run(task).metric == 0.25 and "out.json" not in task.read_only
    trust = next(finding for finding in check_command(task, knobs=False) if finding.clause == "trust")
    assert (trust.level, "ran without answers.json" in trust.message) == ("ok", True)
    needs = "import json\njson.load(open('answers.json'))\n" + files["train.py"]
    place = foreign_repos.write_files(tmp_path / "needs", {**files, "train.py": needs})
    with pytest.raises(TaskError, match="fails as it is") as caught:
        foreign_repos.made(place, wanted, tmp_path / "task2")
    assert "the training does not see answers.json" in caught.value.hint and "--set score_files" in caught.value.hint
    task = command_task(tmp_path / "open", ANSWERS, SCORES, metric="accuracy", direction="higher")
    trust = next(finding for finding in check_command(task, knobs=False) if finding.clause == "trust")
    assert trust.level == "warning" and "the training can read all" in trust.message


def test_what_a_task_may_not_say(tmp_path: Path) -> None:
    for line in ('seed_constant = "x"', 'score_command = "x"', 'unknown = "x"'):
        with pytest.raises(TaskError):
            command_task(tmp_path, {"train.py": ""}, line)
    task = command_task(tmp_path, {"train.py": ""})
    for section, message in (
        ('score_files = ["score.py"]', "score_files needs score_command"),
        (f'score_files = ["train.py"]\n{SCORES}', "'train.py' is no read-only file of the task"),
        (SCORES.replace("score.py", "train.py"), "score_command is the training command"),
    ):
        with pytest.raises(TaskError, match=message):
            command_task(tmp_path / "hides", ANSWERS, section)
    with pytest.raises(TaskError):
        changed(task.folder, '"python train.py"', "[]")
    findings = check(command_task(tmp_path, {"train.py": ""}, 'readable = ["~/.ssh"]').folder)
    assert findings[-1].level == "error" and "keys" in findings[-1].message


def test_check_says_what_to_do_about_a_baseline_that_fails(tmp_path: Path) -> None:
    task = made(tmp_path, foreign_repos.shell, SHELL)
    findings = {finding.clause: finding for finding in check(task.folder, knobs=False)}
    assert findings["baseline"].message.startswith("score 22,") and findings["time"].level == "ok"
    assert findings["trust"].level == "warning" and "takes no seed" in findings["noise"].message
    toml = task.folder / "task.toml"
    toml.write_text(re.sub("(?m)^cost = .*", "cost = 50.0", toml.read_text()))
    assert "plans will be wrong" in {one.clause: one.message for one in check(task.folder, knobs=False)}["time"]
    script = task.folder / "run.sh"
    script.write_text(f"{script.read_text()}python3 -c 'import no_such_module'\nexit 3\n")
    last = check(task.folder, knobs=False)[-1]
    assert last.level == "error" and last.clause == "baseline" and "no_such_module" in last.hint

"""Repositories of others from end to end: each becomes a task that works, or one line says what is in the way."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from programs.errors import TaskError, UsageError
from tests.trainer import foreign_repos, wild_repos
from tests.trainer.foreign_repos import facts, run
from trainer.check import check
from trainer.command_budget import refuse_guess, remarks, write_measured
from trainer.experiment import Spec
from trainer.finding import CheckFinding
from trainer.foreign.init import Wanted, draft, write
from trainer.task import Task

Maker = Callable[[Path], Path]


def made(place: Path, **wanted: Any) -> Task:
    return Task.load(write(draft(place, Wanted(**wanted)), None))


def clauses(task: Task, **how: Any) -> dict[str, CheckFinding]:
    return {finding.clause: finding for finding in check(task.folder, noise=False, knobs=False, **how)}


@pytest.mark.parametrize(
    ("repository", "command", "metric", "direction", "editable", "edits"),
    [
        (wild_repos.mlx, "python3 train.py", "val_accuracy", "higher", ["train.py"], ["lr"]),
        (
            wild_repos.configured, "python -m trainer_lib.main --config configs/base.yaml --seed {seed}", "test_rmse",
            "lower", ["configs/base.yaml"], ["lr", "steps"],
        ),
        (wild_repos.trader, "python train.py", "score", "higher", ["train.py"], ["HIDDEN_SIZE"]),
        (wild_repos.timed, "make && ./bench", "time", "lower", ["matmul.c"], None),
        (
            wild_repos.kernel_json, "python benchmark.py --out results/bench.json", "geomean_us", "lower",
            ["kernels/softmax.py"], None,
        ),
        (wild_repos.tested, "./evaluate.sh", "Passed", "higher", ["correct.py"], ["MAX_DISTANCE"]),
        (wild_repos.voiceless, "python train.py", "loss", "lower", ["train.py"], ["learning_rate", "epochs"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)  # fmt: skip
def test_it_works_as_it_is(
    repository: Maker, command: str, metric: str, direction: str, editable: list[str], edits: Any, tmp_path: Path
) -> None:
    place = tmp_path / "a repo (v2) é"
    found = draft(repository(place), Wanted())
    wanted = {"command": command, "metric": metric, "direction": direction, "editable": editable, "edits": edits}
    assert {name: facts(found)[name] for name in wanted} == wanted
    outcome = run(Task.load(write(found, None)))
    assert outcome.status == "ok" and outcome.metric is not None and outcome.metric > 0, outcome.reason


@pytest.mark.skipif(not Path("/usr/bin/node").exists(), reason="no node here")
def test_javascript_with_packages_of_its_own(tmp_path: Path) -> None:
    place = wild_repos.node(tmp_path / "repo")
    package = place / "node_modules/left"
    package.mkdir(parents=True)
    (package / "package.json").write_text('{"name": "left", "type": "module", "main": "index.js"}')
    (package / "index.js").write_text("export const left = 3;\n")
    (place / "bench.js").write_text("import { left } from 'left';\nconsole.log(`ops_per_sec: ${left}`);\n")
    task = made(place, command="node bench.js")
    assert task.direction == "higher" and run(task).metric == 3.0
    assert facts(draft(wild_repos.node(tmp_path / "other"), Wanted()))["command"] == "npm run bench"


def test_a_variable_of_the_environment_holds_the_budget(tmp_path: Path) -> None:
    place = wild_repos.mlx(tmp_path / "repo")
    text = (place / "train.py").read_text()
    (place / "train.py").write_text(text.replace("    if step >= 20000:\n        break\n", ""))
    task = made(place)
    assert task.scales and task.budget_seconds == 0.2 and task.budget_basis == "stated"
    assert task.run is not None and task.run.environment == {"TRAIN_SECONDS": "{budget}"}
    shown = task.baseline().with_text("train.py", "import os\nprint('val_accuracy:', os.environ['TRAIN_SECONDS'])\n")
    assert run(task, Spec(shown, 1, fraction=0.25)).metric == 0.05


def test_a_budget_in_minutes_is_read_from_the_text(tmp_path: Path) -> None:
    found = {fact.field: fact for fact in draft(wild_repos.trader(tmp_path / "repo"), Wanted()).facts}
    assert found["budget"].value == 120.0 and found["budget"].where == "program.md:5"
    assert "autotrader-of-nobody: only mentioned, not shown" in found["cache"].note and "readable" not in found


def test_options_of_the_command_take_seed_and_budget(tmp_path: Path) -> None:
    place = tmp_path / "repo"
    foreign_repos.write_files(place, {
        "README.md": "Edit `fit.py`. Run\n\n    python fit.py --seed=7 --max-seconds 5\n\nLower loss is better.\n",
        "fit.py": "import sys\nprint('loss:', len(sys.argv))\nprint(sys.argv[1:])\n",
    })  # fmt: skip
    task = made(place)
    assert task.run is not None and task.run.command == "python fit.py --seed={seed} --max-seconds {budget}"
    assert task.budget_seconds == 5.0 and task.scales
    outcome = run(task, Spec(task.baseline(), 42, fraction=0.5))
    assert "['--seed=42', '--max-seconds', '2.5']" in outcome.log
    given = draft(place, Wanted(command="python fit.py --seed 7"))
    assert facts(given)["command"] == "python fit.py --seed 7"


def test_a_key_of_yaml_is_a_knob_with_a_role(tmp_path: Path) -> None:
    task = made(wild_repos.configured(tmp_path / "repo"))
    edit = task.edits.parse_terms(["@learning_rate=0.15"])
    assert edit is not None and dict(edit.set) == {"lr": 0.15}
    source = task.edits.apply(task.baseline(), edit)
    assert source.text("configs/base.yaml") == task.baseline().text("configs/base.yaml").replace("lr: 0.05", "lr: 0.15")
    assert run(task, Spec(source, 1)).metric != run(task).metric


@pytest.mark.parametrize(
    ("repository", "message", "cure"),
    [
        (wild_repos.broken, "'wieght' is not defined", "try the command"),
        (wild_repos.downloading, "name resolution", "needs the network"),
        (wild_repos.linked, "data/corpus.txt", "data/corpus.txt is not in the task"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_cannot_run_says_why_in_one_line(repository: Maker, message: str, cure: str, tmp_path: Path) -> None:
    found = clauses(made(repository(tmp_path / "repo")))["baseline"]
    assert found.level == "error" and message in found.message and cure in found.hint
    assert "\n" not in found.message + found.hint


def test_a_file_that_is_no_python_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"train\.py:19: not valid Python"):
        made(wild_repos.unparsable(tmp_path / "repo"))


def test_where_nothing_is_printed_the_flag_is_named(tmp_path: Path) -> None:
    place = wild_repos.mute(tmp_path / "repo")
    assert {fact.flag for fact in draft(place, Wanted()).lacking} == {"--metric", "--direction"}
    task = made(place, metric="loss", direction="lower")
    assert "its last line of output is 'done 0.9'" in clauses(task)["baseline"].hint


def test_links_lead_only_where_the_user_lets_them(tmp_path: Path) -> None:
    place = wild_repos.linked(tmp_path / "repo")
    (place / "notes.txt").symlink_to("pyproject.toml")
    closed = draft(place, Wanted())
    notes = {fact.value: fact.note for fact in closed.facts if fact.field == "not there"}
    assert "lfs pull" in notes["weights.bin"] and "submodule update" in notes["lib/ops"]
    assert 'links = { "notes.txt" = "pyproject.toml" }' in closed.toml and "elsewhere" not in closed.toml
    task = made(place, readable=[str(tmp_path / "elsewhere")])
    assert task.run is not None
    assert task.run.links == {"data": str(tmp_path / "elsewhere"), "notes.txt": "pyproject.toml"}
    assert run(task).status == "ok"


def test_a_large_file_is_shown_where_it_lies_and_stays_as_it_is(tmp_path: Path) -> None:
    task = made(wild_repos.heavy(tmp_path / "repo", megabytes=6))
    assert run(task).status == "ok"
    spoil = "open('shard.bin', 'r+b').write(b'x')\n" + task.baseline().text("train.py")
    outcome = run(task, Spec(task.baseline().with_text("train.py", spoil), 1))
    assert outcome.status == "crash" and "shard.bin" in outcome.reason
    assert (task.folder / "shard.bin").read_bytes()[:1] == b"0"


def test_data_in_the_repository_can_be_shown_instead_of_copied(tmp_path: Path) -> None:
    place = wild_repos.heavy(tmp_path / "repo", megabytes=1)
    (place / "prepare.py").write_text((place / "prepare.py").read_text().replace("shard.bin", "data/shard.bin"))
    (place / "data").mkdir()
    (place / "shard.bin").rename(place / "data/shard.bin")
    task = made(place, readable=[str(place / "data")])
    assert "data/shard.bin" not in task.read_only and run(task).status == "ok"


def test_a_guessed_budget_is_marked_and_refused_until_it_is_measured(tmp_path: Path) -> None:
    task = made(wild_repos.timed(tmp_path / "repo"))
    assert task.budget_basis == "assumed" and "never measured" in remarks(task)[-1]
    with pytest.raises(UsageError, match="is a guess") as caught:
        refuse_guess(task)
    assert "--write" in caught.value.hint
    assert clauses(task)["budget"].level == "warning"
    assert "as measured" in clauses(task, write=True)["budget"].message
    task = Task.load(task.folder)
    refuse_guess(task)
    assert task.budget_basis == "measured" and 0 < task.budget_seconds < 20 and not task.scales
    assert [text for text in remarks(task) if "measured" in text] == [] and "takes no budget" in remarks(task)[0]


def test_a_stated_budget_is_not_refused(tmp_path: Path) -> None:
    task = made(wild_repos.minutes(tmp_path / "repo"))
    refuse_guess(task)
    assert task.budget_basis == "stated" and task.budget_seconds == 300.0 and "never measured" in remarks(task)[0]
    found = clauses(task)
    assert "prepare.py:1" in found["budget"].message and found["budget"].level == "warning"
    assert remarks(replace(task, budget_basis="given")) == []


def test_check_says_where_things_were_read(tmp_path: Path) -> None:
    found = clauses(made(foreign_repos.original(tmp_path / "repo")))
    assert found["metric"].message == "val_bpb (train.py:22), lower is better (program.md:19)"
    assert "editable train.py (program.md:6); 3 read-only" in found["files"].message
    assert "python train.py (program.md:10)" in found["command"].message
    assert "not requested" in found["seed noise"].message


def test_a_budget_that_the_command_is_told_stays_when_it_is_measured(tmp_path: Path) -> None:
    place = wild_repos.mlx(tmp_path / "repo")
    task = made(place)
    assert write_measured(task, 0.9) and write_measured(Task.load(place), 1.2)
    budget = tomllib.loads((place / "task.toml").read_text())["budget"]
    assert budget["seconds"] == 0.2 and budget["cost"] == 1.2 and budget["basis"] == "measured"

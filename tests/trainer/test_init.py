"""`task init --from`: what two runs of a command show, what is asked, and what is never taken for granted."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from programs.common.errors import TaskError, UsageError
from tests.trainer import foreign_repos, wild_repos
from tests.trainer.foreign_repos import COMPILED, MAKEFILE, NESTED, ORIGINAL, SHELL, made, run, write_files
from trainer.cards import check_record
from trainer.commands import named_numbers
from trainer.commands.init import Drafting, write
from trainer.commands.ladders import ladders, role_of, values_to_try
from trainer.commands.questions import Unknown
from trainer.commands.repository import read
from trainer.commands.task_toml import Wanted
from trainer.experiment import Spec
from trainer.scorers.printed import Printed
from trainer.task import Task

PRINTS = Wanted(command="python train.py", editable=["train.py"], noise="unknown")


def printing(folder: Path, text: str, **others: str) -> Path:
    files = {f"{name}.md": content for name, content in others.items()}
    return write_files(folder, {"train.py": f"print({text!r})\n", **files})


def unknown(drafting: Drafting, wanted: Wanted) -> Unknown:
    with pytest.raises(Unknown) as caught:
        drafting.draft(wanted)
    return caught.value


@pytest.mark.parametrize(
    ("repository", "wanted", "expected", "metric"),
    [
        (foreign_repos.original, ORIGINAL, ("python train.py", "val_bpb", "lower", "train.py:SEED"), None),
        (foreign_repos.makefile, MAKEFILE, ("make bench", "kernel.millis", "lower", ""), 66.5),
        (foreign_repos.shell, SHELL, ("./run.sh", "score", "higher", ""), 22.0),
        (foreign_repos.compiled, COMPILED, ("gcc -O2 -o sort sort.c && ./sort", "seconds", "lower", ""), None),
        (foreign_repos.nested, NESTED, ("python -m eval.score", "accuracy", "higher", ""), 0.53),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_it_runs_as_it_is(
    repository: Any, wanted: Wanted, expected: tuple[str, ...], metric: float | None, tmp_path: Path
) -> None:
    task = made(repository(tmp_path / "a repo (v2) é"), wanted)
    assert task.run is not None
    assert (task.run.command, task.metric, task.direction, task.run.seed_constant) == expected
    outcome = run(task)
    assert outcome.status == "ok" and outcome.metric is not None and metric in (None, outcome.metric)
    assert 0 < task.budget_seconds < 5 and task.memory_mb >= 4096


def test_the_facts_say_what_was_seen_and_what_was_left_out(tmp_path: Path) -> None:
    found = Drafting(foreign_repos.original(tmp_path)).draft(ORIGINAL)
    facts = {(fact.field, fact.value): fact for fact in found.facts}
    assert " in two seeds" in facts["metric", "val_bpb"].note and facts["device", "cpu"].where == "measured"
    assert "role learning_rate" in facts["knob", "LEARNING_RATE"].note and ("left out", "SEED") in facts
    assert ("trust", "self-reported") in facts


def test_direction_is_that_of_the_name_unless_a_sentence_differs(tmp_path: Path) -> None:
    drafting = Drafting(
        printing(tmp_path, "val_auc: 0.7\nval_loss: 0.7\nscore: 0.7\nneg_loss: 0.7", README=""), sandbox=False
    )
    for metric, page, way in (
        ("val_auc", "Bring its val_auc down to 0.5.", None),
        ("val_auc", "Make val_auc higher, the loss lower.", "higher"),
        ("val_loss", "Anything lower than the best val_loss is kept.", "lower"),
        ("val_loss", "The highest val_loss wins here.", None),
        ("score", "", None),
        ("neg_loss", "", None),
    ):
        (tmp_path / "README.md").write_text(page)
        wanted = replace(PRINTS, metric=metric)
        if way is None:
            assert unknown(drafting, wanted).field == "direction", page
        else:
            assert tomllib.loads(drafting.draft(wanted).toml)["task"]["direction"] == way, page


@pytest.mark.parametrize(
    ("text", "names", "form"),
    [
        ("epoch 3 train loss: 0.5 val loss: 0.4", {"train loss": "0.5", "val loss": "0.4"}, 0),
        ("val_bpb:          0.997900\ntime: 12:30", {"val_bpb": "0.997900"}, 0),
        ("acc=81/100 | tok/s=1,234.5", {"tok/s": "1,234.5"}, 0),
        ('step 1\n{"eval": {"mae": 3, "n": true}}\n{"eval": {"mae": 2.5}}', {"eval.mae": "2.5"}, 0),
        ('{\n "a": {"b": 1.5}\n}', {"a.b": "1.5"}, 0),
        ("final val_loss=tensor(0.25)\nacc: nan", {"final val_loss": "0.25", "acc": "nan"}, 0),
        ("loss 0.3\n12:30:15 done", {}, 0),
        ("val_loss: 0.3\nacc 2", {"val_loss": "0.3"}, 0),
        ("mem_kib   2048\nns_per_find   41.5", {"mem_kib": "2048", "ns_per_find": "41.5"}, 1),
        ("epoch 08/08 | val_loss 1.9056 | val_acc 0.25", {"val_loss": "1.9056", "val_acc": "0.25"}, 1),
        ("===== 24 passed, 16 failed in 0.00s =====", {"passed": "24", "failed": "16"}, 2),
    ],
)
def test_numbers_with_a_name(text: str, names: dict[str, str], form: int) -> None:
    found = named_numbers.read(text, form)
    assert {name: one.values[-1] for name, one in found.items()} == names
    for one in found.values():
        reader = Printed({"pattern": "" if one.key else one.pattern, "key": one.key})
        if one.values[-1] != "nan":
            assert reader.metric(text) == float(one.values[-1].replace(",", ""))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "comma: 0,531\na twice: 1.0 then, twice: 2.0\nloss: nan",
            {"comma": "not a finite number", "twice": "cannot be told from", "loss": "not a finite number"},
        ),
        ("done", {None: "its last line is 'done'"}),
        ("done 0.9", {None: "which is the metric"}),
    ],
)
def test_a_number_that_cannot_be_read_is_told(text: str, told: dict[str | None, str], tmp_path: Path) -> None:
    drafting = Drafting(printing(tmp_path, text), sandbox=False)
    for metric, message in told.items():
        with pytest.raises((TaskError, UsageError), match=message):
            drafting.draft(replace(PRINTS, metric=metric, direction="lower"))


def test_option_takes_the_seed_and_two_places_are_asked_about(tmp_path: Path) -> None:
    script = (
        "import argparse, random\nap = argparse.ArgumentParser()\nap.add_argument('--seed', type=int, default=1)\n"
        "ap.add_argument('--lr', type=float, default=0.1)\na = ap.parse_args()\n"
        "print('loss:', random.Random(a.seed).random() + a.lr)\n"
    )
    task = made(write_files(tmp_path / "one", {"train.py": script}), Wanted())
    assert task.run is not None and task.run.command == "python train.py --seed {seed}"
    assert run(task, Spec(task.baseline(), 1)).metric != run(task, Spec(task.baseline(), 2)).metric
    assert task.edits.knob("lr") is not None and task.edits.knob("seed") is None
    two = write_files(tmp_path / "two", {"train.py": f"SEED = 3\n{script}"})
    assert unknown(Drafting(two), Wanted()).choices == ["train.py:SEED", "none"]


@pytest.mark.parametrize(
    ("repository", "message", "cure"),
    [
        (wild_repos.broken, "'wieght' is not defined", "try the command"),
        (wild_repos.downloading, "name resolution", "needs the network"),
        (wild_repos.linked, "data/corpus.txt", "data/corpus.txt is not in the task"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_cannot_run_says_why_in_one_line(repository: Any, message: str, cure: str, tmp_path: Path) -> None:
    place = repository(tmp_path / "repo")
    with pytest.raises(TaskError) as caught:
        Drafting(place).draft(ORIGINAL)
    assert message in caught.value.message and cure in (caught.value.hint or "")
    assert "\n" not in caught.value.message + (caught.value.hint or "") and not (place / "task.toml").exists()


def test_links_lead_only_where_the_user_lets_them(tmp_path: Path) -> None:
    place = wild_repos.linked(tmp_path / "repo")
    (place / "notes.txt").symlink_to("pyproject.toml")
    task = made(place, replace(ORIGINAL, readable=[str(tmp_path / "elsewhere")]))
    assert task.run is not None
    assert task.run.links == {"data": str(tmp_path / "elsewhere"), "notes.txt": "pyproject.toml"}
    assert run(task).status == "ok"


def test_large_file_is_shown_where_it_lies_and_stays(tmp_path: Path) -> None:
    task = made(wild_repos.heavy(tmp_path / "repo", megabytes=6), ORIGINAL)
    spoil = "open('shard.bin', 'r+b').write(b'x')\n" + task.baseline().text("train.py")
    outcome = run(task, Spec(task.baseline().with_text("train.py", spoil), 1))
    assert outcome.status == "crash" and "shard.bin" in outcome.reason
    assert (task.folder / "shard.bin").read_bytes()[:1] == b"0"


def test_data_in_the_repository_can_be_shown_instead_of_copied(tmp_path: Path) -> None:
    place = wild_repos.heavy(tmp_path / "repo", megabytes=1)
    (place / "prepare.py").write_text((place / "prepare.py").read_text().replace("shard.bin", "data/shard.bin"))
    (place / "data").mkdir()
    (place / "shard.bin").rename(place / "data/shard.bin")
    task = made(place, replace(ORIGINAL, readable=[str(place / "data")]))
    assert "data/shard.bin" not in task.read_only and run(task).status == "ok"


def test_text_of_the_repository_stays_in_its_place_in_task_toml(tmp_path: Path) -> None:
    place = foreign_repos.shell(tmp_path / 'x"\n[run]\ncommand = "evil')
    (place / 'a"b\\c.txt').write_text("x")
    task = made(place, replace(SHELL, budget=90.0), tmp_path / "task")
    assert task.run is not None and task.run.command == "./run.sh" and 'a"b\\c.txt' in task.read_only
    assert tomllib.loads((task.folder / "task.toml").read_text())["task"]["repository"] == str(place)
    assert task.budget_seconds == 90.0


def test_program_beside_the_code_may_change_and_stays_checked(tmp_path: Path) -> None:
    place = foreign_repos.original(tmp_path)
    pages = {"program.md": f"{foreign_repos.PROGRAM}Ask roles/critic.md.\n", "roles/critic.md": "Doubt.\n"}
    write_files(place, {**pages, "NOTES.md": "Mine.\n"})
    task = made(place, ORIGINAL)
    assert not pages.keys() & {*task.read_only} and {"prepare.py", "data.py", "NOTES.md"} <= {*task.read_only}
    check_record.write(task, [])
    for name, text in pages.items():
        (place / name).write_text(f"---\nmetaloop: {{wave: 2}}\n---\n{text}")
    assert check_record.read(Task.load(place)) == []
    (place / "prepare.py").write_text(foreign_repos.PREPARE.replace("3.0", "4.0"))
    assert check_record.read(Task.load(place)) is None


def test_a_task_file_that_is_there_is_never_overwritten(tmp_path: Path) -> None:
    found = Drafting(foreign_repos.shell(tmp_path)).draft(SHELL)
    (tmp_path / "task.toml").write_text("mine")
    with pytest.raises(UsageError, match="already exists"):
        write(found, None)
    assert (tmp_path / "task.toml").read_text() == "mine"


def test_pipes_links_and_strange_names_are_left_out(tmp_path: Path) -> None:
    place = foreign_repos.shell(tmp_path)
    subprocess.run(["mkfifo", str(place / "pipe")], check=True)
    (place / ".env").write_text("KEY=1")
    (place / "away").symlink_to("/etc/passwd")
    source = read(place)
    assert set(source.files) == {"run.sh", "settings.toml"} and any("pipe" in one for one in source.left_out)


def test_a_virtual_environment_and_its_interpreter_are_shown(tmp_path: Path) -> None:
    place = printing(tmp_path / "repo", "loss: 1.5")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place / ".venv")], check=True)
    task = made(place, Wanted(noise="unknown"))
    assert task.run is not None and str(place / ".venv") in task.run.readable and run(task).metric == 1.5


@pytest.mark.parametrize(
    ("name", "value", "role"),
    [
        ("LEARNING_RATE", 0.1, "learning_rate"), ("lr", True, ""), ("weightDecay", 0.1, "weight_decay"),
        ("beta1", 30.0, ""), ("warmup", 100, ""), ("warmup", 0.1, "schedule_warmup"), ("clip", 0.05, ""),
        ("my_lr", 0.1, ""), ("optimizer", "adam", "optimizer"), ("activation", 3, ""),
    ],
)  # fmt: skip
def test_a_name_says_the_role_as_a_whole_or_not_at_all(name: str, value: object, role: str) -> None:
    assert role_of(name, value) == role


@pytest.mark.parametrize(
    ("value", "role", "others"),
    [
        (True, "", (False, True)), (8, "", (2, 4, 8, 16, 32)), (1, "", (0, 1, 2, 4)), (0, "", ()), (-3.0, "", ()),
        (0.0, "", (0.0, 0.1, 0.5)),
        (0.9, "momentum", (0.0, 0.5, 0.8, 0.9, 0.95)), (0.9, "", (0.6, 0.8, 0.9, 0.95, 0.975)),
        (0.2, "", (0.05, 0.1, 0.2, 0.4, 0.8)), (0.1, "learning_rate", (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)),
    ],
)  # fmt: skip
def test_values_to_try_hold_the_present_one(value: bool | float, role: str, others: tuple[float, ...]) -> None:
    assert values_to_try(value, role) == others


def test_settings_of_all_kinds_are_knobs_but_not_measurements(tmp_path: Path) -> None:
    code = (
        "SEED = 1\nVAL_SPLIT = 0.2\nLR = 0.1\nTWICE = 8\nTWICE = 9\nNAME = 'x'\nOPT = {'beta1': 0.9}\n"
        "class Config:\n    depth: int = 4\np.add_argument('--momentum', default=0.9)\n"
    )
    place = write_files(tmp_path, {
        "a.py": code, "b.yaml": "optim:\n  lr: 0.3\n", "c.toml": "BLOCK = 64\n",
    })  # fmt: skip
    found = ladders(read(place), ["a.py", "b.yaml", "c.toml"], {})
    knobs = {one.name: one for one in found if not one.reason}
    assert set(knobs) == {"LR", "beta1", "depth", "momentum", "optim_lr", "BLOCK"}
    assert {one.name for one in found if one.reason} == {"SEED", "VAL_SPLIT", "NAME"}
    assert knobs["BLOCK"].kind == "int" and knobs["optim_lr"].at == "optim.lr"
    given = ladders(read(place), ["a.py", "c.toml"], {"NAME": "y,z", "BLOCK": "8"})
    named = {one.name: one for one in given if not one.reason}
    assert named["NAME"].values == ("x", "y", "z") and named["BLOCK"].values == (8, 64)
    write_files(tmp_path, {"program.md": "## Ideas\n\n- Large: `block=1000`, `lr=fast`, `name=y`.\n"})
    stated = {one.name: one.values for one in ladders(read(place), ["a.py", "c.toml"], {}) if not one.reason}
    assert stated["BLOCK"] == (16, 32, 64, 128, 256, 1000) and stated["NAME"] == ("x", "y")
    for wrong in ({"LR": "fast"}, {"NONE": "1"}):
        with pytest.raises(UsageError, match="--set values"):
            ladders(read(place), ["a.py"], wrong)


def test_time_is_known_by_its_name_and_costs_what_the_clock_says(tmp_path: Path) -> None:
    code = "import time\ntime.sleep(1.0)\nprint('latency_ms:', time.time() % 7)\n"
    place = write_files(tmp_path / "one", {"train.py": code})
    found = Drafting(place).draft(PRINTS)
    assert [fact.value for fact in found.facts if fact.field == "timed"] == ["true"]
    task = Task.load(write(found, None))
    assert task.timed and task.cost_seconds >= 1.0 and run(task).device_seconds_charged >= 1.0
    assert not made(printing(tmp_path / "two", "loss   3"), replace(PRINTS, metric="loss")).timed  # no colon


def test_word_about_seeds_is_a_question_and_an_option_is_named(tmp_path: Path) -> None:
    code = "import random, sys\nrandom.seed(int((sys.argv[2:] or [42])[0]))\nprint('loss:', random.random())\n"
    place = write_files(tmp_path / "called", {"train.py": code})
    assert unknown(Drafting(place, sandbox=False), Wanted()).choices == ["none"]
    code = "import random\nRANDOM_STATE = 3\nprint('loss:', random.Random(RANDOM_STATE).random())\n"
    held = unknown(Drafting(write_files(tmp_path / "held", {"train.py": code}), sandbox=False), Wanted())
    assert held.choices == ["train.py:RANDOM_STATE", "none"]
    code = 'import os, random\nSEED = int(os.environ.get("SEED", "0"))\nprint("loss:", random.Random(SEED).random())\n'
    drafting = Drafting(write_files(tmp_path / "variable", {"train.py": code}), sandbox=False)
    command, asked = "SEED={seed} python train.py", unknown(drafting, Wanted())
    assert f"variable SEED (train.py:2): --command '{command}'" in asked.message
    assert (asked.hint or "").startswith(f"--command '{command}'")
    assert " in two seeds" in str(drafting.draft(Wanted(command=command)).facts)
    task = made(place, Wanted(seed="--rng"), sandbox=False)
    assert task.run is not None and task.run.command == "python train.py --rng {seed}"

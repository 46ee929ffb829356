"""task init --from: what is found in repositories of others, and that nothing of them is run while it is."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meta.cli.task_work import after_check
from programs.errors import NotFound, UsageError
from tests.trainer import foreign_repos
from tests.trainer.foreign_repos import facts, run
from trainer.constraints import Trained, broken, values
from trainer.foreign.commands import plain_python
from trainer.foreign.init import Draft, Wanted, draft, write
from trainer.foreign.ladders import judged, offered
from trainer.task import Task


def places(found: Draft) -> dict[str, str]:
    return {fact.field: fact.where for fact in found.facts}


@pytest.mark.parametrize(
    ("repository", "expected"),
    [
        (
            foreign_repos.original,
            {"command": "python train.py", "metric": "val_bpb", "direction": "lower", "editable": ["train.py"],
             "budget": 0.1, "seed": "train.py:SEED", "edits": ["LEARNING_RATE", "MOMENTUM", "BATCH_SIZE"]},
        ),
        (
            foreign_repos.makefile,
            {"command": "make bench", "metric": "millis", "metric is read from": "out/result.json at millis",
             "direction": "lower", "editable": ["src/kernel.c"], "edits": ["BLOCK", "UNROLL"]},
        ),
        (
            foreign_repos.shell,
            {"command": "bash run.sh", "metric": "score", "direction": "higher", "editable": ["run.sh"],
             "edits": ["LEVEL", "WIDTH"]},
        ),
        (
            foreign_repos.compiled,
            {"command": "gcc -O2 -o sort sort.c && ./sort", "metric": "seconds", "direction": "lower",
             "editable": ["sort.c"], "edits": ["CUTOFF", "PASSES"]},
        ),
        (
            foreign_repos.nested,
            {"command": "python -m eval.score", "metric": "accuracy", "direction": "higher",
             "editable": ["src/model/net.py", "src/optim.py"], "budget": 2.0,
             "edits": ["WIDTH", "DROPOUT", "LR"]},
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)  # fmt: skip
def test_what_is_found(repository: Callable[[Path], Path], expected: dict[str, Any], tmp_path: Path) -> None:
    found = draft(repository(tmp_path / "theirs"), Wanted())
    assert {name: facts(found)[name] for name in expected} == expected and not found.lacking
    task = Task.load(write(found, None))
    assert task.run is not None and task.run.command == expected["command"]
    assert bool(task.edits.knobs) == (expected["edits"] is not None)
    assert task.direction == expected["direction"] and list(task.editable) == expected["editable"]


def test_every_field_says_where_it_was_found_and_which_flag_gives_it(tmp_path: Path) -> None:
    found = draft(foreign_repos.original(tmp_path), Wanted())
    where = places(found)
    assert where["command"] == "program.md:10" and where["metric"] == "train.py:22"
    assert where["budget"] == "prepare.py:1" and where["editable"] == "program.md:6"
    assert all(fact.flag.startswith("--") for fact in found.facts if fact.field != "device")
    assert 'budget_constant = "prepare.py:TIME_BUDGET"' in found.toml and "program.md" not in _listed(found.toml)


def _listed(toml: str) -> str:
    return toml[toml.index("read_only") : toml.index("[budget]")]


def test_flags_win_over_what_is_found(tmp_path: Path) -> None:
    wanted = Wanted(
        command="./go --seed {seed}", metric="a.b", metric_file="out.json", direction="higher", budget=7.0,
        editable=["prepare.py"], exclude=["data.py"], values={"TIME_BUDGET": "0.1,0.2"}, name="mine",
    )  # fmt: skip
    found = draft(foreign_repos.original(tmp_path / "theirs"), wanted)
    task = Task.load(write(found, tmp_path / "copy"))
    assert task.run is not None and task.run.command == "./go --seed {seed}" and task.name == "mine"
    assert task.scoring["key"] == "a.b" and task.scoring["file"] == "out.json" and task.direction == "higher"
    assert task.budget_seconds == 7.0 and task.editable == ("prepare.py",) and "data.py" not in task.read_only
    assert [knob.values for knob in task.edits.knobs] == [(0.1, 0.2)]
    assert not (tmp_path / "theirs" / "task.toml").exists()


def test_what_is_not_found_is_said_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing to run here\n")
    found = draft(tmp_path, Wanted())
    assert {fact.field for fact in found.lacking} == {"command", "metric", "direction", "editable"}
    assert {fact.flag for fact in found.lacking} == {"--command", "--metric", "--direction", "--editable"}
    with pytest.raises(UsageError, match="not found"):
        write(found, None)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(NotFound):
        draft(tmp_path / "none", Wanted())


def test_nothing_of_the_repository_runs_while_it_is_read(tmp_path: Path) -> None:
    place = foreign_repos.original(tmp_path / "theirs")
    mark = tmp_path / "ran"
    bomb = f"import pathlib\npathlib.Path({str(mark)!r}).touch()\n"
    for name in ("data.py", "conftest.py", "sitecustomize.py", "setup.py", "src/__init__.py"):
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text(bomb)
    (place / "train.py").write_text(bomb + (place / "train.py").read_text())
    (place / ".git").mkdir()
    (place / ".git/config").write_text(f"[core]\n\tfsmonitor = touch {mark}\n")
    (place / "Makefile").write_text(f"X := $(shell touch {mark})\nbench:\n\ttouch {mark}\n")
    task = Task.load(write(draft(place, Wanted()), tmp_path / "copy"))
    assert task.baseline() and task.read_only_files and not task.has_data and not mark.exists()
    assert not (tmp_path / "copy" / ".git").exists()


def test_links_pipes_and_strange_names_are_left_out(tmp_path: Path) -> None:
    place = foreign_repos.original(tmp_path / "theirs")
    (tmp_path / "secret").write_text("canary")
    (place / "link.py").symlink_to(tmp_path / "secret")
    (place / "folder").symlink_to(tmp_path)
    os.mkfifo(place / "pipe")
    (place / "a\x1b[2Jb.py").write_text("X = 1\n")
    (place / 'quo"te\u202e.py').write_text("X = 1\n")
    found = draft(place, Wanted())
    assert "canary" not in found.toml and "\x1b" not in found.toml and "\u202e" not in found.toml
    copy = write(found, tmp_path / "copy")
    Task.load(copy)
    assert not (copy / "link.py").exists() and not (copy / "folder").exists() and not (copy / "pipe").exists()
    assert len([fact for fact in found.facts if fact.field == "left out"]) >= 4


def test_text_of_the_repository_cannot_leave_its_place_in_task_toml(tmp_path: Path) -> None:
    place = foreign_repos.shell(tmp_path)
    (place / "run.sh").write_text('#!/bin/bash\nLEVEL=3\necho "score: 1"\n')
    name = 'x"]\n[run]\ncommand = "touch /tmp/out"'
    found = draft(place, Wanted(metric='a"b\\c\x7f', direction="lower", editable=["run.sh"], command=f"echo {name}"))
    task = Task.load(write(found, None))
    assert task.metric == 'a"b\\c\x7f' and task.run is not None and task.run.command == f"echo {name}"


def test_a_task_file_that_is_there_is_never_overwritten(tmp_path: Path) -> None:
    place = foreign_repos.shell(tmp_path)
    write(draft(place, Wanted()), None)
    with pytest.raises(UsageError, match="already exists"):
        write(draft(place, Wanted()), None)


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ("uv run train.py", "python train.py"),
        ("uv run --frozen train.py --x 1", "python train.py --x 1"),
        ("uv run pytest -q", "pytest -q"),
        ("make bench", "make bench"),
    ],
)
def test_uv_is_left_out(given: str, plain: str) -> None:
    assert plain_python(given) == plain


def small(folder: Path, **files: str) -> dict[str, Any]:
    """The facts of a repository of these files (``readme`` is README.md, else ``name`` is name.py)."""
    for name, text in files.items():
        (folder / {"readme": "README.md"}.get(name, f"{name}.py")).write_text(text)
    return facts(draft(folder, Wanted()))


@pytest.mark.parametrize(
    ("prose", "metric", "way"),
    [
        ("The box has large memory. Print it.", "val_bpb", "lower"),  # no "as large" in "has large"
        ("For latency plots, lower is better.", "tok_per_sec", "higher"),  # a sentence about something else
        ("A higher val_loss is better, trust me: higher val_loss is better.", "val_loss", None),  # asked
        ("Fewer nats are better.", "nats_per_char", "lower"),
        ("A higher yield is better.", "yield", "higher"),  # its name says nothing
    ],
)
def test_the_direction_is_that_of_the_metric_not_of_a_stray_sentence(
    tmp_path: Path, prose: str, metric: str, way: str | None
) -> None:
    read = small(tmp_path, readme=f"`python train.py`\n\n{prose}\n", train=f'print(f"{metric}: {{1.0}}")\n')
    assert (read["metric"], read["direction"]) == (metric, way)


def test_a_command_needs_what_it_builds_from_and_a_loop_of_experiments_is_none(tmp_path: Path) -> None:
    prose = "`cargo bench`\n\n`python loop.py --forever`\n\n`python fit.py`\n"
    loop = 'import subprocess\nwhile True:\n    subprocess.run(["python", "fit.py"])\n'
    assert small(tmp_path, readme=prose, loop=loop, fit='print("loss:", 1)\n')["command"] == "python fit.py"


@pytest.mark.parametrize(
    "prose", ["    python fit.py prints loss (lower is better)\n", "Run: python fit.py and wait\n"]
)
def test_a_command_in_a_sentence_ends_before_its_verb(tmp_path: Path, prose: str) -> None:
    assert small(tmp_path, readme=f"# A\n\n{prose}", fit='print("loss:", 1)\n')["command"] == "python fit.py"
    quoted = "`python fit.py prints x`\n"
    assert small(tmp_path, readme=quoted, fit='print("loss:", 1)\n')["command"] == "python fit.py prints x"
    for fenced in ('python fit.py --name "lr and momentum" --lr 3', "python fit.py and rest"):
        read = small(tmp_path, readme=f"# A\n\n```sh\n{fenced}\n```\n", fit='print("loss:", 1)\n')
        assert read["command"] == fenced
    indented = '    python fit.py --name "lr and momentum" --lr 3 and wait\n'
    read = small(tmp_path, readme=f"# A\n\n{indented}", fit='print("loss:", 1)\n')
    assert read["command"] == 'python fit.py --name "lr and momentum" --lr 3'


def test_the_seed_is_an_option_of_the_script_but_not_that_of_the_split(tmp_path: Path) -> None:
    text = 'parser.add_argument("--split-seed", type=int)\nparser.add_argument("-s", "--rng-seed", type=int)\n'
    read = small(tmp_path, readme="`python fit.py`\n", fit=text + 'print(f"loss: {1.0}")\n')
    assert read["command"] == "python fit.py --rng-seed {seed}" and read["seed"] == ""


@pytest.mark.parametrize(
    ("prose", "seconds"),
    [
        ("One experiment takes two and a half minutes.", 150.0),
        ("Each run needs an hour and a half.", 5400.0),
        ("A run is over after half a minute.", 30.0),
        ("Ten minutes a run: fine.", 600.0),
        ("A run may take a quarter of an hour.", 900.0),
        ("Each attempt ends after ten real minutes.", 600.0),
        ("Every attempt: 30 seconds including the compile.", 30.0),
        ("One experiment is 20 seconds, another experiment 40 seconds.", 60.0),  # unclear: the assumed one
        ("The launcher polls every 30 s while experiments run.", 60.0),
        ("I wrote this on trains, 10 minutes from home.", 60.0),
    ],
)
def test_the_time_of_an_experiment_may_be_in_words(tmp_path: Path, prose: str, seconds: float) -> None:
    assert small(tmp_path, readme=f"`python fit.py`\n\n{prose}\n", fit='print("loss:", 1)\n')["budget"] == seconds


def test_front_matter_is_not_what_a_program_prints(tmp_path: Path) -> None:
    prose = "---\nscore: 0.97\nweight: 10\n---\n# Yard\n\n`python count.py` prints `fps=`.\n"
    assert small(tmp_path, readme=prose, count='print(f"fps={1.0}")\n')["metric"] == "fps"


@pytest.mark.parametrize(
    ("prose", "code", "metric"),
    [
        ("Look at `recon_mse`.", 'print(f"passes {3} recon_mse {0.25}")\n', "recon_mse"),
        ("The row **dev_loss** counts.", 'print(f"| dev_loss  | {0.25} |")\n', "dev_loss"),
        (
            "`combined_score` is what counts.",
            'import json\nprint(json.dumps({"combined_score": 0.25}))\n',
            "combined_score",
        ),
        (
            "We report `scores.held_out`.",
            'import json\nprint("begin")\nprint(json.dumps({"n": 3, "scores": {"held_out": 0.25}}, indent=1))\n',
            "scores.held_out",
        ),
        ("It prints `queries/s: 1.5`.", 'import os\nos.write(1, b"ready\\nqueries/s: 0.25\\n")\n', "queries/s"),
        ("Make `hits` go up.", 'print(f"[eval] episodes={4} hits={0.25}")\n', "hits"),
        ("What counts is `phase_index`.", 'print("steps", 3)\nprint("phase_index", 0.25)\n', "phase_index"),
        ("Bring `val_area` up.", 'print(f"rows train={30} val={10}")\nprint(f"val_area {0.25}")\n', "val_area"),
        ("The gap, ns_per_cell, decides.", 'print(f"n={3}")\nprint(f"ns_per_cell {0.25}")\n', "ns_per_cell"),
        ("The line `ndcg@5` decides. `mrr` does not.", 'print(f"mrr {0.5}")\nprint(f"ndcg@5 {0.25}")\n', "ndcg@5"),
        (
            "`word_acc` decides. `val_ppl` is for debugging, val_ppl is printed still.",
            'print(f"val_ppl: {4.0}")\nprint(f"word_acc: {0.25}")\n',
            "word_acc",
        ),
        ("More tok/s is better.", 'print(f"decoded {7} tokens: {0.25} tok/s")\n', "tok/s"),
    ],
)
def test_the_number_that_the_prose_marks_is_read_wherever_it_is_printed(
    tmp_path: Path, prose: str, code: str, metric: str
) -> None:
    assert small(tmp_path, readme=f"`python fit.py`\n\n{prose}\n", fit=code)["metric"] == metric
    task = Task.load(write(draft(tmp_path, Wanted(budget=1.0, direction="lower")), tmp_path / "task"))
    assert run(task).metric == 0.25


def test_instructions_below_the_root_are_read_and_a_loop_of_experiments_prints_no_metric(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / ".github").mkdir()
    (tmp_path / "docs" / "tuning.md").write_text("Run\n\n    TRAIN_SEED=0 python fit.py\n\nWork in `fit.py`.\n")
    (tmp_path / ".github" / "ci.yml").write_text("accuracy: 0.9\n")
    loop = 'import subprocess\nprint("score:", 1)\nsubprocess.run(["python", "fit.py"])\n'
    read = small(tmp_path, loop=loop, fit='print("regret:", 1)\n')
    assert (read["command"], read["metric"]) == ("TRAIN_SEED={seed} python fit.py", "regret")
    assert read["editable"] == ["fit.py"]
    assert ".github/ci.yml" not in draft(tmp_path, Wanted()).source.files


@pytest.mark.parametrize(
    ("prose", "editable"),
    [
        ("You may edit `fit.py` and nothing else. Do not touch the `rows` function: it is data.", ["fit.py"]),
        ("Edit only fit.py. Do not change the data.", ["fit.py"]),
        ("You may edit `net.py` and `fit.py`. `net.py` is new. Do not change the file.", ["fit.py"]),
        ("You may edit `fit.py` and `net.py`. `net.py` makes the data. Do not modify its contents.", ["fit.py"]),
        ("You may edit `fit.py` and `net.py`. `net.py` makes the data. Do not change its rows.", ["fit.py"]),
        ("You may edit `fit.py` and `net.py`. Do not change its options.", ["fit.py", "net.py"]),
        ("Edit only fit.py. fit.py trains a model. Do not change its options.", ["fit.py"]),
        ("Edit only fit.py. Do not change the contents of the data folder.", ["fit.py"]),
        ("Edit `fit.py` only. More computation is not an improvement.", ["fit.py"]),
        ("Only `fit.py` may be edited, and in it\nthe function `rows` stays as it is.", ["fit.py"]),
        ("The [runner](roles.md) makes the change. Ideas go into the net file.", ["net.py"]),
        ("Work in `net.py`. Everything else, `net.py` aside and `fit.py`, is not part of the game.", ["net.py"]),
        ("You may edit `net.py` and `fit.py`. Do not touch `net.py`.", ["fit.py"]),
        ("You may edit `net.py`. Work in `fit.py`. Please do not change it.", ["net.py"]),
        ("Fair game: `net.py` and\n`fit.py`. Hands off the data.", ["fit.py", "net.py"]),
        ("You can change\n\n* `net.py`\n\nThe runner `fit.py` is\nshared with others, please leave it.", ["net.py"]),
        ("`fit.py` stays for the record, neither run nor\nedit it. Change `net.py`.", ["net.py"]),
        (
            "**What you may do.** Anything inside `net.py`.\n\n**What you may not do.** `fit.py` is the judge.",
            ["net.py"],
        ),
        ("Edit `net.py`, but not the number of rows.", ["net.py"]),
        ("Allowed to change:\n- `net.py`, with the exception of `W`, since a wide one is not ours", ["net.py"]),
        ("Edit only `fit.py`. Run it.\nThe held-out points (seed 12) must not be changed or trained on.", ["fit.py"]),
        ("Edit `net.py` and `fit.py`. `net.py` is new. The file must not be changed.", ["fit.py"]),
        ("Do not change:\n- `fit.py`", None),
        ("The driver `fit.py` is not to be touched.", None),  # so the command's script is no guess either
    ],
)
def test_a_sentence_about_another_thing_refuses_no_file(tmp_path: Path, prose: str, editable: list[str]) -> None:
    (tmp_path / "roles.md").write_text("# Runner\n")
    read = small(tmp_path, readme=f"`python fit.py`\n\n{prose}\n", net="W = 3\n", fit='print("loss:", 1)\n')
    assert read["editable"] == editable


def test_names_in_brackets_are_what_is_meant_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    for name in ("__init__", "width", "depth"):
        (tmp_path / "net" / f"{name}.py").write_text("W = 3\n")
    prose = "`python fit.py`\n\nEverything in `net/` is fair game (`width.py`, `depth.py`).\n"
    assert small(tmp_path, readme=prose, fit='print("loss:", 1)\n')["editable"] == ["net/depth.py", "net/width.py"]


@pytest.mark.parametrize(
    ("prose", "metric"),
    [("", None), ("How good it is says the last line.", "MAPE"), ("A lower MAE is better.", "MAE")],
)
def test_of_several_numbers_without_a_word_about_them_none_is_taken(
    tmp_path: Path, prose: str, metric: str | None
) -> None:
    code = 'print("MAE : %.3f" % 1.0)\nprint("MAPE: %.3f" % 2.0)\n'
    assert small(tmp_path, readme=f"`python fit.py`\n\n{prose}\n", fit=code)["metric"] == metric


def test_pages_that_contradict_each_other_are_asked_about_and_those_for_agents_go_first(tmp_path: Path) -> None:
    old = "Run `python train.py` and watch `val_ppl`, lower is better. A run takes 20 minutes.\n"
    new = "Run `python train_v2.py`. The score is `word_acc`, it should rise. A run gets eight minutes.\n"
    code = 'print(f"val_ppl: {4.0}")\nprint(f"word_acc: {0.5}")\n'
    (tmp_path / "HANDOVER.md").write_text(new)
    assert small(tmp_path, readme=old, train=code, train_v2=code)["command"] is None
    (tmp_path / "HANDOVER.md").rename(tmp_path / "program.md")
    read = facts(draft(tmp_path, Wanted()))
    assert read["command"].startswith("python train_v2.py") and read["metric"] == "word_acc"
    assert (read["direction"], read["budget"]) == ("higher", 480.0)


def test_a_build_tool_is_not_the_command_of_a_metric_in_another_language(tmp_path: Path) -> None:
    (tmp_path / "Cargo.toml").write_text("[package]\n")
    prose = "```\ncargo bench\npython replay.py\n```\nHigher is better.\n"
    replay = 'print(f"hit_rate: {1.0}")\n'
    assert small(tmp_path, readme=prose, replay=replay)["command"] == "python replay.py"
    # Nor where no other command is known to run that file.
    (tmp_path / "rate").write_text("#!/bin/sh\nexec nice python -m replay\n")
    assert small(tmp_path, readme="```\ncargo bench\n./rate\n```\n", replay=replay)["command"] == "./rate"


def test_options_with_hyphens_are_knobs_and_what_the_text_or_a_comment_fixes_is_none(tmp_path: Path) -> None:
    code = (
        "import argparse\nMOVES = 60  # part of the rules\nCAP = 8\nRATE = 3\np = argparse.ArgumentParser()\n"
        'p.add_argument("--weight-decay", type=float, default=0.1)\n'
        'p.add_argument("--max-steps", type=int, default=40)\na = p.parse_args()\n'
        'print(f"loss: {a.weight_decay * MOVES * CAP * RATE * a.max_steps}")\n'
    )
    prose = "`python fit.py`\n\nKeep `max-steps` at 40. CAP is what we have; a bigger one is no gain. Edit `fit.py`."
    read = small(tmp_path, readme=prose, fit=code)
    assert read["edits"] == ["RATE", "weight_decay"]


def test_the_memory_limit_is_above_what_the_owner_allows(tmp_path: Path) -> None:
    prose = "`python fit.py`\n\nEdit `fit.py`. Keep peak memory below 8 GB. Lower loss is better.\n"
    small(tmp_path, readme=prose, fit='print("loss:", 1)\n')
    task = Task.load(write(draft(tmp_path, Wanted()), None))
    assert task.memory_mb == 8192 * 1.25 and draft(tmp_path, Wanted()).toml.count("at_most = 8192") == 1


def test_both_means_the_files_that_were_named_before(tmp_path: Path) -> None:
    text = "`net.py` defines it, `fit.py` trains it. You may edit both. `python fit.py`\n"
    read = small(tmp_path, readme=text, net="WIDTH = 3\n", fit='print("loss:", 1)\n')
    assert read["editable"] == ["fit.py", "net.py"]


def test_a_constant_that_changes_nothing_or_guards_the_score_is_left_out_with_the_reason(tmp_path: Path) -> None:
    code = (
        "LR = 0.1\nMOMENTUM = 0.0\nCACHE_MB = 64\nVAL_ROWS = 100\nMIN_RECALL = 0.9\ndiverged = False\n"
        "w = LR * MOMENTUM * VAL_ROWS * MIN_RECALL\ndiverged = w > 1\nprint('loss:', w)\n"
    )
    text = "`python fit.py`. Edit `fit.py`. MIN_RECALL is fixed by the contract.\n"
    read = small(tmp_path, readme=text, fit=code)
    assert read["edits"] == ["LR", "MOMENTUM"]
    left = {fact.value: fact.where for fact in draft(tmp_path, Wanted()).facts if fact.field == "left out"}
    assert left["CACHE_MB"] == "used nowhere"
    assert left["VAL_ROWS"] == "the score may depend on it" and "fixed by the contract" in left["MIN_RECALL"]
    assert facts(draft(tmp_path, Wanted(values={"CACHE_MB": "32,128"})))["edits"] == ["CACHE_MB", "LR", "MOMENTUM"]
    knobs = {knob.name: knob for knob in offered(judged(draft(tmp_path, Wanted()).source, ["fit.py"], {}))}
    assert knobs["MOMENTUM"].values == (0.0, 0.5, 0.8, 0.9, 0.95) and knobs["MOMENTUM"].role == "momentum"


def test_what_validation_data_are_made_with_is_no_knob(tmp_path: Path) -> None:
    code = (
        "LR = 0.1\nNOISE = 0.2\nSHIFT = 0.5\nSCALE = 0.3\n"
        "def rows(n, seed):\n    return [seed * NOISE] * n\n"
        "def features(x):\n    return [SCALE * one for one in x]\n"
        "def trained(x):\n    return LR * x[0]\n"
        "x = rows(10, 1)\nval_x, val_y = rows(5, 2), rows(5, SHIFT)\n"
        "val_f = features(val_x)\nval_loss = trained(x)\nprint('loss:', val_loss + val_f[0])\n"
    )
    read = small(tmp_path, readme="`python fit.py`. Edit `fit.py`.\n", fit=code)
    assert read["edits"] == ["LR", "SCALE"]
    left = {fact.value: fact.where for fact in draft(tmp_path, Wanted()).facts if fact.field == "left out"}
    assert left["NOISE"] == "the score may depend on it: fit.py:12 makes val_x with it" and "val_" in left["SHIFT"]


@pytest.mark.parametrize(
    ("line", "is_knob"),
    [
        ("final_val = train()", True),
        ("x_val = train_model(SEED)", True),
        ("test_acc = made(W)", True),
        ("eval_model = made(W)", True),
        ("val_x = made()", True),
        ("val_x, val_y = made(seed, W)", False),
        ("X_test = made(SEED)", False),
        ("train, val = made(SEED)", False),
    ],
)
def test_only_what_makes_data_hides_a_constant(tmp_path: Path, line: str, is_knob: bool) -> None:
    functions = "".join(f"def {name}(*a):\n    return [W * 2, LR]\n" for name in ("made", "train", "train_model"))
    code = (
        f"SEED = 1\nseed = SEED\nLR = 0.1\nW = 0.3\n{functions}{line}\nprint('loss:', made(1)[0] + train_model(1)[0])\n"
    )
    read = small(tmp_path, readme="`python fit.py`. Edit `fit.py`.\n", fit=code)
    assert read["edits"] == (["LR", "W"] if is_knob else ["LR"])


def test_after_a_check_the_program_is_one_for_agents_else_a_new_one(tmp_path: Path) -> None:
    small(tmp_path, readme="`python fit.py`. Edit `fit.py`.\n", fit="LR = 0.1\nprint('loss:', LR)\n")
    write(draft(tmp_path, Wanted(budget=1.0)), None)
    assert [line.split()[1:4] for line in after_check(tmp_path, True)] == [
        ["program", "new", f"{tmp_path}/program.md"],
        ["improve", f"{tmp_path}/program.md", "-t"],
    ]
    (tmp_path / "AGENTS.md").write_text("# Loop\n")
    assert f"improve {tmp_path}/AGENTS.md" in after_check(tmp_path, True)[0]


def test_a_knob_that_sets_how_long_a_training_takes_is_named_with_what_to_do(tmp_path: Path) -> None:
    code = "LR = 0.1\nEPOCHS = 3\nWARMUP_STEPS = 2\nprint('loss:', LR * EPOCHS * WARMUP_STEPS)\n"
    text = "`python fit.py`. Edit `fit.py`.\n"
    small(tmp_path, readme=text, fit=code)
    edits = next(fact for fact in draft(tmp_path, Wanted()).facts if fact.field == "edits")
    assert "EPOCHS sets how long a training takes" in edits.note and "[edits.EPOCHS]" in edits.note
    assert "WARMUP" not in edits.note
    code = code.replace("EPOCHS", "MAX_STEPS") + "epochs = 2\nfor one in range(epochs):\n    print(one)\n"
    (tmp_path / "fit.py").write_text(code.replace("LR *", "LR * epochs *"))
    found = draft(tmp_path, Wanted(budget=2.0))
    edits = next(fact for fact in found.facts if fact.field == "edits")
    assert "MAX_STEPS, epochs set how long" in edits.note and "[edits.MAX_STEPS], [edits.epochs] in" in edits.note
    lines = edits.note.rpartition("three lines")[2].split("`")[1::2]
    toml = write(found, None) / "task.toml"
    toml.write_text("\n".join([toml.read_text(), *lines]))
    assert {name: one.at_most for name, one in Task.load(tmp_path).constraints.items()} == {"time": 3.0}


def stated(folder: Path, text: str, **files: str) -> tuple[Task, dict[str, str], dict[str, str]]:
    """The task of a small repository with that program, its constraints by place, and its left-out sentences."""
    start = "`python fit.py`. Edit `fit.py`. The lowest loss wins.\n\n"
    code = {"fit": 'LR = 0.1\nprint("loss:", LR)\nprint("delay_ms:", 3)\nprint(f"peak_vram_mb: {LR}")\n', **files}
    small(folder, readme=start + text, **code)
    found = draft(folder, Wanted())
    notes = {fact.where: str(fact.value) for fact in found.facts if fact.field == "constraint"}
    left = {str(fact.value): fact.note for fact in found.facts if fact.field == "left out" and "constrain" in fact.note}
    return Task.load(write(found, folder / "task")), notes, left


def test_constraints_of_the_prose_are_read_with_their_line(tmp_path: Path) -> None:
    text = (
        "- Keep peak memory below 4 GB.\n- `fit.py` must stay\n  under 400 lines.\n- `delay_ms` must never go\n"
        "  above 5.5. Nothing else is fixed.\n\n## Soft limits\n\nVRAM must not exceed 44 GB.\n\n"
        "Aim for memory: it should stay under 2 GB.\n"
    )
    task, notes, left = stated(tmp_path, text)
    assert notes == {
        "README.md:3": "memory: at most 4096 MB, hard",
        "README.md:4": "lines: at most 399 lines, hard",
        "README.md:6": "delay_ms: at most 5.5, hard",
        "README.md:11": "vram: at most 45056 MB, soft: recorded, decides nothing",
        "README.md:13": "memory_soft: at most 2048 MB, soft: recorded, decides nothing",
    }
    assert {name: (one.limit, one.hard) for name, one in task.constraints.items()} == {
        "memory": (4096.0, True), "lines": (399.0, True), "delay_ms": (5.5, True), "vram": (45056.0, False),
        "memory_soft": (2048.0, False),
    }  # fmt: skip
    assert not left and "[constraints.lines]  # README.md:4\n" in (tmp_path / "task" / "task.toml").read_text()


def test_a_printed_yes_or_no_can_be_a_constraint(tmp_path: Path) -> None:
    code = 'LR = 0.1\nprint("loss:", LR)\nprint(f"valid: {LR < 1}")\n'
    task, notes, left = stated(tmp_path, "`valid` must be true.\n", fit=code)
    assert notes == {"README.md:3": "valid: at least 1, hard"} and not left
    printed = {answer: values(task.constraints, task.baseline(), Trained(0.1, None, (f"valid: {answer}\n",)))
               for answer in ("True", "no", "0.5", "perhaps")}  # fmt: skip
    assert printed == {"True": {"valid": 1.0}, "no": {"valid": 0.0}, "0.5": {"valid": 0.5}, "perhaps": {}}
    assert not broken(task.constraints, printed["True"]) and "valid" in broken(task.constraints, printed["no"])


@pytest.mark.parametrize(
    ("sentence", "reason"),
    [
        ("All tests must pass.", "needs a number"),
        ("VRAM is a soft constraint, but it should not blow up.", "needs a number"),
        ("Keep functions under 50 lines.", "not the lines of all editable files"),
        ("README.md must stay under 50 lines.", "not clearly the lines of the editable files"),
        ("Must stay under 300 lines.", "not clearly the lines of the editable files"),
        ("Memory must stay below 4 GB and RAM of the loader below 1 GB.", "several limits in one sentence"),
        ("`recall` must stay above 0.9.", "the code prints no 'recall'"),
        ("`sorted` must be true.", "the code prints no 'sorted'"),
        ("Memory must stay below 4 GB.\n\nMemory must stay below 8 GB.", "with several limits"),
    ],
)
def test_what_is_no_clear_constraint_is_left_out_with_the_reason(tmp_path: Path, sentence: str, reason: str) -> None:
    task, _, left = stated(tmp_path, sentence + "\n")
    assert not task.constraints and len(left) == 1 and reason in next(iter(left.values()))


@pytest.mark.parametrize(
    "sentence",
    [
        "The baseline uses less than 4 GB of memory.",
        "If memory must exceed 4 GB, stop.",
        "The machine must have at least 16 GB of memory.",
        "The checkpoint must stay below 16 MB of memory.",
        "The script must read at least 300 lines.",
        "Training must take at most 5 minutes.",
        "```\nKeep memory below 4 GB.\n```",
    ],
)
def test_other_sentences_are_no_constraint(tmp_path: Path, sentence: str) -> None:
    task, notes, left = stated(tmp_path, sentence + "\n")
    assert not task.constraints and not notes and not left

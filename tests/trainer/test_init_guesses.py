"""`task init --from` and `task check` on repositories whose output, names and files invite a wrong guess."""

from __future__ import annotations

import os
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from programs.common.errors import TaskError, UsageError
from tests.trainer.foreign_repos import checked, command_task, made, run, write_files
from trainer.commands.check import check_command
from trainer.commands.cures import cure
from trainer.commands.init import Drafting, TaskDraft
from trainer.commands.questions import Unknown
from trainer.commands.task_toml import Wanted
from trainer.edits import Edit
from trainer.experiment import Spec
from trainer.jobs.job import plain
from trainer.outcome import Outcome

PRINTS = Wanted(command="python train.py", editable=["train.py"], noise="unknown", seed="none")


def printing(folder: Path, text: str, **files: str) -> Path:
    return write_files(folder, {"train.py": f"print({text!r})\n", **files})


def draft(folder: Path, wanted: Wanted = PRINTS) -> TaskDraft:
    return Drafting(folder, sandbox=False).draft(wanted)


def open_question(folder: Path, wanted: Wanted = PRINTS) -> Unknown:
    with pytest.raises(Unknown) as caught:
        draft(folder, wanted)
    return caught.value


COLOURED = "\x1b[1;33mval_loss: \x1b[0m\x1b[1m0.4086\x1b[0m"


@pytest.mark.parametrize(
    ("output", "shown"),
    [
        (COLOURED, "val_loss: 0.4086"),
        ("\rloss: 1.409 [##--]\rloss: 1.401 [####]\n", "loss: 1.401 [####]\n"),
        ("loss: 1.4\r\x1b[Kval_loss: 0.4\r\n", "val_loss: 0.4\n"),
        ("loss: 1.40\b\b\b\b0.40", "loss: 0.40"),
        ("\x1b]8;;http://a\x1b\\link\x1b]8;;\x07 \x1b(Bx \x9b31my", "link x y"),
        ("\x1b]0;never ends\nloss: 2", "\nloss: 2"),
        ("\x1b\x1b[m[2J", "\N{REPLACEMENT CHARACTER}[2J"),
    ],
)
def test_output_is_what_a_terminal_shows_at_its_end(output: str, shown: str) -> None:
    assert plain(output) == shown


def test_metric_in_colours_behind_a_bar_is_the_last_one_shown(tmp_path: Path) -> None:
    output = f"\rval_loss: 1.4086 [###]\r\x1b[K{COLOURED}"
    place = printing(tmp_path, output)
    assert tomllib.loads(draft(place, replace(PRINTS, metric="val_loss")).toml)["task"]["metric"] == "val_loss"
    own = command_task(tmp_path / "task", {"train.py": f"print({output!r})\n"}, metric="val_loss")
    assert run(own).metric == 0.4086
    in_file = own.baseline().with_text("train.py", f"open('out.txt', 'w').write({COLOURED!r})\n")
    assert run(replace(own, scoring={**own.scoring, "file": "out.txt"}), Spec(in_file, 1)).metric == 0.4086


BROKEN = """import traceback
print('val_loss: 0.5094', flush=True)
try:
    1 / 0
except ZeroDivisionError:
    traceback.print_exc()
"""


def test_traceback_with_exit_code_0_is_asked_checked_and_finding(tmp_path: Path) -> None:
    place = write_files(tmp_path / "repo", {"train.py": BROKEN})
    asked = open_question(place)
    assert asked.field == "traceback" and "ZeroDivisionError: division by zero" in asked.message
    assert "--set traceback=expected" in (asked.hint or "")
    draft(place, replace(PRINTS, traceback="expected"))
    task = command_task(tmp_path / "task", {"train.py": BROKEN}, metric="val_loss")
    assert "ZeroDivisionError" in " ".join(run(task).findings)
    found = [one for one in check_command(task, sandbox=False) if "traceback" in one.message]
    assert [(one.level, one.clause) for one in found] == [("warning", "baseline")]


def test_number_that_stands_before_an_arrow_is_asked(tmp_path: Path) -> None:
    place = printing(tmp_path, "val_loss: 1.41 -> 0.41\nsteps: 3")
    asked = open_question(place, replace(PRINTS, metric="val_loss"))
    assert asked.field == "metric" and "'val_loss: 1.41 -> 0.41'" in asked.message
    with pytest.raises(TaskError, match="no number with a name"):
        draft(printing(tmp_path / "alone", "val_loss 1.41 → 0.41"))


def test_result_file_of_an_earlier_run_is_no_result(tmp_path: Path) -> None:
    files = {"train.py": "print('done')\n", "out/metrics.json": '{"accuracy": 0.9}'}
    with pytest.raises(TaskError, match=r"left no out/metrics\.json"):
        draft(write_files(tmp_path, files), replace(PRINTS, metric="accuracy", metric_file="out/metrics.json"))


def test_file_that_the_untouched_command_writes_is_not_the_tasks(tmp_path: Path) -> None:
    """A build output that git ignores would be read-only, and every build a suspicion."""
    code = "open('kernel.bin', 'w').write('built')\nprint('val_loss: 0.5')\n"
    place = write_files(tmp_path / "repo", {"train.py": code, "kernel.bin": "older", ".gitignore": "kernel.bin\n"})
    found = draft(place)
    assert "kernel.bin" not in tomllib.loads(found.toml)["task"]["read_only"]
    assert [fact.note for fact in found.facts if fact.value == "kernel.bin"] == ["excluded"]
    lines = list[str]()
    drafting = Drafting(place, sandbox=False, progress=lines.append)
    for _ in range(2):  # the second one after the answers
        drafting.draft(PRINTS)
    assert sum("again without" in line for line in lines) == 1
    needs = write_files(tmp_path / "needs", {"train.py": f"old = open('kernel.bin').read()\n{code}", "kernel.bin": "a"})
    assert "kernel.bin" in tomllib.loads(draft(needs).toml)["task"]["read_only"]


BENCH = """import time
N = 320
CHUNK = 10
start = time.perf_counter()
total = sum(i * i for i in range(N * 100))
print(f"seconds: {time.perf_counter() - start:.9f}")
print("checksum:", total)
print("chunk:", CHUNK)
print("peak_mb: 20\\nwrong: 0\\nratio: nan\\nhuge: 1e30\\nval loss: 3\\nval_loss: 3")
"""


def test_number_that_never_varies_is_an_invariant_of_a_time(tmp_path: Path) -> None:
    place = write_files(tmp_path / "repo", {"train.py": BENCH})
    task = made(place, replace(PRINTS, metric="seconds"))
    assert {*task.constraints} == {"checksum", "wrong", "val_loss"} and run(task).status == "ok"
    smaller = run(task, Spec(task.edits.apply(task.baseline(), Edit({"N": 80})), 1))
    assert smaller.status == "invalid" and "constraint checksum" in smaller.reason
    found = checked(task, knobs=True)
    assert found["knob N"].level == "warning" and "constraint checksum" in found["knob N"].message


def test_invariants_in_json_have_names_that_a_task_may_have(tmp_path: Path) -> None:
    shown = {"_step": 3, "größe": 4, "2nd": 5, "long" * 12: {"x": 6, "y": 7}}
    code = f"import json, time\nprint(json.dumps({{'seconds': time.perf_counter(), **{shown}}}))\n"
    task = made(write_files(tmp_path / "repo", {"train.py": code}), replace(PRINTS, metric="seconds"))
    assert len(task.constraints) == 5 and run(task).status == "ok"


def test_number_that_never_varies_beside_a_loss_is_proposed(tmp_path: Path) -> None:
    code = "import random\nSEED = 1\nN = 30\nrandom.seed(SEED)\nprint('loss:', random.random() + 1 / N)\n"
    code += "print('rows:', N)\n"
    place = write_files(tmp_path / "repo", {"train.py": code})
    proposed = Drafting(place).draft(replace(PRINTS, metric="loss", seed=None, noise=None))
    assert "\n# [constraints.rows]\n# kind" in proposed.toml and "\n# equals = 30.0\n" in proposed.toml
    assert [(fact.value, fact.where) for fact in proposed.facts if fact.field == "equals"] == [("rows", "30")]
    same = Drafting(printing(tmp_path / "same", "loss: 1.5\nrows: 30")).draft(replace(PRINTS, metric="loss"))
    assert "equals" not in same.toml


def test_facts_say_what_the_task_has_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MY_DATA_DIR", "MY_GIVEN_DIR", "PATH", "HOME"):
        monkeypatch.setenv(name, os.environ.get(name, "/data"))
    reads = ", ".join(f"os.environ.get({name!r})" for name in ("MY_DATA_DIR", "MY_GIVEN_DIR", "PATH", "HOME"))
    code = f"import os\nprint('val_loss: 0.5', {reads})\n"
    files = {"train.py": code, "conf/config.yaml": "optim:\n  lr: 0.3\n  wd: 0.1\n"}
    wanted = replace(PRINTS, command="MY_GIVEN_DIR=x python train.py optim.wd optim.lr=0.1")
    facts = Drafting(write_files(tmp_path, files)).draft(wanted).facts
    out = {fact.value: fact.note for fact in facts if fact.field == "left out"}
    assert {*out} == {"conf/config.yaml", "MY_DATA_DIR"}  # and not what the sandbox or the command sets
    assert "--editable conf/config.yaml" in out["conf/config.yaml"] and "your environment has it" in out["MY_DATA_DIR"]
    assert "MY_DATA_DIR" not in [fact.value for fact in draft(tmp_path, wanted).facts]  # without a sandbox it has it
    both = draft(tmp_path, replace(wanted, editable=["train.py", "conf/config.yaml"]))
    notes = {fact.value: fact.note for fact in both.facts if fact.field in ("knob", "left out")}
    assert notes["lr"] == "the command sets it" and "0.1:" in notes["wd"] and "conf/config.yaml" not in notes
    seed = next(fact for fact in both.facts if fact.field == "seed")
    assert "every run has" not in seed.note


TABLES = {
    "train.py": "x = open('data/train.tsv').read()\nopen('model.txt', 'w').write('2.5')\n",
    "data/train.tsv": "1",
    "answers/train.txt": "0",
    "score.py": "y = open('answers/test.txt').read()\nprint('accuracy:', float(open('model.txt').read()))\n",
    "answers/test.txt": "1",
}
SCORED = replace(PRINTS, metric="accuracy", score_command="python score.py", artifacts=["model.txt"])


@pytest.mark.parametrize(
    ("read", "hidden"),
    [
        ("open('answers/test.txt')", ["answers/test.txt"]),
        ("pathlib.Path('answers') / 'test.txt'", ["answers/test.txt", "answers/train.txt"]),
        ("[*pathlib.Path('./answers/').iterdir()]", ["answers/test.txt", "answers/train.txt"]),
        ("[f'answers/t{i}.txt' for i in range(3)]", ["answers/test.txt", "answers/train.txt"]),
        ("open('data/answers.txt')", ["data/answers.txt"]),
        ("import truth", ["answers/test.txt", "truth.py"]),
    ],
)
def test_score_files_of_a_named_file_leave_its_neighbours(read: str, hidden: list[str], tmp_path: Path) -> None:
    files = {**TABLES, "data/answers.txt": "1", "old/answers.txt": "1", "truth.py": "open('answers/test.txt')\n"}
    files["score.py"] = f"import pathlib\n{read}\nprint('accuracy:', float(open('model.txt').read()))\n"
    section = tomllib.loads(draft(write_files(tmp_path / "repo", files), SCORED).toml)["run"]
    assert sorted(section["score_files"]) == sorted([*hidden, "score.py"])


def test_hint_of_a_hidden_file_names_the_other_score_files(tmp_path: Path) -> None:
    code = "import pathlib\nprint('accuracy:', len([*pathlib.Path('data').iterdir()]), open('model.txt').read())\n"
    files = {**TABLES, "score.py": code, "data/answers.txt": "1"}
    with pytest.raises(TaskError) as caught:
        draft(write_files(tmp_path, files), SCORED)
    assert "--set score_files=data/answers.txt --set score_files=score.py" in (caught.value.hint or "")


def test_script_of_the_scoring_command_may_not_be_edited(tmp_path: Path) -> None:
    write_files(tmp_path, TABLES)
    facts = draft(tmp_path, replace(SCORED, editable=[])).facts
    assert next(fact.value for fact in facts if fact.field == "editable") == "train.py"
    write_files(tmp_path, {"other.py": "print(1)"})
    assert open_question(tmp_path, replace(SCORED, editable=[])).questions[0].choices == ["other.py", "train.py"]
    with pytest.raises(UsageError, match=r"score\.py.*score_command"):
        draft(tmp_path, replace(SCORED, editable=["train.py", "score.py"]))


MISSING = 'Traceback (most recent call last):\n  File "train.py", line 1, in <module>\n'
NO_MODULE = "ModuleNotFoundError: No module named"


@pytest.mark.parametrize(
    ("log", "hint"),
    [
        (f"{MISSING}  File \"<frozen os>\", line 679, in __getitem__\nKeyError: 'MY_DIR'", "your variable MY_DIR: put"),
        ("run.sh: line 1: MY_DIR: unbound variable", "your variable MY_DIR: put"),
        ("sh: 1: MY_DIR: parameter not set", "your variable MY_DIR: put"),
        (f"{MISSING}KeyError: 'lr'", "try the command in a fresh copy"),
        (f"{MISSING}{NO_MODULE} 'linked.part'", "linked.part is installed from {place}, which"),
        (f"{MISSING}{NO_MODULE} 'mapped'", "mapped is installed from {place}, which"),
        (f"{MISSING}{NO_MODULE} 'absent'", "absent is not installed: make a .venv"),
    ],
)
def test_hint_of_a_failed_command_names_its_reason(log: str, hint: str, tmp_path: Path) -> None:
    place, site = tmp_path / "elsewhere", tmp_path / "venv" / "lib" / "python3.11" / "site-packages"
    write_files(place, {"linked/__init__.py": "", "mapped/__init__.py": ""})
    (site / "linked.pth").parent.mkdir(parents=True)
    write_files(site, {
        "linked.pth": f"{place}\n", "__editable___mapped_finder.py": f"MAPPING = {{'mapped': '{place}/mapped'}}\n",
    })  # fmt: skip
    task = command_task(tmp_path / "task", {"train.py": ""}, f'readable = ["{tmp_path / "venv"}"]')
    assert hint.format(place=place) in cure(Outcome("crash", None, 0.1, 0.1, 0.1, log=log), task)


def test_check_compares_with_the_check_before(tmp_path: Path) -> None:
    """The split of such a script depends on the number of cores."""
    outside = tmp_path / "cores"
    outside.write_text("2")
    code = f"print('val_loss:', 0.5 + float(open({str(outside)!r}).read()) / 100)\n"
    task = command_task(tmp_path / "task", {"train.py": code}, f'readable = ["{outside}"]', metric="val_loss")

    def before() -> str:
        found = checked(task).get("check before")
        return f"{found.level}: {found.message}"[:20] if found else ""

    assert before() == "" and before().startswith("ok: the metric")
    outside.write_text("5.5")
    assert before() == "warning: 0.555 now, "[:20]

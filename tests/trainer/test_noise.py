"""The noise of one's own validation rows: `task init` asks for it once, and `task check` tries the answer."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from programs.common.errors import TaskError, UsageError
from tests.trainer.foreign_repos import changed, checked, command_task, made, write_files
from trainer.cards.check_record import CheckFinding
from trainer.commands.check import check_command, require_checked
from trainer.commands.init import Drafting
from trainer.commands.questions import Unknown, score_keys
from trainer.commands.task_toml import Wanted
from trainer.rows import COUNT, EXACT, SPLIT, UNKNOWN, VALUES

ROWS = """rows = [0.0, 1.0, 1.0, 0.0, 1.0] * 80
open("losses.csv", "w").write("".join(f"{row}\\n" for row in rows))
print("val_err:", sum(rows) / len(rows))
"""
OTHER_COUNT = "import time\nopen('losses.csv', 'w').write('1\\n' * (1 + time.time_ns() % 10**6))\n"
PRINTS = Wanted(command="python train.py", editable=["train.py"], metric="val_err", direction="lower")
pytestmark = pytest.mark.usefixtures("own_cache")


def draft_toml(folder: Path, text: str, wanted: Wanted = PRINTS, **files: str) -> dict[str, Any]:
    return tomllib.loads(Drafting(write_files(folder, {"train.py": text, **files}), sandbox=False).draft(wanted).toml)


def questions(folder: Path, text: str, wanted: Wanted, **files: str) -> Unknown:
    with pytest.raises(Unknown) as caught:
        draft_toml(folder, text, wanted, **files)
    assert "\n" not in caught.value.message + caught.value.hint
    return caught.value


def test_script_whose_two_runs_agree_is_asked_about_noise(tmp_path: Path) -> None:
    asked = questions(tmp_path, ROWS, PRINTS)
    assert asked.field == "noise" and asked.message.startswith("two runs give 0.6: how noisy")
    assert asked.hint == "--noise split|rows=FILE|n_rows=N|exact|unknown"
    seeded = "SEED = 1\nprint('val_err:', 0.5 + 0 * SEED)\n"
    assert questions(tmp_path / "seeded", seeded, PRINTS).message.startswith("two seeds give 0.5")


def test_nothing_is_asked_where_the_noise_is_seen(tmp_path: Path) -> None:
    for text, metric in (
        ("import random\nSEED = 1\nprint('val_err:', random.Random(SEED).random())\n", "val_err"),
        ("import time\nprint('latency_ms:', time.perf_counter())\n", "latency_ms"),
        ("import os\nprint('val_err:', dict(search=0.5, confirm=0.4)[os.environ['METALOOP_SPLIT']])\n", "val_err"),
    ):
        assert "n_rows" not in draft_toml(tmp_path / metric, text, replace(PRINTS, metric=metric))["score"]


def test_all_open_questions_are_one_error_with_all_flags(tmp_path: Path) -> None:
    text = "print('badness: 3')\nprint('size: 2')\n"
    asked = questions(tmp_path, text, Wanted(command="python train.py"), **{"other.py": "X = 1\n"})
    assert [one.field for one in asked.questions] == ["editable", "metric", "direction", "noise"]
    assert asked.message.startswith("4 questions are open: (1) which files may be edited?")
    assert "--editable other.py|train.py --metric badness|size --direction lower|higher --noise split|" in asked.hint
    before = questions(tmp_path, text, Wanted(metric="badness"))
    assert [one.field for one in before.questions] == ["command", "editable", "direction"]


def test_an_answer_to_what_changes_no_run_is_not_run_again(tmp_path: Path) -> None:
    ran = list[str]()
    drafting = Drafting(
        write_files(tmp_path, {"train.py": ROWS, "other.py": "X = 1\n"}), progress=ran.append, sandbox=False
    )
    for wanted in (replace(PRINTS, editable=[]), PRINTS, replace(PRINTS, noise="exact")):
        try:
            drafting.draft(wanted)
        except Unknown:
            continue
    assert len(ran) == 2


@pytest.mark.parametrize(
    ("noise", "score", "kind"),
    [
        ("rows=losses.csv", {"rows": "losses.csv", "n_rows": 400}, VALUES),
        ("n_rows=400", {"n_rows": 400}, COUNT),
        ("exact", {"exact": True}, EXACT),
        ("unknown", {}, UNKNOWN),
    ],
)
def test_an_answer_becomes_keys_of_score(noise: str, score: dict[str, Any], kind: str, tmp_path: Path) -> None:
    task = made(write_files(tmp_path, {"train.py": ROWS}), replace(PRINTS, noise=noise), sandbox=False)
    found = tomllib.loads((tmp_path / "task.toml").read_text())["score"]
    assert {name: value for name, value in found.items() if name not in ("kind", "pattern")} == score
    assert task.data_noise == kind and {one.level for one in checked(task, knobs=False).values()} <= {
        "ok",
        "warning",
    }


def test_a_split_is_an_answer_where_the_command_takes_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file has METALOOP_SPLIT") as caught:
        draft_toml(tmp_path, ROWS, replace(PRINTS, noise="split"))
    assert caught.value.hint == "docs/night.md shows the three lines for a script"
    command = replace(PRINTS, command="python train.py {split}")
    with pytest.raises(UsageError, match="--noise exact: the command takes a split"):
        draft_toml(tmp_path, ROWS, replace(command, noise="exact"))
    assert made(tmp_path, command, sandbox=False).data_noise == SPLIT


@pytest.mark.parametrize("noise", ["n_rows=0", "n_rows=many", "rows=", "exact=1", "rows=a.xlsx", "rows=../a.csv"])
def test_an_answer_that_is_none_is_asked_again(noise: str) -> None:
    with pytest.raises(Unknown, match="--noise") as caught:
        score_keys(noise)
    assert caught.value.field == "noise"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ROWS.replace("losses", "other"), "the command left no losses.csv"),
        (ROWS.replace("{row}", "nan"), "losses.csv: row 1 is nan"),
        (ROWS + OTHER_COUNT, "rows in two runs"),
    ],
)
def test_a_rows_file_that_cannot_be_read_stops_init(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=message):
        draft_toml(tmp_path, text, replace(PRINTS, noise="rows=losses.csv"))


def test_a_committed_result_is_no_part_of_the_task(tmp_path: Path) -> None:
    wanted = replace(PRINTS, noise="rows=losses.csv", metric_file="res.txt")
    text = f"{ROWS}open('res.txt', 'w').write('val_err: 0.6')\n"
    files = {"losses.csv": "1\n" * 400, "res.txt": "val_err: 1.0", "kept.csv": "1\n"}
    assert draft_toml(tmp_path, text, wanted, **files)["task"]["read_only"] == ["kept.csv"]


def noise_of(folder: Path, text: str, score: str, run: str = "") -> list[CheckFinding]:
    command_task(folder / "repo", {"train.py": text}, run, metric="val_err")
    task = changed(folder / "repo", 'kind = "printed"\n', f'kind = "printed"\n{score}')
    clauses = ("data noise", "resolution", "baseline")
    return [finding for finding in check_command(task, knobs=False, sandbox=False) if finding.clause in clauses][1:]


SHUFFLE = "import random\nrandom.shuffle(rows)\n"
FILE = 'rows = "losses.csv"\nn_rows = 400\n'


def test_check_confirms_rows_whose_mean_is_the_metric(tmp_path: Path) -> None:
    found = noise_of(tmp_path, ROWS, FILE)
    assert [(one.level, one.message) for one in found] == [
        ("ok", "400 rows in losses.csv, their mean is the metric; 120 of them are held back from the search"),
        ("ok", "one seed repeats the rows of losses.csv"),
        (
            "ok",
            "the smallest step is 0.00833; no change below 0.18 val_err can be seen with these 120 rows, "
            "unless both scripts err on the same ones",
        ),
    ]


@pytest.mark.parametrize(
    ("old", "new", "message", "hint"),
    [
        ("sum(rows)", "100 * sum(rows)", "is 60, but the mean of losses.csv is 0.6: percent", "write 100 in place"),
        ("sum(rows) / len(rows)", "0.6 ** 0.5", "is 0.774597, but the mean .*: a square root", "squared error of each"),
        ("sum(rows) / len(rows)", "0.62", "is 0.62, but the mean of losses.csv is 0.6$", "one value a row"),
        ('open("los', f'{SHUFFLE}open("los', "the same rows in another order", "order of the data"),
    ],
)
def test_check_says_what_is_wrong_with_rows(old: str, new: str, message: str, hint: str, tmp_path: Path) -> None:
    errors = [one for one in noise_of(tmp_path, ROWS.replace(old, new, 1), FILE) if one.level == "error"]
    (error,) = errors
    assert error.clause == "data noise" and hint in error.hint and re.search(message, error.message)


def test_check_doubts_rows_of_two_unrelated_trainings(tmp_path: Path) -> None:
    text = "import random\nrows = [random.random() for _ in range(9000)]\n" + ROWS.partition("\n")[2]
    found = noise_of(tmp_path, text, FILE.replace("400", "9000"))
    found = [one for one in found if one.level == "warning"]
    assert len(found) == 1 and "have a correlation of" in found[0].message


@pytest.mark.parametrize(
    ("text", "level", "message"),
    [
        ("print('val_err:', 0.25)\n", "error", "the command ignores {split}: 0.25 with search and with confirm"),
        ("import sys\nprint('val_err:', len(sys.argv[1]))\n", "ok", "6 with the split search, 7 with confirm"),
        ("import sys\nassert sys.argv[1] == 'search'\nprint('val_err:', 1)\n", "error", "fails with the split confirm"),
        ("import random\nprint('val_err:', random.random())\n", "", ""),
    ],
)
def test_check_compares_the_metrics_of_both_splits(text: str, level: str, message: str, tmp_path: Path) -> None:
    run = 'environment = { PART = "{split}" }'
    command_task(tmp_path, {"train.py": text}, run, metric="val_err")
    task = changed(tmp_path, '"python train.py"', '"python train.py {split}"')
    (found,) = [
        finding for finding in check_command(task, knobs=False, sandbox=False) if finding.clause == "data noise"
    ]
    assert level in ("", found.level) and message in found.message
    if level == "error":  # also without a whole check
        (tmp_path / "check.json").unlink()
        with pytest.raises(TaskError, match="fails its check: data noise"):
            require_checked(task, False, lambda _: None)


@pytest.mark.parametrize(
    ("metric", "rows", "level", "message"),
    [
        ("87.5", 100, "error", "val_err is 87.5, but n_rows needs a share of rows, from 0 to 1"),
        ("0.8733", 100, "warning", "val_err is 0.8733, which is no share of 100 rows"),
        ("0.873", 1000, "ok", "val_err is a share of 1,000 rows"),
        ("0.333", 3, "ok", "val_err is a share of 3 rows"),
    ],
)
def test_check_tries_a_number_of_rows(metric: str, rows: int, level: str, message: str, tmp_path: Path) -> None:
    found = noise_of(tmp_path, f"print('val_err:', {metric})\n", f"n_rows = {rows}\n")
    assert found[0].level == level and message in found[0].message
    assert (len(found) == 2) == (level != "error")


def test_check_refuses_an_exact_metric_that_varies(tmp_path: Path) -> None:
    varying = "SEED = 1\nprint('val_err:', 40 + SEED)\n"
    seed = 'seed_constant = "train.py:SEED"\n'
    (found,) = noise_of(tmp_path, varying, "exact = true\n", seed)
    assert (found.level, found.message) == ("error", "exact = true, but two seeds give 41.0 and 42.0")
    (found,) = noise_of(tmp_path, varying.replace("+ SEED", "+ 0 * SEED"), "exact = true\n", seed)
    assert (found.level, found.message) == ("ok", "exact: it repeats to the last digit")


def test_check_warns_of_noise_that_is_not_known(tmp_path: Path) -> None:
    (found,) = noise_of(tmp_path, "print('val_err:', 0.25)\n", "")
    assert found.level == "warning" and "stays open" in found.message and "docs/night.md" in found.hint

"""`task init --from` and `task check` on repositories whose output, names and files invite a wrong guess."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from programs.errors import UsageError
from tests.trainer.foreign_repos import command_task, run, write_files
from trainer.commands.init import Drafting, TaskDraft
from trainer.commands.questions import Unknown
from trainer.commands.task_toml import Wanted
from trainer.experiment import Spec
from trainer.sandbox.launcher import plain

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


@pytest.mark.parametrize("bar", ["\rloss: 1.409 [###]\n", "\rval_loss: 1.4086 [###]\r\x1b[K", "\r\x1b[K"])
def test_metric_in_colours_behind_a_bar_is_the_last_one_shown(bar: str, tmp_path: Path) -> None:
    place = printing(tmp_path, f"{bar}{COLOURED}")
    assert tomllib.loads(draft(place, replace(PRINTS, metric="val_loss")).toml)["task"]["metric"] == "val_loss"
    own = command_task(tmp_path / "task", {"train.py": f"print({bar + COLOURED!r})\n"}, metric="val_loss")
    assert run(own).metric == 0.4086


def test_metric_in_colours_in_a_scoring_command_and_file_is_read(tmp_path: Path) -> None:
    files = {
        "train.py": "open('model.txt', 'w').write('2.5')\n",
        "score.py": f"open('out.txt', 'w').write({COLOURED!r})\n",
    }
    section = 'score_command = "python score.py"\nartifacts = ["model.txt"]'
    task = command_task(tmp_path / "task", files, section, metric="val_loss")
    scored = replace(task, scoring={**task.scoring, "file": "out.txt"})
    assert run(scored).metric == 0.4086

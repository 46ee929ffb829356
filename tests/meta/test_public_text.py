"""Texts on the command line: made into tasks, shown, refused by contests, told of where they support a claim."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from meta.begin import create
from meta.cli.main import run
from meta.evolve import evolve
from tests.studies import TINY, silent
from trainer.planted import random_law, simulated_task
from trainer.task import Task

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """The command in this process, in an empty folder: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METALOOP_CACHE", str(tmp_path / "cache"))

    def carry_out(*args: str) -> tuple[int, str, str]:
        code = run(args)
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return carry_out


def public_law(folder: Path) -> Path:
    """A simulated task that says of itself that its hidden data are public."""
    made = simulated_task(random_law(2), folder, experiments=6)
    with open(made / "task.toml", "a", encoding="utf-8") as file:
        file.write("\n[data]\npublic = true\n")
    return made


def test_the_evidence_of_a_champion_says_that_the_text_was_public(tmp_path: Path) -> None:
    task = Task.load(public_law(tmp_path / "open"))
    plan = replace(TINY, generations=0, opening_runs=2, run_budget=6 * task.cost_seconds)
    study, starters = create(tmp_path / "s", task=task, plan=plan, workers=1, seed=3)
    evolve(study, plan, starters, silent)
    assert "**planted: the hidden text is public" in (study.folder / "champion.evidence.md").read_text()


def test_verify_says_it_too(call: Call, tmp_path: Path) -> None:
    law = public_law(tmp_path / "open")
    code, _, err = call("verify", str(law / "train.py"), "-t", str(law), "-n", "2")
    assert code == 0 and "planted: the hidden text is public" in err


def test_a_contest_refuses_a_public_task(call: Call, tmp_path: Path) -> None:
    law = public_law(tmp_path / "open")
    code, _, err = call("contest", "init", "cup", "-t", str(law))
    assert code == 2 and "cannot be used in a contest" in err and not (tmp_path / "cup").exists()


@pytest.mark.slow
def test_a_text_of_one_s_own_by_the_command(call: Call, tmp_path: Path) -> None:
    words = "".join(f"{number:x} and {number * number:o} make\n" for number in range(60_000))
    (tmp_path / "words.txt").write_text(words)
    code, out, err = call("task", "init", "mine", "--text", "words.txt", "--json")
    told = json.loads(out)
    assert code == 0 and told["source"] == str(tmp_path / "words.txt") and told["public"] is False
    assert "next: metaloop task check mine" in err
    shown = json.loads(call("task", "show", "mine", "--json")[1])
    assert (shown["source"], shown["text_hash"], shown["public"]) == (told["source"], told["text_hash"], False)


def test_another_language_by_the_command(call: Call) -> None:
    assert call("task", "init", "dialect", "--grammar", "7")[0] == 0
    assert json.loads(call("task", "show", "dialect", "--json")[1])["grammar"] == 7
    assert json.loads(call("task", "show", "tinylm", "--json")[1])["grammar"] == 1


@pytest.mark.parametrize("flags", [("--simulated", "--like", "strokes"), ("--from", ".", "--grammar", "2")])
def test_a_task_is_made_in_one_way(call: Call, flags: tuple[str, ...]) -> None:
    code, _, err = call("task", "init", "mine", *flags)
    assert code == 2 and "exclude each other" in err

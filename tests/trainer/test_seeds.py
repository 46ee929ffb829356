"""Seeds of foreign repositories that are numbers in their code, and what a person at a terminal is asked."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trainer.foreign.init import Wanted, draft, write
from trainer.foreign.seeds import VARIABLE
from trainer.task import Task

CODE = (
    "import random\nrandom.seed(42)\nrng = random.Random(7)  # for the validation split\nLR = 0.1\n"
    "print(f'loss: {LR + random.random():.6f}')\n"
)
TEXT = "Run `python fit.py`; it prints the loss, lower is better. Edit only fit.py. One run takes 2 seconds.\n"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    folder.mkdir()
    (folder / "fit.py").write_text(CODE)
    (folder / "README.md").write_text(TEXT)
    return folder


def test_a_fixed_seed_is_named_and_left_alone(repository: Path) -> None:
    drafted = draft(repository, Wanted())
    [seed] = [fact for fact in drafted.facts if fact.field == "seed"]
    assert not seed.is_known and seed.where == "fit.py:2" and "random.seed(42)" in seed.note
    write(drafted, None)
    assert (repository / "fit.py").read_text() == CODE and VARIABLE not in (repository / "task.toml").read_text()


@pytest.mark.parametrize(
    "sentence",
    [
        "The seed is fixed; do not change it.",
        "The seed (42) must not change.",
        "Never change the seed.",
        "Keep seed 42.",
    ],
)
def test_a_seed_that_the_prose_wants_to_keep_is_remarked(repository: Path, sentence: str) -> None:
    (repository / "README.md").write_text(TEXT + sentence + "\n")
    for flag, remarked in ((True, True), (False, False)):
        [seed] = [fact for fact in draft(repository, Wanted(seed_variable=flag)).facts if fact.field == "seed"]
        assert ("README.md:2 wants one seed" in seed.note) == remarked
    (repository / "README.md").write_text(
        TEXT + "Each gets a seed of its own. The points (seed 12) must not be changed.\n"
    )
    [seed] = [fact for fact in draft(repository, Wanted(seed_variable=True)).facts if fact.field == "seed"]
    assert "wants one seed" not in seed.note


def test_with_the_flag_the_line_reads_the_variable_and_the_split_keeps_its_own(
    repository: Path, tmp_path: Path
) -> None:
    copy = write(draft(repository, Wanted(seed_variable=True)), tmp_path / "copy")
    assert (repository / "fit.py").read_text() == CODE
    task = Task.load(copy)
    assert task.run is not None and dict(task.run.environment) == {VARIABLE: "{seed}"}

    def loss(seed: str | None) -> str:
        env = {**os.environ, **({VARIABLE: seed} if seed else {})}
        return subprocess.run([sys.executable, "fit.py"], cwd=copy, env=env, capture_output=True, text=True).stdout

    original = subprocess.run([sys.executable, "fit.py"], cwd=repository, capture_output=True, text=True).stdout
    assert loss(None) == loss("42") == original != loss("43")
    assert "random.Random(7)" in (copy / "fit.py").read_text()


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


def test_what_the_repository_does_not_say_is_asked_at_a_terminal(repository: Path) -> None:
    (repository / "README.md").write_text("Run `python fit.py`. Edit only fit.py.\n")
    (repository / "fit.py").write_text(CODE.replace("loss", "badness"))
    status, seen = answered(repository, [b"badness", b"higher", b"", b"y"])
    assert status == 0 and "Which is better, lower or higher" in seen and "Change that line now?" in seen, seen
    task = Task.load(repository)
    assert task.direction == "higher" and VARIABLE in (repository / "fit.py").read_text()


def test_what_was_read_from_the_repository_is_shown_and_corrected_at_a_terminal(repository: Path) -> None:
    (repository / "README.md").write_text("Run `python fit.py`. Edit only fit.py.\nA lower loss is better.\n")
    status, seen = answered(repository, [b"direction", b"higher", b"nonsense", b"", b"n"])
    assert status == 0 and "direction: lower   (README.md:2: A lower loss is better.)" in seen, seen
    assert "'nonsense' is not one of" in seen and "command: python fit.py   (README.md:1: Run" in seen
    assert Task.load(repository).direction == "higher"


def test_an_empty_answer_writes_nothing(repository: Path) -> None:
    (repository / "README.md").write_text("Run `python fit.py`. Edit only fit.py.\n")
    (repository / "fit.py").write_text(CODE.replace("loss", "badness"))
    status, seen = answered(repository, [b"", b"", b"n"])
    assert status == 2 and "not found: metric" in seen
    assert not (repository / "task.toml").exists() and VARIABLE not in (repository / "fit.py").read_text()


def test_the_seed_of_a_dataclass_is_changed_and_that_of_the_corpus_is_not(repository: Path) -> None:
    (repository / "config.py").write_text("class Config:\n    seed: int = 1234  # of all\n    depth: int = 3\n")
    (repository / "corpus.py").write_text("import random\nr = random.Random(11)\n")
    write(draft(repository, Wanted(seed_variable=True)), None)
    assert f'environ.get("{VARIABLE}", 1234))  # of all' in (repository / "config.py").read_text()
    assert (repository / "corpus.py").read_text() == "import random\nr = random.Random(11)\n"

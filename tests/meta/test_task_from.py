"""Tasks as a user types them: from a repository, public data, a metric that is a time, what its rows can show."""

from __future__ import annotations

import math
import os
import pty
import re
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bench.simulated_tasks import random_law, simulated_task
from bench.whole import resized
from meta.kinds.cost import Work, looks_of
from meta.kinds.looks import planned_looks
from tests.meta.cli_study import ALONE, Call, metaloop
from tests.meta.evolved import evolved
from tests.studies import TINY
from tests.trainer import foreign_repos
from tests.trainer.foreign_repos import command_task
from tests.trainer.limited_task import LATENCY, MEMORY, SOFT, limited
from trainer.cards import check_record
from trainer.cards.check_record import CheckFinding
from trainer.rows import held_rows
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


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METALOOP_CACHE", str(tmp_path / "cache"))


def test_verify_says_that_hidden_data_are_public(call: Call, tmp_path: Path) -> None:
    law = simulated_task(random_law(2), tmp_path / "open", experiments=6)
    with open(law / "task.toml", "a", encoding="utf-8") as file:
        file.write("\n[data]\npublic = true\n")
    said = call("verify", law / "train.py", "-t", law, "-n", "2").stderr
    assert "planted: its hidden data are public" in said


def test_one_experiment_runs_at_a_time_and_more_are_refused(call: Call, tmp_path: Path) -> None:
    task = simulated_task(random_law(2), tmp_path / "law", experiments=6)
    toml = task / "task.toml"
    toml.write_text(toml.read_text().replace("[task]\n", "[task]\ntimed = true\n"))
    given = ("evolve", "--quick", "-t", str(task), "--dry-run")
    assert call(*given, "--json").json["workers"] == 1
    for more in (("-j", "2"), ("--set", "devices_per_run=2")):
        assert "its metric is a time, so only one experiment runs at a time" in call(*given, *more, code=2).stderr


@pytest.mark.slow
def test_evidence_page_shows_values_and_limits_of_both(tmp_path: Path) -> None:
    task = limited(tmp_path / "task", MEMORY + LATENCY + SOFT)
    plan = resized(TINY, generations=0, final={"without-ideas": 0})
    evolved(tmp_path / "study", task, plan, run_budget=0.6, seed=3, fixed_steps=True)
    page = (tmp_path / "study" / "champion.evidence.md").read_text()
    rows = [re.split(r" *\| *", line)[1:-1] for line in page.splitlines() if line.startswith(("| `lat", "| `mem"))]
    assert [(row[0], *row[2:6], row[9]) for row in rows] == [
        ("`latency`", "false", "–", "6.00", "champion", "ms"),
        ("`latency`", "false", "–", "6.00", "stock", "ms"),
        ("`memory`", "true", "–", "50.0", "champion", "MB"),
        ("`memory`", "true", "–", "50.0", "stock", "MB"),
    ]
    assert all(float(least) <= float(mean) <= float(most) and int(n) > 0 for *_, mean, least, most, _, n, _ in rows)
    assert [row[11] for row in rows[2:]] == ["0", "0"]


near = pytest.approx
ROWS = 'rows = "losses.csv"\nn_rows = {}\n'


def task_of(folder: Path, score: str = "", **measured: float) -> Task:
    """A task whose last check measured this; ``score``: more lines of [score]."""
    made = command_task(folder / "repo", {"train.py": 'print("loss: 0.1")\n'}, metric="val_err")
    path = made.folder / "task.toml"
    path.write_text(path.read_text().replace("[score]\n", f"[score]\n{score}"))
    task = Task.load(made.folder)
    check_record.write(task, [CheckFinding("ok", "baseline", "", measured=measured)])
    return task


SHARE, DRAWS = 2 * 0.1 * 0.9 / 100, math.sqrt(2 * math.log(96))  # variance of two draws of 100 rows; of 96 tries


@pytest.mark.parametrize(
    ("score", "measured", "noise", "resolvable", "luck"),
    [
        ("n_rows = 100\n", {"metric": 0.1}, "rows", 2.8 * math.sqrt(SHARE), DRAWS * math.sqrt(SHARE)),
        ("n_rows = 400\n", {"metric": 0.1, "seed_sd": 0.02}, "seeds rows",
         2.8 * math.sqrt(SHARE / 4 + 2 * 0.02**2 / 8), DRAWS * math.sqrt(SHARE / 4 + 2 * 0.02**2)),
        (ROWS.format(1000), {"step": 1 / 300, "gain": 0.07}, None, 0.07, DRAWS * 0.07 / 2.8 * math.sqrt(300 / 700)),
        ("", {"metric": 0.1, "seed_sd": 0.02}, "seeds", 2.8 * math.sqrt(2 * 0.02**2 / 8), None),
    ],
)  # fmt: skip
def test_looks_have_the_noise_of_rows_and_seeds(
    tmp_path: Path, score: str, measured: dict[str, float], noise: str | None, resolvable: float, luck: float | None
) -> None:
    found = planned_looks(task_of(tmp_path, score, **measured), 96, 8)
    assert found is not None and noise in (None, found.noise) and found.resolvable == near(resolvable)
    assert luck is None or found.luck == near(luck)
    assert (found.rows, found.step) == (None, None) if not score else found.rows and found.step
    assert found.held_back == (held_rows(1000) if "losses" in score else 0)


def test_looks_without_a_check_are_not_known_and_promise_no_gain(tmp_path: Path) -> None:
    for score, known in (("n_rows = 100\n", {}), (ROWS.format(1000), {"metric": 0.1, "seed_sd": 0.02}), ("", {})):
        found = planned_looks(task_of(tmp_path, score, **known), 96, 8)
        assert found and (found.resolvable, found.luck, found.step) == (None, None, None)


def test_looks_are_left_out_where_the_metric_has_all_noise(tmp_path: Path) -> None:
    assert planned_looks(task_of(tmp_path, "exact = true\n", metric=1.0), 96, 8) is None
    assert planned_looks(Task.load("strokes"), 96, 8) is None


def test_looks_count_experiments_of_all_runs_and_the_last_search(tmp_path: Path) -> None:
    task = task_of(tmp_path, "n_rows = 100\n", metric=0.1)
    works = [Work(task.name, "", 3, 16, 1.0, 1.0), Work(task.name, "held out", 5, 16, 1.0, 1.0)]
    [found] = looks_of([task, Task.load("strokes")], works, 8, harvest=4)
    assert found.looks == 3 * 16 + 4


@pytest.mark.parametrize("command", ["improve", "ablate"])
def test_dry_run_of_a_command_task_names_the_visible_gain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "any")  # a plan that could not be carried out is refused
    task = task_of(tmp_path, "n_rows = 100\n", metric=0.1)
    program = tmp_path / "mine.md"
    program.write_text("---\nmetaloop: {proposers: {queue: 1.0}}\n---\n# Mine\n\n## Ideas\n\n- One `lr=0.1`.\n")
    words: tuple[Any, ...] = (command, program, "-t", task.folder, "--dry-run", "--no-sandbox")
    words += ("-m", "openai/x") if command != "ablate" else ()
    done = metaloop(*words, "--json", cwd=tmp_path)
    [looks] = done.json["looks"]
    assert (looks["task"], looks["rows"], looks["step"]) == (task.name, 100, 0.01)
    assert looks["looks"] >= done.json["experiments"] and looks["resolvable"] == near(2.8 * math.sqrt(0.0018), abs=1e-6)
    if command != "ablate":
        assert "which are all measured on the same validation rows" in done.json["power"]

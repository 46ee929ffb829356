"""A stranger's repository is made a task, and its program.md improved with a model: by chat, and through agents.

The repository, the server with its models, the agents and the sandboxes are real; only the models' wit is the tests'.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis.ledger import read
from analysis.study import query
from meta.cli.main import run
from tests.llm.crowd import answer
from tests.llm.server import LlmServer
from tests.meta.foreign_study import (
    NIGHT,
    SIZE,
    agent,
    assert_runs_sound,
    assert_sound,
    make_task,
    metaloop,
    plain_loop,
    surroundings,
)
from trainer.sandbox import bwrap

pytestmark = pytest.mark.skipif(bwrap.probe() is not None, reason=str(bwrap.probe()))


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_task(tmp_path_factory.mktemp("own"))


@pytest.fixture
def server() -> Iterator[LlmServer]:
    with LlmServer(answer) as running:
        yield running


KILLS = int(os.environ.get("METALOOP_TEST_KILLS", "1"))


def improve(task: Path, study: Path, *flags: str, size: tuple[str, ...] = SIZE) -> list[str]:
    return ["improve", str(task / "program.md"), "-t", str(task), "-s", str(study), "-m", "openai/test", *size, *flags]


def reader(folder: Path) -> tuple[str, ...]:
    return ("--set", f"agent={agent(folder)}", "--set", "agent_network=none")


def assert_works_without_metaloop(study: Path, folder: Path) -> None:
    """The champion with its settings in a section, followed by an agent that has git and python."""
    assert run(["export", str(study), "--for", "prose", "-o", str(folder / "winner.md")]) == 0
    said, commits = plain_loop(folder / "alone", (folder / "winner.md").read_bytes())
    assert said[0].startswith("follows: ") and said[1].startswith("baseline ") and len(said) > 2
    assert commits[-1] == "start"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_improved_by_chat(task: Path, server: LlmServer, tmp_path: Path) -> None:
    study = tmp_path / "study"
    done = metaloop(*improve(task, study), url=server.url)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["files"]["champion"] and len(done.stdout.splitlines()) == 1
    assert_sound(study, task)
    assert_works_without_metaloop(study, tmp_path)
    again = metaloop("verify", str(study), "-n", "2", "--runs", "2", "--json", url=server.url)
    audit = json.loads(again.stdout)
    # it trains in milliseconds: a source may earn as much in the least of times, and is then taken to carry weights
    looked = audit["verdict"] in ("confirmed", "not confirmed", "nothing to confirm")
    assert looked or "gain without training" in audit["why"], again.stderr


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_improved_through_an_agent_and_resumed_after_a_kill(task: Path, server: LlmServer, tmp_path: Path) -> None:
    """A night, in which the agent follows two programs by turns: chat, above, is a whole search."""
    study, before = tmp_path / "study", list[tuple[str, int]]()
    words = [*improve(task, study, *reader(tmp_path), size=NIGHT)]
    for kill in range(KILLS):
        with subprocess.Popen(
            [sys.executable, "-m", "meta.cli.main", *words],
            env=surroundings(server.url),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as killed:
            deadline = time.monotonic() + 300
            while killed.poll() is None and len(experiments(study)) < 3 * kill + 4 and time.monotonic() < deadline:
                time.sleep(0.2)
            assert killed.poll() is None, "it ended before it was killed"
            os.killpg(killed.pid, signal.SIGKILL)
        assert [row for row in experiments(study) if row in before] == before  # nothing lost, nothing again
        before = experiments(study)
        assert len(before) >= 3 * kill + 4
        words = ["resume", str(study), "--json"]
    done = metaloop("resume", str(study), "--json", url=server.url)
    assert done.returncode == 0, done.stderr
    assert run(["program", "lint", str(study / "champion.md"), "-t", str(task)]) == 0
    assert_runs_sound(study)
    assert [row for row in experiments(study) if row in before] == before  # nothing lost, nothing again
    sessions = [e for e in read(study / "ledger") if e["kind"] == "agent" and e["what"] == "session"]
    turns = query(study, "SELECT number, block, program_id, experiments, first_experiment FROM night_turns")
    assert [turn["number"] for turn in turns] == list(range(len(turns))) and len(turns) >= 3
    assert all(len({t["program_id"] for t in turns if t["block"] == block}) == 2 for block in range(turns[-1]["block"]))
    ends = [turn["first_experiment"] + turn["experiments"] for turn in turns]
    assert [turn["first_experiment"] for turn in turns[1:]] == ends[:-1] and len(sessions) >= len(turns) - 2
    assert_works_without_metaloop(study, tmp_path)


def experiments(study: Path) -> list[tuple[str, int]]:
    known = read(study / "ledger") if (study / "ledger").is_dir() else ()
    return [(e["run_id"], e["number"]) for e in known if e["kind"] == "experiment"]

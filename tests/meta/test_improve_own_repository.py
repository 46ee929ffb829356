"""Repositories of users: improved with a model, by chat and by agents; without a sandbox; by an autoresearch agent."""

from __future__ import annotations

import json
import os
import re
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
from tests.meta.cli_study import ALONE
from tests.meta.cli_study import metaloop as typed
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
from tests.trainer import foreign_repos
from trainer.sandbox import bwrap

SANDBOX = pytest.mark.skipif(bwrap.probe() is not None, reason=str(bwrap.probe()))


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


@SANDBOX
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_improved_by_chat(task: Path, server: LlmServer, tmp_path: Path) -> None:
    study = tmp_path / "study"
    done = metaloop(*improve(task, study), url=server.url)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["files"]["champion"] and len(done.stdout.splitlines()) == 1
    assert_sound(study, task)
    assert_works_without_metaloop(study, tmp_path)


@SANDBOX
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


SCRIPT = """
import random
LR = 0.3
WIDTH = 8
SEED = 1
random.seed(SEED)
total = sum((random.gauss(0, 1) * (1 - LR / 4)) ** 2 for _ in range(4000 * WIDTH)) / (4000 * WIDTH)
print(f"val_loss: {total + 1 / WIDTH:.5f}")
"""
RENTED = "echo 0 > /proc/sys/user/max_user_namespaces; exec"  # as in a container without user namespaces
LINUX_ALONE = """
import importlib.abc, sys
names = {"trainer.sandbox." + name for name in "bwrap filters view outer local".split()}
names |= {"trainer.jobs.sandboxed"}
FILES = "trainer.inside.supervise"  # lays and fetches files, which needs no Linux
class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in names or (name.startswith("trainer.inside.") and name != FILES):
            raise ImportError(name + " is for Linux alone")
sys.meta_path.insert(0, Block())
"""


def command_in(folder: Path, *words: str, rented: bool = False) -> subprocess.CompletedProcess[str]:
    """One command in a folder; ``rented``: no user namespaces, else no module that only Linux can use."""
    environment = {**os.environ, "METALOOP_CACHE": str(folder / "cache")}
    command = [sys.executable, "-m", "meta.cli.main", *words]
    if rented:
        command = ["unshare", "-Ur", "sh", "-c", f'{RENTED} "$@"', "sh", *command]
    else:
        (folder / "site").mkdir(exist_ok=True)
        (folder / "site" / "sitecustomize.py").write_text(LINUX_ALONE)
        environment["PYTHONPATH"] = os.pathsep.join([str(folder / "site"), environment.get("PYTHONPATH", "")])
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    folder.mkdir()
    (folder / "train.py").write_text(SCRIPT)
    for words in (["init", "-q"], ["add", "."], ["-c", "user.name=u", "-c", "user.email=u@e", "commit", "-qm", "1"]):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder


FIELDS = ("--metric", "val_loss", "--direction", "lower", "--seed", "train.py:SEED")


def test_without_a_sandbox_the_refusal_names_the_way(repository: Path, tmp_path: Path) -> None:
    refused = command_in(tmp_path, "task", "init", "--from", "repo", *FIELDS, rented=True)
    assert refused.returncode == 1 and "error: no sandbox: " in refused.stderr
    assert "or run trusted code without a sandbox: --no-sandbox" in refused.stderr
    assert not (repository / "task.toml").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_repository_without_linux_ends_in_a_verdict(repository: Path, tmp_path: Path) -> None:
    made = command_in(tmp_path, "task", "init", "--from", "repo", *FIELDS, "--no-sandbox")
    assert made.returncode == 0 and "task check repo --no-sandbox" in made.stderr, made.stderr
    words = ["improve", "stock", "-t", "repo", "--no-sandbox", "--budget", "4s", "-s", "night", "-y"]
    improved = command_in(tmp_path, *words)
    assert improved.returncode == 0, improved.stdout[-2000:] + improved.stderr[-2000:]
    said = " ".join(improved.stdout.split())
    assert "Unverified scores" in said
    assert (tmp_path / "night" / "champion.md").is_file() and (tmp_path / "night" / "best_train.py").is_file()
    applied = command_in(tmp_path, "resume", "night", "--apply")
    assert "metaloop/night" in applied.stdout + applied.stderr or "good enough to apply" in applied.stderr


PROGRAM = """# A night of research

1. `git checkout -b autoresearch/<tag>`, and start `results.tsv` with its header. Do not commit it.
2. Edit `train.py` with one idea, and `git commit`.
3. Run `uv run train.py > run.log 2>&1`, and read it: `grep '^val_bpb:' run.log`.
4. Add a line to `results.tsv`; the status is `keep`, `discard` or `crash`.
5. If val_bpb went down, keep the commit and go on from it. Else `git reset --hard HEAD~1`. Never stop.
"""
AGENT = r"""#!/bin/bash
cat > /dev/null
cmp program.md - << 'END' && echo "program.md is as it was"
%s
END
git checkout -q -b autoresearch/nov27
printf 'commit\tval_bpb\tmemory_gb\tstatus\tdescription\n' > results.tsv
best=
attempt() {
  uv run train.py > run.log 2>&1
  value=$(grep '^val_bpb:' run.log | awk '{print $2}')
  memory=$(grep '^peak_vram_mb:' run.log | awk '{print $2 / 1024}')
  status=discard
  [ -z "$value" ] && status=crash && tail -n 50 run.log
  [ -n "$value" ] && { [ -z "$best" ] || awk "BEGIN { exit !($value < $best) }"; } && best=$value status=keep
  commit=$(git rev-parse --short HEAD)
  printf '%%s\t%%s\t%%s\t%%s\t%%s\n' $commit "${value:-0}" "${memory:-0}" $status "$1" >> results.tsv
  tail -n 1 results.tsv
  [ $status = keep ] || [ -z "$1" ] || git reset -q --hard HEAD~1
}
attempt ""
for idea in 's/^LEARNING_RATE = .*/LEARNING_RATE = 0.02/' 's/^BATCH_SIZE = .*/BATCH_SIZE = none/' \
            's/^MOMENTUM = .*/MOMENTUM = 0.9/' 's/^LEARNING_RATE = .*/LEARNING_RATE = 0.0001/'; do
  sed -i "$idea" train.py && git commit -qam "$idea" && attempt "$idea"
done
while true; do  # it never stops, and each new idea is a bad one
  n=$((n + 1))
  sed -i "s/^LEARNING_RATE = .*/LEARNING_RATE = 0.0001$n/" train.py && git commit -qam "tiny $n" && attempt "tiny $n"
done
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("rented", [pytest.param(False, marks=SANDBOX), True], ids=["sandbox", "rented container"])
def test_the_best_kept_source_is_what_is_verified(tmp_path: Path, rented: bool) -> None:
    repository = foreign_repos.original(tmp_path / "repo")
    (repository / "program.md").write_text(PROGRAM)
    agent = tmp_path / "bin" / "agent"
    agent.parent.mkdir()
    agent.write_text(AGENT % PROGRAM.rstrip("\n"))
    agent.chmod(0o755)

    def command(*words: str) -> str:
        if not rented:
            return str(typed(*words, cwd=tmp_path).stdout)
        done = command_in(tmp_path, *words, "--no-sandbox", rented=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METALOOP_CACHE", str(tmp_path / "cache"))
        facts = ("--command", "uv run train.py", "--metric", "val_bpb", "--editable", "train.py", "--budget", "1s")
        command("task", "init", "--from", "repo", *facts)
        words = ("--set", f"agent={agent}", "-b", "4s", "-s", "night", "-y")
        told = command("match", "repo/program.md", *ALONE, "-t", "repo", *words)
    study = tmp_path / "night"
    heard = "".join(path.read_text() for path in study.glob("runs/*/agent/session-*.out"))
    assert "program.md is as it was" in heard
    (row,) = query(study, "SELECT final_source_id, verified_gain, trust, state FROM runs")
    kept = query(study, "SELECT source_id, metric, decision FROM experiments WHERE metric IS NOT NULL ORDER BY metric")
    assert row["state"] == "finished" and row["final_source_id"] == kept[0]["source_id"] != kept[-1]["source_id"]
    assert kept[0]["decision"] == "keep" and row["verified_gain"] > 0
    assert f"\t{kept[0]['metric']:.6f}\t" in heard and re.search(r"\tcrash\ts/\^BATCH_SIZE", heard)
    assert ("\tunverified\t" in told) == rented == (row["trust"] == "unverified")

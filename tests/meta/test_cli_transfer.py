"""``metaloop transfer`` and what the end of an evolution says of several tasks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from analysis.study import query
from tests.studies import planted

from .cli_study import cli, on_terminal

PROGRAMS = ("local", "careful", "idea-queue")
HOME_AND_AWAY = "home,away"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("transfer")
    for number, name in enumerate(("home", "away"), 2):
        planted(folder / name, number, name=name)
    return folder


@pytest.fixture(scope="module")
def played(here: Path) -> Path:
    done = cli("transfer", *PROGRAMS, "-t", HOME_AND_AWAY, "-n", "2", "-s", "study", "--seed", "1", cwd=here)
    assert done.returncode == 0, done.stderr
    assert "is not run, because" in done.stderr and "it behaves exactly like" in done.stderr
    return here / "study"


def test_it_ends_with_a_table_of_both_tasks(played: Path) -> None:
    done = cli("transfer", str(played))
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert lines[0][:4] == ["task", "place", "name", "role"]
    assert {(line[0], line[1]) for line in lines[1:]} == {("home", "home"), ("away", "elsewhere")}
    assert {"local", "careful", "idea-queue", "stock"} <= {line[2] for line in lines[1:]}
    assert "a/a" in {line[3] for line in lines[1:]}


def test_json_has_all_of_it(played: Path) -> None:
    told = json.loads(cli("transfer", "-s", str(played), "--json").stdout)
    assert {(cell["task"], cell["place"]) for cell in told["cells"]} == {("home", "home"), ("away", "elsewhere")}


@pytest.mark.slow
def test_a_person_sees_a_table_a_task(played: Path) -> None:
    code, shown = on_terminal("transfer", str(played), cwd=played.parent)
    assert code == 0 and "home (training task), gains in nats" in shown and "away (other task)" in shown
    assert "× stock" in shown and "A/A" in shown


def test_a_dry_run_bills_every_task_and_makes_nothing(here: Path) -> None:
    done = cli("transfer", *PROGRAMS, "-t", HOME_AND_AWAY, "-n", "5", "--dry-run", "--json", cwd=here)
    plan = json.loads(done.stdout)
    assert plan["home"] == "home" and plan["task"] == "home, away"
    parts = [part.rpartition(" ") for part in plan["runs_by_task"].split(", ")]
    assert sum(int(runs) for *_, runs in parts) == plan["runs"] and all(int(runs) % 5 == 0 for *_, runs in parts)
    assert plan["tells"].startswith("each task: ")
    assert not (here / "studies").exists()


def test_no_bare_leaves_the_variants_out(here: Path) -> None:
    def asked(*more: str) -> int:
        line = ("transfer", "confirm-last", str(here / "lists.md"), "-t", HOME_AND_AWAY, "-n", "1", "--dry-run")
        return int(json.loads(cli(*line, "--json", *more, cwd=here).stdout)["runs"])

    text = "---\nmetaloop:\n  proposers: {queue: 0.5, local: 0.5}\n---\n# Lists\n\n## Ideas\n\n- Try `LADDER1=0.05`.\n"
    (here / "lists.md").write_text(text)
    assert asked() == asked("--no-bare") + 2


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("careful", "-s", "study", "-t", "home,away"), ""),
        (("stock", "-s", "study", "-t", "home,away"), "created with other programs"),
        (("local", "-s", "study", "-t", "away,home"), "created with other tasks"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    played: Path, args: tuple[str, ...], message: str
) -> None:  # fmt: skip
    done = cli("transfer", *args, "--dry-run", cwd=played.parent)
    assert done.returncode == (2 if message else 0), done.stderr
    assert message in done.stderr


@pytest.mark.slow
def test_a_study_on_one_task_tells_nothing_of_transfer(here: Path) -> None:
    assert cli("match", "local", "-t", "home", "-n", "2", "-s", "single", "--no-controls", cwd=here).returncode == 0

    done = cli("transfer", "--resume", "single", cwd=here)
    assert done.returncode == 2 and "created by metaloop match" in done.stderr


@pytest.mark.slow
def test_interrupted_it_drains_and_ends_as_if_nothing_had_been(here: Path) -> None:
    line = ("transfer", *PROGRAMS, "-t", HOME_AND_AWAY, "-n", "6", "--seed", "3", "-q")
    command = [sys.executable, "-m", "meta.cli.main", *line, "-s", "cut"]
    with subprocess.Popen(command, cwd=here, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        ledger, until = here / "cut" / "ledger", time.monotonic() + 120
        while time.monotonic() < until and sum(p.stat().st_size for p in ledger.glob("*.jsonl")) < 30_000:
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGINT)
        _, said = process.communicate()
    assert process.returncode == 130 and "metaloop transfer --resume" in said, said
    resumed = cli("transfer", "--resume", "cut", "-q", cwd=here)
    whole = cli(*line, "-s", "whole", cwd=here)
    assert resumed.returncode == whole.returncode == 0
    assert resumed.stdout == whole.stdout


@pytest.mark.slow
def test_the_end_of_an_evolution_tells_each_task(here: Path) -> None:
    size = "--quick --generations 0 --seeds 2 --run-budget 0.4s --seed 2"
    done = cli("evolve", "-t", "home", "--reserve", "away", *size.split(), "-s", "evolved", "--json", cwd=here)
    assert done.returncode == 0, done.stderr
    rows = query(here / "evolved", "FROM transfer WHERE role = 'champion'")
    [event] = query(here / "evolved", "SELECT details -> 'decision' AS decision FROM champions")
    decision = event["decision"]
    assert isinstance(decision, dict)
    gains = {row["task"]: row["gain"] for row in rows}
    assert gains["home"] == pytest.approx(decision["champion"]["mean"])
    [away] = decision["held_out"]
    assert away["champion"] is None or gains["away"] == pytest.approx(away["champion"]["mean"])
    shown = cli("transfer", "evolved", cwd=here)
    assert shown.returncode == 0 and "away\telsewhere" in shown.stdout

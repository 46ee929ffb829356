"""The example plug-in: installed with pip, it passes the suites, and a study uses its parts by their names."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis.study import query
from bench.simulated_tasks import simulated_task
from tests.conformance.runs import LAW
from tests.inner_loop.play import BLOBS

EXAMPLE = Path(__file__).parents[1] / "examples" / "plugin"
PROGRAM = """\
---
metaloop:
  proposers: {farthest: 1.0, random: 0.5}
  keep: {rule: simpler}
---
# Far first

Read the script before you change it.
Try the far end of each ladder before the middle, for it shows which knobs matter at all.

- Write down what you expect.
"""
Run = Callable[..., str]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sources of the package, the package installed beside them, a program and two tasks."""
    folder = tmp_path_factory.mktemp("plugin")
    pytest.importorskip("setuptools")
    shutil.copytree(EXAMPLE, folder / "source", ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    install = [sys.executable, "-m", "pip", "install", "-q", *offline, "--target", str(folder / "installed")]
    subprocess.run([*install, str(folder / "source")], check=True)
    (folder / "far.md").write_text(PROGRAM)
    simulated_task(LAW, folder / "law", name="law", experiments=6)
    shutil.copytree(BLOBS, folder / "blobs", ignore=shutil.ignore_patterns("__pycache__"))
    toml = folder / "blobs" / "task.toml"
    toml.write_text(toml.read_text().replace('"classification"', '"error_rate"').replace('unit = "nats"', 'unit = ""'))
    return folder


@pytest.fixture(scope="module")
def run(place: Path) -> Run:
    """Runs a module where the package is installed; returns what it printed, with a failure its errors too."""

    def of(*words: str, at: str = ".", code: int = 0, installed: bool = True, **variables: str) -> str:
        path = {"PYTHONPATH": f"{place / 'installed'}:{EXAMPLE.parents[1]}"} if installed else {}
        env = os.environ | variables | path
        command = [sys.executable, "-m", *words]
        done = subprocess.run(command, cwd=place / at, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if code == 0 else done.stdout + done.stderr

    return of


def test_its_own_tests_pass(run: Run) -> None:
    assert "100%" in run("pytest", "-q", "-p", "no:cacheprovider", "tests", at="source")


@pytest.fixture(scope="module")
def study(place: Path, run: Run) -> Path:
    dial = ["--quick", "--runs", "2", "--seed", "1", "-b", "0.6s"]
    run("meta.cli.start", "evolve", "far.md", "-t", "law", *dial, "-s", "study", METALOOP_EXECUTOR="timed")
    return place / "study"


def test_a_study_uses_its_parts_by_name(study: Path) -> None:
    config = (study / "study.toml").read_text()
    assert '"shorten"' in config
    proposers = query(study, "SELECT DISTINCT record->>'proposer' AS name FROM events WHERE kind = 'experiment'")
    assert "farthest" in {row["name"] for row in proposers}
    operators = query(study, "SELECT operator, count(*) AS n FROM mutations GROUP BY 1")
    assert "shorten" in {row["operator"] for row in operators}
    jobs = [line.split("\t") for line in (study / "jobs.tsv").read_text().splitlines()]
    runs = {row["run_id"] for row in query(study, "SELECT run_id FROM runs")}
    assert runs <= {name for name, *_ in jobs} and {state for _, state, _ in jobs} == {"finished"}


def test_the_knockout_races_the_programs_of_a_match(place: Path, run: Run) -> None:
    words = ["far.md", "local", "careful", "-t", "law", "-n", "4", "--seed", "1", "-b", "0.6s", "-s", "raced"]
    run("meta.cli.start", "match", *words, "--set", "race_rule=knockout")
    assert 'rule = "knockout"' in (place / "raced" / "study.toml").read_text()
    assert len({row["n"] for row in query(place / "raced", "SELECT count(*) AS n FROM runs GROUP BY arm_id")}) > 1


def test_credit_shows_its_method_with_a_q_and_what_a_row_rests_on(run: Run) -> None:
    study = "matched"  # every program beside stock with three runs: the fewest that have a q
    run("meta.cli.start", "match", "far.md", "-t", "law", "-n", "3", "--seed", "1", "-s", study)
    told = json.loads(run("meta.cli.start", "credit", study, "--method", "over-stock", "--all", "--json"))
    rows: list[dict[str, Any]] = told["items"]
    assert rows and {row["design"] for row in rows} == {"paired"} and all(row["q"] is not None for row in rows)
    shown = json.loads(run("meta.cli.start", "show", rows[0]["credit_id"], "-s", study, "--json"))
    assert {row["program_id"] for row in shown["rests_on"]} == {rows[0]["program_id"]}


def test_its_researcher_and_its_scorer_carry_out_a_match(place: Path, run: Run) -> None:
    words = ["match", "stock", "-t", "blobs", "-r", "sweep", "-n", "2", "-b", "1.2s", "--no-controls"]
    words += ["--set", "fixed_steps=true"]
    run("meta.cli.start", *words, "-s", "scored")
    metrics = query(place / "scored", "SELECT metric, status FROM experiments WHERE status = 'ok'")
    assert len(metrics) > 6 and all(0 <= row["metric"] <= 1 for row in metrics)


def test_without_the_package_its_names_are_one_line(run: Run) -> None:
    errors = run(
        "meta.cli.start", "match", "far.md", "-t", "law", "--set", "race_rule=knockout", code=2, installed=False
    )
    assert "no race rule 'knockout'" in errors and "Traceback" not in errors
    told = run("meta.cli.start", "program", "lint", "far.md", code=2, installed=False)
    assert "farthest" in told and "Traceback" not in told


def test_doctor_lists_its_parts(run: Run) -> None:
    checks = json.loads(run("meta.cli.start", "doctor", "--json"))["items"]
    (plugins,) = [row for row in checks if row["check"] == "plug-ins"]
    assert plugins["state"] == "ok" and plugins["found"].count(",") == 7 and "executor timed" in plugins["found"]

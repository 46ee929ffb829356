"""One installation: the wheel and the example plug-in in an environment without the sources. Commands run from it, a
study uses the plug-in's parts by their names, and the GitHub action compares two programs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest

from analysis.study import query
from bench.simulated_tasks import random_law, simulated_task
from programs.common.distribution import DISTRIBUTION, EXTRAS, VERSION, install_line
from programs.shelf import starter
from tests.analysis.imports.samples import tsv
from tests.conformance.runs import LAW
from tests.inner_loop.play import BLOBS
from tests.meta.cli_study import metaloop as meta_cli

ROOT = Path(__file__).parents[1]
PLUGIN, COMPARE = ROOT / "examples" / "plugin", ROOT / "examples" / "github-action" / "compare.py"
PACKAGES = ("meta", "programs", "inner_loop", "trainer", "arena", "analysis")
PROGRAM = "---\nmetaloop:\n  proposers: {farthest: 1.0, random: 0.5}\n  keep: {rule: simpler}\n---\n# Far first\n\n"
PROGRAM += "Try the far end of each ladder before the middle, for it shows which knobs matter at all.\n"
PROGRAM += "Read the script before you change it.\n\n- Write down what you expect.\n"
QUEUE = "---\nmetaloop:\n  proposers: {queue: 1.0}\n---\n# Queue\n\n## Ideas\n\n- Use `ladder8=5`.\n"
QUEUE += "- Use `ladder7=0.05`.\n"
MOST_MEGABYTES = 350  # installed, without pip and compiled files
LOG = tsv("commit|val_loss|status|description", "a|2.0|keep|baseline", "a|2.1|rerun|baseline", "b|0.5|keep|wider")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def execute(*words: str | Path, at: Path, code: int = 0, **variables: str) -> str:
    """What a program printed, errors included where it failed as expected."""
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")} | variables
    done = subprocess.run([*map(str, words)], cwd=at, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr[-3000:]
    return done.stdout if code == 0 else done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the source distribution of what git tracks, so that a file that is only here is missed here, too; the
    plug-in's beside it."""
    folder = tmp_path_factory.mktemp("wheel")
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if name.split("/")[0] in (*PACKAGES, "pyproject.toml", "README.md", "LICENSE") and (ROOT / name).is_file():
            target = folder / "source" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    shutil.copytree(PLUGIN, folder / "plugin", ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    build = "import sys; from setuptools.build_meta import build_sdist; build_sdist(sys.argv[1])"
    execute(sys.executable, "-c", build, folder, at=folder / "source")
    [source] = folder.glob("*.tar.gz")
    words = ["wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index", "-w", folder]
    execute(sys.executable, "-m", "pip", *words, source, folder / "plugin", at=folder)
    (built,) = folder.glob(f"{DISTRIBUTION.replace('-', '_')}-*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path) -> Path:
    """The interpreter of an environment that has our dependencies, but not the sources and the packages of contests.
    `bench/wheel.sh` times the README's first command with pip, pipx and uv."""
    folder = wheel.parent / "venv"
    venv.create(folder, with_pip=False, symlinks=True)
    (site,) = (folder / "lib").glob("python*/site-packages")
    absent = [name for name, extra in EXTRAS.items() if extra == "contest"]
    lacking = "".join(f"sys.modules[{name!r}] = None; " for name in absent)
    (site / "dependencies.pth").write_text(f"{Path(pytest.__file__).parents[1]}\nimport sys; {lacking}\n")
    install = ["--python", folder / "bin" / "python", "install", "-q", "--no-index", "--no-deps"]
    execute(sys.executable, "-m", "pip", *install, *wheel.parent.glob("*.whl"), at=folder)
    place = execute(folder / "bin" / "python", "-c", "import meta; print(meta.__file__)", at=folder)
    assert Path(place.strip()).is_relative_to(folder), "the sources, not the wheel"
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def metaloop(python: Path) -> Path:
    return python.with_name("metaloop")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs and tasks."""
    folder = tmp_path_factory.mktemp("installed")
    (folder / "far.md").write_text(PROGRAM)
    simulated_task(LAW, folder / "law", name="law", experiments=6)
    simulated_task(random_law(2), folder / "random", experiments=6)
    shutil.copytree(BLOBS, folder / "blobs", ignore=shutil.ignore_patterns("__pycache__"))
    toml = folder / "blobs" / "task.toml"
    toml.write_text(toml.read_text().replace('"classification"', '"error_rate"').replace('unit = "nats"', 'unit = ""'))
    return folder


def test_wheel_of_the_tracked_files_has_them_all(wheel: Path) -> None:
    source = wheel.parent / "source"
    tracked = {path.relative_to(source).as_posix() for name in PACKAGES for path in (source / name).rglob("*.*")}
    tracked = {name for name in tracked if (source / name).is_file() and "/build/" not in name}
    files = zipfile.ZipFile(wheel)
    assert not sorted(tracked - set(files.namelist()))
    assert {f"{name}/py.typed" for name in PACKAGES} <= tracked  # plug-ins are checked against our types
    [about] = [files.read(name).decode() for name in files.namelist() if name.endswith("/METADATA")]
    extras = [f"Provides-Extra: {extra}\n" for extra in EXTRAS.values()]  # that hints name
    assert all(line in about for line in ("License-Expression: MIT\n", "License-File: LICENSE\n", *extras))
    assert f"version: {VERSION}\n" in (ROOT / "CITATION.cff").read_text()


def test_base_installation_judges_imports_and_reports(wheel: Path, tmp_path: Path) -> None:
    """In an empty environment, with the dependencies that pip installs without an extra."""
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    words = ["--python", python, "install", "-q", "--no-compile", "-c", ROOT / "constraints.txt", wheel]
    execute(sys.executable, "-m", "pip", *words, at=tmp_path)
    files = [path for path in (tmp_path / "venv").rglob("*") if path.is_file() and not path.is_symlink()]
    assert sum(path.stat().st_size for path in files) < MOST_MEGABYTES * 1e6
    (tmp_path / "log.tsv").write_text(LOG)

    def run(line: str, code: int = 0) -> str:
        return execute(python.with_name("metaloop"), *line.split(), at=tmp_path, code=code)

    assert run("judge log.tsv").startswith("log.tsv     3 experiments, 1 kept, 1 re-run")
    run("judge log.tsv --last", 11)
    for line in ("import log.tsv -s study", "report study", "status study", "ls .", "export study --view imports"):
        run(line)
    run("report log.tsv")
    assert (tmp_path / "log.html").is_file()
    for line, extra in (("evolve --quick", "train"), ("match stock -n 1", "train"), ("contest init c", "contest")):
        assert f"hint: {install_line(extra)}" in run(line, 1)


def test_installed_commands_run_without_the_sources(metaloop: Path, folder: Path) -> None:
    for line, code in (
        ("match stock -n 1 --no-controls -b 0.4s -s run", 0), ("report run -o report.html", 0),
        ("ui no-such-folder", 2), ("contest init contest --closes 1d", 1), ("home init home -t strokes", 1),
    ):  # fmt: skip
        printed = execute(metaloop, *line.split(), at=folder, code=code)
        assert code != 1 or printed.endswith(f"hint: {install_line('contest')}\n")


def test_plugin_passes_the_checks_of_its_kinds(python: Path, wheel: Path) -> None:
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    assert "100%" in execute(python, *words, at=wheel.parent / "plugin", PYTHONPATH=str(ROOT))


def test_plugin_in_a_study_writes_and_runs_programs(metaloop: Path, folder: Path) -> None:
    size = ["--quick", "--runs", "2", "--seed", "1", "-b", "0.6s"]
    execute(metaloop, "evolve", "far.md", "-t", "law", *size, "-s", "evolved", at=folder, METALOOP_EXECUTOR="timed")
    study = folder / "evolved"
    assert '"shorten"' in (study / "study.toml").read_text()
    proposers = query(study, "SELECT DISTINCT record->>'proposer' AS name FROM events WHERE kind = 'experiment'")
    assert "farthest" in {row["name"] for row in proposers}
    operators = query(study, "SELECT operator, count(*) AS n FROM mutations GROUP BY 1")
    assert "shorten" in {row["operator"] for row in operators}
    jobs = [line.split("\t") for line in (study / "jobs.tsv").read_text().splitlines()]
    runs = {row["run_id"] for row in query(study, "SELECT run_id FROM runs")}
    assert runs <= {name for name, *_ in jobs} and {state for _, state, _ in jobs} == {"finished"}


def test_plugin_race_rule_and_method_give_runs_and_rows(metaloop: Path, folder: Path) -> None:
    """Unequal runs; and of every program beside stock that has three runs, the fewest with a q, a row."""
    words = ["far.md", "local", "careful", "-t", "law", "-n", "4", "--seed", "1", "-b", "0.6s", "-s", "raced"]
    execute(metaloop, "match", *words, "--set", "race_rule=knockout", at=folder)
    assert 'rule = "knockout"' in (folder / "raced" / "study.toml").read_text()
    runs = [row["n"] for row in query(folder / "raced", "SELECT count(*) AS n FROM runs GROUP BY arm_id")]
    assert len({*runs}) > 1
    printed = execute(metaloop, "credit", "raced", "--method", "over-stock", "--all", "--json", at=folder)
    rows: list[dict[str, Any]] = json.loads(printed)["items"]
    assert rows and {row["design"] for row in rows} == {"paired"} and all(row["q"] is not None for row in rows)
    shown = json.loads(execute(metaloop, "show", rows[0]["credit_id"], "-s", "raced", "--json", at=folder))
    assert {row["program_id"] for row in shown["rests_on"]} == {rows[0]["program_id"]}


def test_plugin_researcher_and_scorer_carry_out_a_match(metaloop: Path, folder: Path) -> None:
    words = ["match", "stock", "-t", "blobs", "-r", "sweep", "-n", "2", "-b", "1.2s", "--no-controls"]
    execute(metaloop, *words, "--set", "fixed_steps=true", "-s", "scored", at=folder)
    metrics = query(folder / "scored", "SELECT metric, status FROM experiments WHERE status = 'ok'")
    assert len(metrics) > 6 and all(0 <= row["metric"] <= 1 for row in metrics)


def test_plugin_parts_are_listed_by_doctor(metaloop: Path, folder: Path) -> None:
    checks = json.loads(execute(metaloop, "doctor", "--json", at=folder))["items"]
    (plugins,) = [row for row in checks if row["check"] == "plug-ins"]
    assert plugins["state"] == "ok" and plugins["found"].count(",") == 7 and "executor timed" in plugins["found"]


def test_plugin_that_is_missing_is_one_line(folder: Path) -> None:
    match = ("match", "far.md", "-t", "law", "--set", "race_rule=knockout")
    ended = meta_cli(*match, cwd=folder, code=2)
    assert "'knockout'" in ended.stderr
    assert "farthest" in meta_cli("program", "lint", "far.md", cwd=folder, code=2).stdout


@pytest.mark.parametrize(
    ("program", "start"),
    [
        (QUEUE.encode(), "**The new program is "),
        (starter("stock").raw, "Both texts are the same; nothing was compared.\n"),
        (b"\xff\xfe\x00 no text", "**The new program cannot be read.**"),
    ],
    ids=["other", "same", "unreadable"],
)
def test_action_exit_code_agrees_with_its_verdict(
    metaloop: Path, folder: Path, tmp_path: Path, program: bytes, start: str
) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "program.md").write_bytes(starter("stock").raw)
    (tmp_path / "program.md").write_bytes(program)
    words = [COMPARE, "old/program.md", "program.md", "--task", folder / "random", "--runs", "3", "--budget", "2s"]
    env = os.environ | {"PATH": f"{metaloop.parent}{os.pathsep}{os.environ['PATH']}"}
    code = subprocess.run([sys.executable, *map(str, words)], cwd=tmp_path, env=env, check=False).returncode
    verdict = (tmp_path / "verdict.md").read_text()
    assert verdict.startswith(start) and code == ("worse than" in verdict or "cannot be read" in verdict)
    assert ("| new | " in verdict and "| old | " in verdict) == (program == QUEUE.encode())

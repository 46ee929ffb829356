"""The wheel: every file of the rooms is in it, and commands run from it without the sources."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from programs.common.distribution import DISTRIBUTION, EXTRAS, install_line
from tests.analysis.imports.samples import tsv
from tests.studies import drawn_law

ROOT = Path(__file__).parents[1]
ROOMS = ("meta", "programs", "inner_loop", "trainer", "arena", "analysis")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the source distribution of what git tracks, so that a file that is only here is missed here, too."""
    folder = tmp_path_factory.mktemp("wheel")
    (folder / "source").mkdir()
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if name.split("/")[0] in (*ROOMS, "pyproject.toml", "README.md") and (ROOT / name).is_file():
            target = folder / "source" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    build = "import sys; from setuptools.build_meta import build_sdist; build_sdist(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, folder], cwd=folder / "source", check=True, capture_output=True)
    [source] = folder.glob("*.tar.gz")
    words = ["wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index", "-w", folder, source]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True)
    (built,) = folder.glob("*.whl")
    return built


def test_every_file_of_the_rooms_is_in_it(wheel: Path) -> None:
    source = wheel.parent / "source"
    there = {
        path.relative_to(source).as_posix() for room in ROOMS for path in (source / room).rglob("*") if path.is_file()
    }
    built = {name for name in there if name.startswith("trainer/tasks/") and "/build/" in name}
    missing = there - built - set(zipfile.ZipFile(wheel).namelist())
    assert not missing, sorted(missing)[:20]


MOST_MEGABYTES = 350  # installed, without pip and compiled files
LOG = tsv("commit|val_loss|status|description", "a|2.0|keep|baseline", "a|2.1|rerun|baseline", "b|0.5|keep|wider")


def test_base_installation_judges_imports_and_reports(wheel: Path, tmp_path: Path) -> None:
    """In an empty environment, with the dependencies that pip installs without an extra."""
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    words = ["--python", str(python), "install", "-q", "--no-compile", "-c", str(ROOT / "constraints.txt"), str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True)
    files = [path for path in (tmp_path / "venv").rglob("*") if path.is_file() and not path.is_symlink()]
    assert sum(path.stat().st_size for path in files) < MOST_MEGABYTES * 1e6
    (tmp_path / "log.tsv").write_text(LOG)
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}

    def run(line: str, code: int = 0) -> str:
        command = [str(python.with_name("metaloop")), *line.split()]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr[-3000:]
        return done.stdout + done.stderr

    assert run("judge log.tsv").startswith("log.tsv     3 experiments, 1 kept, 1 re-run")
    run("judge log.tsv --last", 11)
    for line in ("import log.tsv -s study", "report study", "status study", "ls .", "export study --view imports"):
        run(line)
    assert "log.html" in run("report log.tsv") and (tmp_path / "log.html").is_file()
    for line, extra in (("evolve --quick", "train"), ("match stock -n 1", "train"), ("contest init c", "contest")):
        assert f"hint: {install_line(extra)}" in run(line, 1)


def test_distribution_has_the_name_and_the_extras_that_hints_name(wheel: Path) -> None:
    assert wheel.name.startswith(DISTRIBUTION.replace("-", "_"))
    [metadata] = [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith("/METADATA")]
    text = zipfile.ZipFile(wheel).read(metadata).decode()
    assert all(f"Provides-Extra: {extra}\n" in text for extra in EXTRAS.values())


def test_commands_run_from_it(wheel: Path, tmp_path: Path) -> None:
    """In an environment that has our dependencies, but no sources and not the packages of contests. `bench/wheel.sh`
    times the README's first command with pip, pipx and uv."""
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    absent = [name for name, extra in EXTRAS.items() if extra == "contest"]
    extra = "".join(f"sys.modules[{name!r}] = None; " for name in absent)  # as if it had not been installed
    (site / "dependencies.pth").write_text(f"{Path(pytest.__file__).parents[1]}\nimport sys; {extra}\n")
    words = ["--python", str(python), "install", "-q", "--no-index", "--no-deps", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True)
    (tmp_path / "empty").mkdir()
    drawn_law(tmp_path / "empty" / "law", 1)
    surroundings = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    for words in (["match", "stock", "-n", "1", "--no-controls", "-b", "0.4s", "-s", "run"],
                  ["match", "stock", "idea-queue", "-t", "law", "-n", "2", "--yes", "-s", "study"],
                  ["ui", "no-such-folder"], ["standings", "study"], ["report", "study", "-o", "report.html"],
                  ["ls"], ["doctor"],
                  ["contest", "init", "contest", "--closes", "1d"],
                  ["home", "init", "home", "-t", "strokes"]):  # fmt: skip
        command = [str(python.with_name("metaloop")), *words]
        done = subprocess.run(
            command, cwd=tmp_path / "empty", env=surroundings, capture_output=True, text=True, check=False
        )
        lacks = words[0] in ("contest", "home")
        assert done.returncode == {"ui": 2, "contest": 1, "home": 1}.get(words[0], 0), done.stderr[-3000:]
        assert not lacks or done.stderr.endswith(f"hint: {install_line('contest')}\n")
    assert (tmp_path / "empty" / "study" / "runs.zip").is_file()
    where = subprocess.run([str(python), "-c", "import meta; print(meta.__file__)"], cwd=tmp_path, capture_output=True,
                           text=True, check=True)  # fmt: skip
    assert Path(where.stdout.strip()).is_relative_to(site)

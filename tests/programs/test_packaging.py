"""What an installation holds: every package of the rooms, and every file beside the code that it reads."""

from __future__ import annotations

import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[2]
SETUP = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
ROOMS = ("meta", "arena", "analysis", "inner_loop", "trainer", "programs")


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", *ROOMS], capture_output=True, text=True, check=True)
    return [Path(line) for line in listed.stdout.splitlines()]


def test_every_package_is_installed() -> None:
    tasks = Path("trainer/tasks")  # data: they are read, never imported
    found = {str(p.parent).replace("/", ".") for p in tracked() if p.suffix == ".py" and not p.is_relative_to(tasks)}
    assert found == set(SETUP["packages"])


def test_every_file_beside_the_code_is_installed() -> None:
    left = []
    for path in tracked():
        room, inside = path.parts[0], "/".join(path.parts[1:])
        of_package = path.suffix == ".py" and str(path.parent).replace("/", ".") in SETUP["packages"]
        patterns = SETUP["package-data"].get(room, [])
        if not of_package and not any(fnmatch(inside, pattern.replace("**/*", "*")) for pattern in patterns):
            left.append(str(path))
    assert left == []

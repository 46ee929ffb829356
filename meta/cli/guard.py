"""Checks at start that the imported packages are Metaloop's own.

Our packages have common names; a user's ``trainer/`` on PYTHONPATH would be imported in place of ours and fail
in puzzling ways, or worse, run.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from programs.common.distribution import DISTRIBUTION
from programs.common.errors import EnvironmentProblem
from programs.common.text import word_list

# the variables of `git rev-parse --local-env-vars` that say where the repository is
GIT_LOCATION_VARIABLES = word_list("""
    GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_COMMON_DIR GIT_OBJECT_DIRECTORY GIT_PREFIX GIT_ALTERNATE_OBJECT_DIRECTORIES
""")
PACKAGES = ("meta", "arena", "analysis", "inner_loop", "trainer", "programs")


def forget_git_surroundings() -> None:
    """A git hook sets GIT_DIR: with it, git would work on the user's own repository in place of ours."""
    for name in GIT_LOCATION_VARIABLES:
        os.environ.pop(name, None)


def check_current_folder() -> None:
    """Raise EnvironmentProblem where the current folder has been removed: libraries would crash in it."""
    try:
        Path.cwd()
    except OSError:
        raise EnvironmentProblem("the current folder does not exist any more", hint="cd to one that does") from None


def check_packages() -> None:
    """Raise EnvironmentProblem unless every package is in the root of this installation."""
    home = Path(__file__).resolve().parents[2]
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise EnvironmentProblem(
                f"the package {name!r} of metaloop is missing from {home}",
                hint=f"pip install --force-reinstall {DISTRIBUTION}",
            )
        origin = Path(spec.origin).resolve()
        package = origin.parent if origin.name == "__init__.py" else origin
        if package != home / name:
            raise EnvironmentProblem(
                f"the package {name!r} is imported from {package}, not from metaloop ({home / name})",
                hint=f"remove {package.parent} from PYTHONPATH, or run from another folder",
            )

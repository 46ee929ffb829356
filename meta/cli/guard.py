"""Checks at start that the packages found are Metaloop's own.

Our packages have plain names; a user's ``trainer/`` on PYTHONPATH would be imported in place of ours and fail
in puzzling ways, or worse, run.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from programs.errors import EnvironmentProblem

# where git looks for a repository, of those that `git rev-parse --local-env-vars` lists
GIT_PLACES = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
)  # fmt: skip
PACKAGES = ("meta", "arena", "analysis", "inner_loop", "trainer", "programs")


def forget_git_surroundings() -> None:
    """A git hook sets GIT_DIR: with it, git would work on the user's own repository in place of ours."""
    for name in GIT_PLACES:
        os.environ.pop(name, None)


def check_current_folder() -> None:
    """Raise EnvironmentProblem where the current folder has been removed: libraries end the process there."""
    try:
        Path.cwd()
    except OSError:
        raise EnvironmentProblem("the current folder does not exist any more", hint="cd to one that does") from None


def check_packages(home: Path | None = None) -> None:
    """Raise EnvironmentProblem unless every package lies in ``home`` (default: where this file is from)."""
    home = home or Path(__file__).resolve().parents[2]
    for name in PACKAGES:
        found = _folder(name)
        if found is None:
            raise EnvironmentProblem(
                f"the package {name!r} of metaloop is missing from {home}",
                hint="pip install --force-reinstall metaloop",
            )
        if found != home / name:
            raise EnvironmentProblem(
                f"the package {name!r} was found in {found}, which is not metaloop's own ({home / name})",
                hint=f"take {found.parent} off PYTHONPATH, or run from another folder",
            )


def _folder(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    places = list(spec.submodule_search_locations or ()) if spec else []
    if spec is not None and spec.origin and not places:
        return Path(spec.origin).resolve()
    return Path(places[0]).resolve() if places else None
